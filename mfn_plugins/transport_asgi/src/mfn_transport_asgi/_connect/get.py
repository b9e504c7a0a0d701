"""A unary Connect call as a GET request: the message stands in the query.

https://connectrpc.com/docs/protocol#unary-get-request.
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from attrs import frozen

from mfn_core.errors import Code, MfnError

__all__ = ["GetQuery", "is_connect_query"]

VERSION = b"v1"
KNOWN = (b"connect", b"encoding", b"message", b"base64", b"compression")


@frozen(kw_only=True)
class GetQuery:
    """What a query says."""

    encoding: bytes
    """Name of the codec; empty where there is none."""
    message: bytes
    """As it was encoded: still compressed where it is."""
    compression: bytes | None
    fault: MfnError | None
    """The first thing that is wrong with it."""

    @classmethod
    def parse(cls, query: bytes) -> GetQuery:
        """Read a query string; parameters that are not Connect's are passed over, and of a repeated one the first
        counts."""
        found: dict[bytes, bytes] = {}
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            if name in KNOWN and name not in found:
                found[name] = unquote_to_bytes(value.replace(b"+", b" "))
        message, fault = found.get(b"message", b""), None
        if b"message" not in found:
            fault = MfnError(Code.INVALID_ARGUMENT, "the query has no message; an empty one is 'message='")
        elif found.get(b"base64") == b"1":
            try:
                message = _decoded(message)
            except binascii.Error as wrong:
                fault = MfnError(Code.INVALID_ARGUMENT, "the query's message is not valid base64", reason=str(wrong))
        if found.get(b"connect", VERSION) != VERSION:
            shown = found[b"connect"][:32].decode("ascii", "backslashreplace")
            fault = MfnError(Code.INVALID_ARGUMENT, f"the query's connect must be 'v1', not {shown!r}")
        return cls(
            encoding=found.get(b"encoding", b""),
            message=message,
            compression=found.get(b"compression"),
            fault=fault,
        )


def is_connect_query(query: bytes) -> bool:
    """Whether a query says that it is Connect's."""
    return any(part.startswith(b"connect=") for part in query.split(b"&"))


def _decoded(text: bytes) -> bytes:
    """The bytes of base64 in either alphabet, with or without padding."""
    plain = text.rstrip(b"=").translate(_TO_STANDARD)
    return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)


_TO_STANDARD = bytes.maketrans(b"-_", b"+/")
