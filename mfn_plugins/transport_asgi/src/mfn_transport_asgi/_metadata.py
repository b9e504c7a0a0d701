"""Headers to metadata and back: which are the protocol's own, what is base64, and the forms of timeout and message."""

from __future__ import annotations

import base64
import binascii
import logging
import re
import time
from collections.abc import Iterable

from attrs import frozen

from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._framing import ENCODINGS

__all__ = [
    "RequestHead",
    "binary_values",
    "encode_metadata",
    "encode_web_metadata",
    "metadata_pairs",
    "parse_timeout",
    "percent_encode",
]

_log = logging.getLogger(__name__)

_TE, _TIMEOUT, _ENCODING, _ACCEPT_ENCODING, _STREAM_ID = range(5)

_RESERVED: dict[bytes, int | None] = {
    b"te": _TE,
    b"grpc-timeout": _TIMEOUT,
    b"grpc-encoding": _ENCODING,
    b"grpc-accept-encoding": _ACCEPT_ENCODING,
    b"x-mfn-id": _STREAM_ID,
    b"content-type": None,
    b"host": None,
    b"connection": None,
    b"content-length": None,
    b"transfer-encoding": None,
    b"x-forwarded-proto": None,
    b"x-grpc-web": None,
}
"""Headers that are no metadata: of HTTP, of gRPC and gRPC-Web, and what the listener itself adds."""


@frozen
class _Binary:
    """The key of metadata whose values are bytes."""

    key: str


_Meaning = str | int | _Binary | None
"""What a header is: metadata of that key, a header of the protocol by its number, metadata in base64, or nothing."""

_KNOWN_NAMES = 1024
_LONGEST_KNOWN_NAME = 64

_known: dict[bytes, _Meaning] = {}
"""A client sends the same few names with every call, and a dictionary finds them sooner than a cache would that keeps
them in the order of their use."""


def _meaning(name: bytes) -> _Meaning:
    """What a header is whose name is not known yet; known from now on, unless strangers could fill the memory."""
    meaning: _Meaning
    if name in _RESERVED:
        meaning = _RESERVED[name]
    elif name.startswith(b"grpc-"):
        meaning = None
    else:
        key = name.decode("latin-1")
        meaning = _Binary(key) if key.endswith("-bin") else key
    if len(name) <= _LONGEST_KNOWN_NAME:
        if len(_known) >= _KNOWN_NAMES:
            _known.clear()
        _known[name] = meaning
    return meaning


class RequestHead:
    """What the headers of a request say, read in one pass on receipt."""

    __slots__ = ("deadline", "encoding", "fault", "gzip", "metadata", "stream_id")

    metadata: list[tuple[str, str | bytes]]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    encoding: bytes | None
    """How messages are compressed that say they are: a key of `ENCODINGS`; None: not at all."""
    gzip: bool
    """Whether the client reads replies in gzip."""
    stream_id: bytes | None
    """The listener's own id of the stream."""
    fault: MfnError | None
    """The first thing that is wrong with them."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], *, needs_trailers: bool = True) -> None:
        """Read them; `needs_trailers`: whether the final status is sent as HTTP trailers."""
        found: list[bytes | None] = [None, None, None, None, None]
        self.metadata = metadata = []
        self.fault = None
        self.deadline = None
        known = _known
        for name, value in headers:
            try:
                meaning = known[name]
            except KeyError:
                meaning = _meaning(name)
            kind = meaning.__class__
            if kind is str:
                metadata.append((meaning, value.decode("latin-1")))
            elif kind is int:
                found[meaning] = value  # type: ignore[index]  # it is a number
            elif kind is _Binary:
                self._read_binary(meaning.key, value)  # type: ignore[union-attr]  # it is one
        te, timeout, self.encoding, accepted, self.stream_id = found
        self.gzip = accepted is not None and b"gzip" in accepted
        if timeout is not None:
            try:
                self.deadline = time.monotonic() + parse_timeout(timeout)
            except MfnError as wrong:
                self.fault = wrong
        if te != b"trailers" and needs_trailers:
            # Without them the final status could not be sent: a proxy on the way does not pass trailers on.
            self.fault = MfnError(Code.INVALID_ARGUMENT, "the request has no 'te: trailers', so a proxy drops trailers")
        if self.encoding == b"identity":
            self.encoding = None
        elif self.encoding is not None and self.encoding not in ENCODINGS:
            shown = self.encoding[:32].decode("ascii", "backslashreplace")
            self.fault = MfnError(
                Code.UNIMPLEMENTED, f"grpc-encoding {shown!r} is not supported; use identity, gzip or deflate"
            )

    def _read_binary(self, key: str, value: bytes) -> None:
        try:
            self.metadata.extend((key, each) for each in binary_values(key, value))
        except MfnError as wrong:
            self.fault = wrong


def metadata_pairs(key: str, value: bytes) -> list[tuple[str, str | bytes]]:
    """What one header is as metadata; of a `-bin` key there may be several.

    Raises:
        MfnError: as `binary_values`.
    """
    if key.endswith("-bin"):
        return [(key, each) for each in binary_values(key, value)]
    return [(key, value.decode("latin-1"))]


def binary_values(key: str, value: bytes) -> list[bytes]:
    """The values of one header of a `-bin` key: several may stand in it, joined by commas.

    Raises:
        MfnError: INVALID_ARGUMENT: one of them is not base64, with or without padding.
    """
    return [_binary(key, part) for part in value.split(b",")]


def _binary(key: str, value: bytes) -> bytes:
    stripped = value.strip()
    try:
        return base64.b64decode(stripped + b"=" * (-len(stripped) % 4), validate=True)
    except binascii.Error as wrong:
        raise MfnError(Code.INVALID_ARGUMENT, f"metadata {key!r} is not valid base64", reason=str(wrong)) from None


_TIMEOUT_FORM = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def parse_timeout(value: bytes) -> float:
    """Seconds of a `grpc-timeout`: up to eight digits and one of the units H, M, S, m, u and n.

    Raises:
        MfnError: INVALID_ARGUMENT: it has another form.
    """
    match = _TIMEOUT_FORM.fullmatch(value)
    if match is None:
        shown = value[:32].decode("ascii", "backslashreplace")
        raise MfnError(
            Code.INVALID_ARGUMENT, f"grpc-timeout {shown!r} is not up to eight digits and a unit of H, M, S, m, u or n"
        )
    return int(match[1]) * _UNITS[match[2]]


_UNSAFE = re.compile(rb"[^\x20-\x24\x26-\x7e]")


def percent_encode(text: str) -> bytes:
    """A `grpc-message`: UTF-8 in which everything but printable ASCII, and `%` itself, is percent-encoded."""
    raw = text.encode("utf-8", "backslashreplace")
    return _UNSAFE.sub(lambda match: b"%%%02X" % match[0][0], raw)


_KEY = re.compile(r"[0-9a-z_.-]+")
_NOT_VISIBLE = re.compile(rb"[^\x20-\x7e]")


def encode_metadata(pairs: Iterable[tuple[str, str | bytes]]) -> list[tuple[bytes, bytes]]:
    """Metadata as headers or trailers. What the wire cannot carry is left out and logged: it is the handler's defect,
    and the call itself is sound."""
    encoded: list[tuple[bytes, bytes]] = []
    for key, value in pairs:
        if _KEY.fullmatch(key) is None or key.startswith("grpc-") or key.encode() in _RESERVED:
            _log.error("metadata key %r cannot be sent; keys are of lower-case letters, digits, _, . and -", key)
        elif key.endswith("-bin"):
            raw = value.encode() if isinstance(value, str) else value
            encoded.append((key.encode(), base64.b64encode(raw).rstrip(b"=")))
        elif isinstance(value, bytes):
            _log.error("metadata %r is bytes, which only a key that ends in -bin can carry", key)
        else:
            text = value.encode("ascii", "backslashreplace")
            encoded.append((key.encode(), _NOT_VISIBLE.sub(b" ", text).strip()))
    return encoded


_OF_THE_WEB = frozenset({"accept-encoding", "cache-control", "content-encoding", "retry-after", "vary"})


def encode_web_metadata(pairs: Iterable[tuple[str, str | bytes]], *, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
    """Metadata among the headers of a reply that browsers and caches read: what would change its meaning for them is
    left out and logged too. `prefix` goes before every name."""
    own: list[tuple[str, str | bytes]] = []
    for key, value in pairs:
        if key in _OF_THE_WEB or key.startswith(("access-control-", "connect-")):
            _log.error("metadata key %r cannot be sent; it is a header of the protocol", key)
        else:
            own.append((key, value))
    return [(prefix + name, value) for name, value in encode_metadata(own)]
