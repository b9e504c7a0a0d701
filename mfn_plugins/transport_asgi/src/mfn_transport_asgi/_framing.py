"""Length-prefixed messages: cut out of a byte stream that arrives in chunks of any size, and made from replies.

A message is one byte of flags (1: compressed), four bytes of length, big-endian, and that many bytes:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. gRPC-Web and Connect have the same prefix, and mark the
end of a reply by a flag of their own.
"""

from __future__ import annotations

import struct
import zlib

from mfn_core.errors import Code, MfnError

__all__ = ["ENCODINGS", "Unframer", "compress", "decompress", "enveloped", "frame", "too_large", "whole"]

PREFIX_BYTES = 5
_PREFIX = struct.Struct(">BI")

ENCODINGS = {b"gzip": 31, b"deflate": 15}
"""Message encodings that are read, each with the window bits by which zlib knows its container."""
MAX_MEMBERS = 64
"""A gzip file may have several, and some writers make them; each costs time, also one that is empty."""
INPUT_BYTES = 64 * 1024
"""Most that zlib is given at a time."""


def frame(message: bytes, *, compressed: bool = False) -> bytes:
    """The message with its prefix."""
    return _PREFIX.pack(compressed, len(message)) + message


def enveloped(flags: int, content: bytes) -> bytes:
    """What is not a message of the call, such as its end, with its prefix."""
    return _PREFIX.pack(flags, len(content)) + content


def whole(body: bytes, limit: int) -> bytes | None:
    """The message, when `body` is exactly one that is not compressed and has at most `limit` bytes; else None."""
    if len(body) >= PREFIX_BYTES:
        flags, length = _PREFIX.unpack_from(body)
        if flags == 0 and length == len(body) - PREFIX_BYTES and length <= limit:
            return body[PREFIX_BYTES:]
    return None


class Unframer:
    """Cuts messages out of chunks. Holds no more than one message and what came with it in the last chunk."""

    __slots__ = ("_buffer", "_limit", "_start")

    def __init__(self, limit: int) -> None:
        """Refuse messages of more than `limit` bytes."""
        self._buffer = bytearray()
        self._start = 0
        self._limit = limit

    def feed(self, chunk: bytes) -> None:
        """Add what arrived; take every message out with `take` before the next chunk."""
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += chunk

    def take(self) -> tuple[bool, bytes] | None:
        """The next whole message and whether it is compressed; None: more bytes are needed.

        Raises:
            MfnError: RESOURCE_EXHAUSTED for a message over the limit, as soon as its length is known;
                INVALID_ARGUMENT for flags that do not exist. Nothing can be taken after it.
        """
        available = len(self._buffer) - self._start
        if available < PREFIX_BYTES:
            return None
        flags, length = _PREFIX.unpack_from(self._buffer, self._start)
        if flags > 1:
            raise MfnError(
                Code.INVALID_ARGUMENT,
                f"malformed message: its flags are {flags:#04x}, and only bit 0, compressed, is defined",
            )
        if length > self._limit:
            raise too_large(length, self._limit)
        if available < PREFIX_BYTES + length:
            return None
        begin = self._start + PREFIX_BYTES
        self._start = begin + length
        return bool(flags), bytes(memoryview(self._buffer)[begin : self._start])

    @property
    def pending(self) -> int:
        """Bytes that have arrived and belong to no whole message."""
        return len(self._buffer) - self._start


def too_large(length: int, limit: int) -> MfnError:
    """RESOURCE_EXHAUSTED for a message of `length` bytes."""
    return MfnError(
        Code.RESOURCE_EXHAUSTED,
        f"message of {length} bytes is larger than the server's limit of {limit} bytes; send less",
    )


def compress(message: bytes) -> bytes:
    """The message as gzip, at the level that favours speed."""
    packer = zlib.compressobj(level=1, wbits=ENCODINGS[b"gzip"])
    return packer.compress(message) + packer.flush()


def decompress(message: bytes, encoding: bytes, limit: int) -> bytes:
    """A message as it was before compression; never makes more than `limit` bytes and one.

    Raises:
        MfnError: RESOURCE_EXHAUSTED when there are more than `limit` bytes; INVALID_ARGUMENT when it is damaged, or has
            more than `MAX_MEMBERS` members.
    """
    rest = memoryview(message)
    parts: list[bytes] = []
    size = 0
    for _ in range(MAX_MEMBERS):
        unpacker = zlib.decompressobj(ENCODINGS[encoding])
        while not unpacker.eof:
            if not rest:
                raise _damaged(encoding, "it ends early")
            # In pieces: zlib copies what is left of its input at the end of each member.
            piece = rest[:INPUT_BYTES]
            try:
                part = unpacker.decompress(piece, limit - size + 1)
            except zlib.error as wrong:
                raise _damaged(encoding, str(wrong)) from wrong
            size += len(part)
            if size > limit:
                raise MfnError(
                    Code.RESOURCE_EXHAUSTED,
                    f"message of {len(message)} bytes has more than the server's limit of {limit} bytes when "
                    "decompressed; send less",
                )
            parts.append(part)
            rest = rest[len(piece) - len(unpacker.unused_data) :]
        if not rest:
            return b"".join(parts)
    raise MfnError(
        Code.INVALID_ARGUMENT,
        f"message of {len(message)} bytes is {encoding.decode()} of more than {MAX_MEMBERS} members; send it as one",
    )


def _damaged(encoding: bytes, why: str) -> MfnError:
    return MfnError(
        Code.INVALID_ARGUMENT, f"message is not valid {encoding.decode()}, as its encoding header promised", reason=why
    )
