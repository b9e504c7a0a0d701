"""Unary gRPC calls on one HTTP/2 connection, as cheaply as Python can make them.

A client library costs more for a call than the servers that are measured here, so that its core is at its end before
theirs is. This one writes frames that were made before the clock starts, and reads of the replies only what says that
they are there. Header fields that are the same in every call are entered into HPACK's dynamic table once and are one
octet each from then on (RFC 7541); the others are written without Huffman's code. There are never more octets in flight
than the smallest window of RFC 9113 holds, and the windows for what comes back are opened as wide as they go.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

__all__ = ["Connection", "Prepared", "Run", "prepared"]

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW_SIZE = 4
_WIDEST = 2**31 - 1
_HEAD = struct.Struct("!IBI")
"""Length and kind of a frame, its flags, its stream."""
_FIRST_DYNAMIC = 62
_FIXED = {":authority": "localhost", "content-type": "application/grpc", "te": "trailers"}


def _integer(value: int, prefix: int, first: int = 0) -> bytes:
    """An integer after RFC 7541, 5.1."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    made, value = bytearray([first | most]), value - most
    while value >= 128:
        made.append(value % 128 + 128)
        value //= 128
    return bytes([*made, value])


def _string(text: str) -> bytes:
    octets = text.encode()
    return _integer(len(octets), 7) + octets


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


@frozen
class Prepared:
    """A call but for the number of its stream."""

    before: bytes
    """The first octets of its HEADERS frame."""
    between: bytes
    """The rest of them, and the first of its DATA frame."""
    after: bytes

    def on(self, stream: int) -> bytes:
        """Its octets."""
        number = stream.to_bytes(4, "big")
        return b"".join((self.before, number, self.between, number, self.after))


def prepared(
    path: str, calls: Sequence[tuple[Mapping[str, str], bytes]], *, open_ended: bool = False
) -> Iterator[Prepared]:
    """Calls of one method in the order in which they must be sent: of each its header fields, and its message.

    Fields whose values stay the same are indexed; every call must have the same names. With `open_ended` the client
    does not half-close behind its message, and an empty one is not sent at all.
    """
    names = list(calls[0][0]) if calls else []
    constant = [name for name in names if len({headers[name] for headers, _ in calls}) == 1]
    fixed = {**_FIXED, ":path": path, **{name: calls[0][0][name] for name in constant}}
    varying = [name for name in names if name not in constant]
    entered = [*sorted(fixed), *varying]  # a colon sorts before letters, and pseudo-header fields come first
    indices = {name: _FIRST_DYNAMIC + len(entered) - 1 - number for number, name in enumerate(entered)}
    method_and_scheme = b"\x83\x86"
    known = method_and_scheme + b"".join(_integer(indices[name], 7, 0x80) for name in entered if name in fixed)
    for number, (headers, message) in enumerate(calls):
        if number == 0:
            values = {**fixed, **headers}
            block = method_and_scheme + b"".join(b"\x40" + _string(name) + _string(values[name]) for name in entered)
        else:
            block = known + b"".join(_integer(indices[name], 4) + _string(headers[name]) for name in varying)
        body = b"" if open_ended and not message else b"\x00" + len(message).to_bytes(4, "big") + message
        yield Prepared(
            before=struct.pack("!IB", len(block) << 8 | _HEADERS, _END_HEADERS),
            between=block + struct.pack("!IB", len(body) << 8 | _DATA, 0 if open_ended else _END_STREAM),
            after=body,
        )


@frozen(kw_only=True)
class Run:
    """What came of some calls."""

    calls: int
    seconds: float
    latencies: Sequence[float]
    """Seconds, ascending."""


class Connection:
    """One connection. Raises `RuntimeError` where the server refuses anything."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_stream = 1
        self._unread = b""
        self._answered: set[int] = set()
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, struct.pack("!HI", _INITIAL_WINDOW_SIZE, _WIDEST))
            + _frame(_WINDOW_UPDATE, 0, 0, struct.pack("!I", _WIDEST - 65535))
        )

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def begin(self, call: Prepared) -> int:
        """Begin a call whose replies `arrivals` tells of; the number of its stream."""
        stream = self._next_stream
        self._next_stream += 2
        self._socket.sendall(call.on(stream))
        return stream

    def fileno(self) -> int:
        """To be waited for."""
        return self._socket.fileno()

    def arrivals(self) -> list[int]:
        """The streams of the messages that the server has sent: one each, and each in a frame of its own.

        Raises:
            RuntimeError: a stream ended.
        """
        found = []
        for kind, flags, stream in self._frames():
            if kind == _DATA:
                found.append(stream)
            elif flags & _END_STREAM:
                raise RuntimeError(f"stream {stream} ended")
        return found

    def run(self, calls: Iterator[Prepared], seconds: float, in_flight: int) -> Run:
        """Keep so many calls in flight for so long, or until there are no more; every reply is waited for."""
        begun: dict[int, float] = {}
        latencies: list[float] = []
        start = now = time.perf_counter()
        until, wanted = start + seconds, in_flight
        while True:
            more = bytearray()
            while wanted and now < until:
                call = next(calls, None)
                if call is None:
                    until = now
                    break
                more += call.on(self._next_stream)
                begun[self._next_stream] = now
                self._next_stream += 2
                wanted -= 1
            if more:
                self._socket.sendall(more)
            if not begun:
                latencies.sort()
                return Run(calls=len(latencies), seconds=now - start, latencies=latencies)
            ended = self._ended()
            now = time.perf_counter()
            for stream in ended:
                latencies.append(now - begun.pop(stream))
            wanted += len(ended)

    def _ended(self) -> list[int]:
        """The streams that ended with a message in what the server says next."""
        ended = []
        for kind, flags, stream in self._frames():
            if kind == _DATA:
                self._answered.add(stream)
            elif flags & _END_STREAM:
                if stream not in self._answered:
                    raise RuntimeError(f"stream {stream} ended without a message")
                self._answered.remove(stream)
                ended.append(stream)
        return ended

    def _frames(self) -> list[tuple[int, int, int]]:
        """Kind, flags and stream of the DATA and HEADERS frames in what the server says next."""
        octets = self._unread + self._socket.recv(1 << 18)
        if len(octets) == len(self._unread):
            raise RuntimeError("the server closed the connection")
        found, at, size = [], 0, len(octets)
        while at + 9 <= size:
            head, flags, stream = _HEAD.unpack_from(octets, at)
            length, kind = head >> 8, head & 255
            if at + 9 + length > size:
                break
            if kind in (_DATA, _HEADERS):
                found.append((kind, flags, stream))
            elif kind == _SETTINGS and not flags & _ACK:
                self._socket.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                self._socket.sendall(_frame(_PING, _ACK, 0, octets[at + 9 : at + 9 + length]))
            elif kind in (_RST_STREAM, _GOAWAY):
                raise RuntimeError(f"the server ended stream {stream}: {octets[at + 9 : at + 9 + length]!r}")
            at += 9 + length
        self._unread = octets[at:]
        return found
