"""Replies of equal requests are equal but for the request id: the key of such a reply, and the id put into it.

Both work on raw bytes, so that a hit costs neither computing nor encoding. Only the request id is left out of the
key; a request whose id cannot be trusted is therefore given no key, and takes the whole path to its refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

__all__ = ["REQUEST_ID_BYTES", "cache_key", "stamp"]

REQUEST_ID_BYTES = 128
"""The bound of `request_id` in every definition of package `mfn`."""

_REQUEST_ID_TAG = b"\x0a"
"""Field 1, length-delimited: `request_id` in every request and reply of package `mfn`."""


def cache_key(request_type: type[Any]) -> Callable[[bytes], bytes | None]:
    """The function that gives the key of a raw request of this type, or None for one that must not be cached."""

    def key(raw: bytes) -> bytes | None:
        try:
            request = request_type.FromString(raw)
        except DecodeError:
            return None
        if len(request.request_id.encode()) > REQUEST_ID_BYTES:
            return None
        request.ClearField("request_id")
        encoded: bytes = request.SerializeToString(deterministic=True)
        return encoded

    return key


def stamp(request_type: type[Any]) -> Callable[[bytes, bytes], bytes]:
    """The function that puts the id of a raw request of this type in place of the one in a raw reply.

    The reply must be one that this process encoded: its id, where there is one, comes first. The request must have a
    key.
    """

    def stamped(reply: bytes, raw: bytes) -> bytes:
        request_id: bytes = request_type.FromString(raw).request_id.encode()
        rest: bytes = reply
        if reply[:1] == _REQUEST_ID_TAG:
            length, start = _varint(reply, 1)
            rest = reply[start + length :]
        if not request_id:
            return rest
        return _REQUEST_ID_TAG + _encoded(len(request_id)) + request_id + rest

    return stamped


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at `position`, and the position after it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _encoded(number: int) -> bytes:
    """A number as a varint."""
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
