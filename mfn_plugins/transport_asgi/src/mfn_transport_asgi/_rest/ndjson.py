"""A request that is a stream of messages: one JSON value on each line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._asgi import Receive, settled
from mfn_transport_asgi._exchange import ClientGoneError, off_loop

__all__ = ["Lines"]


class Lines:
    """The lines of a body, read as they are asked for. Holds one line, and what came with it in the last piece.

    Empty lines are passed over; the last one need not end.
    """

    __slots__ = ("_buffer", "_ended", "_limit", "_looked_at", "_pending", "_receive", "_transcode")

    def __init__(self, receive: Receive, *, limit: int, transcode: Callable[[bytes], bytes]) -> None:
        """Take lines of at most `limit` bytes; `transcode` makes protobuf of each."""
        self._receive = receive
        self._limit = limit
        self._transcode = transcode
        self._buffer = bytearray()
        self._looked_at = 0
        self._ended = False
        self._pending: Any = None

    async def read(self) -> bytes | None:
        """The next message; None once the client has sent all.

        Raises:
            MfnError: the line is too long, or is not the JSON of a message.
            ClientGoneError: there will be no more.
        """
        while (line := self._take()) is not None or not self._ended:
            if line is None:
                await self._fill()
            elif line.strip():
                return await off_loop(len(line), self._transcode, line)
        return None

    def _take(self) -> bytes | None:
        """The next line; None: it is not whole yet, or there is none."""
        end = self._buffer.find(b"\n", self._looked_at)
        if end < 0:
            self._looked_at = len(self._buffer)
            if self._looked_at > self._limit:
                raise self._too_long()
            if not self._ended or not self._buffer:
                return None
            end = len(self._buffer)
        if end > self._limit:
            raise self._too_long()
        line = bytes(memoryview(self._buffer)[:end])
        del self._buffer[: end + 1]
        self._looked_at = 0
        return line

    async def _fill(self) -> None:
        # A reader that is cancelled leaves its `receive()` behind for the next one: its bytes must not be lost.
        if self._pending is None:
            self._pending = self._receive()
        message = await settled(self._pending)
        self._pending = None
        if message["type"] != "http.request":
            raise ClientGoneError
        self._buffer += message.get("body", b"")
        self._ended = not message.get("more_body", False)

    def _too_long(self) -> MfnError:
        return MfnError(
            Code.RESOURCE_EXHAUSTED, f"a line is longer than the server's limit of {self._limit} bytes; send less"
        )
