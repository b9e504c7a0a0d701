"""Metadata, peers and deadlines, from what grpc.aio gives to what the kernel takes, and back."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from mfn_core.call import Peer

__all__ = ["deadline_of", "peer_of", "tls_peer_of", "wire_metadata"]

_log = logging.getLogger(__name__)

_KEY = re.compile(r"[0-9a-z_.-]{1,256}")
_TEXT = re.compile(r"[\x20-\x7e]*")

Context = Any
"""`grpc.aio.ServicerContext`, whose published types are narrower than what it takes."""


def wire_metadata(pairs: Iterable[tuple[str, str | bytes]], path: str) -> tuple[tuple[str, str | bytes], ...]:
    """The pairs that HTTP/2 can carry.

    A pair that it cannot is a defect of a handler. It is logged and left out: once it is found, the outcome of the
    call is on record and must still reach the caller.
    """
    sendable = []
    for key, value in pairs:
        binary = key.endswith("-bin")
        if (
            _KEY.fullmatch(key)
            and not key.startswith("grpc-")
            and (isinstance(value, bytes) if binary else isinstance(value, str) and _TEXT.fullmatch(value))
        ):
            sendable.append((key, value))
        else:
            _log.error(
                "%s: metadata %r is left out: keys are lower-case ASCII without the prefix grpc-, and values "
                "printable ASCII text, or bytes where the key ends in -bin",
                path,
                key,
            )
    return tuple(sendable)


def peer_of(encrypted: bool) -> Callable[[Context], Peer]:
    """What tells the other end of a connection without client certificates, on a listener with TLS or without."""

    def peer(context: Context) -> Peer:
        return _peer(context.peer(), encrypted)

    return peer


@lru_cache(maxsize=4096)
def _peer(text: str, encrypted: bool) -> Peer:
    return Peer(address=_address(text), encrypted=encrypted)


def _address(text: str) -> str:
    """`ipv4:127.0.0.1:40112` as `127.0.0.1:40112`, `ipv6:%5B::1%5D:40112` as `[::1]:40112`."""
    family, _, rest = text.partition(":")
    if family in ("ipv4", "ipv6") and rest:
        return unquote(rest)
    return text or "unknown"


def tls_peer_of(context: Context) -> Peer:
    """The other end of a connection that showed a client certificate.

    Its identity is the certificate's subject, or the first alternative name where the subject is empty, as in SPIFFE
    certificates. It is read for every call: the next connection from the same port may be someone else's.
    """
    proved = context.auth_context()
    for key in ("x509_subject", "x509_subject_alternative_name"):
        for value in proved.get(key, ()):
            if value:
                identity = value.decode("utf-8", "replace")
                return Peer(address=_address(context.peer()), encrypted=True, tls_identity=identity)
    return _peer(context.peer(), True)


def deadline_of(context: Context) -> float | None:
    """The caller's deadline on the clock of `time.monotonic`."""
    remaining: float | None = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
