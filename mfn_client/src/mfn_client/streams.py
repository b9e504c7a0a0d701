"""The replies of a call that has many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from mfn_client._attempts import Attempts
from mfn_client.errors import Code, MfnRpcError, closing_translated, from_status
from mfn_client.raw import RawCall

__all__ = ["ReplyStream"]

T = TypeVar("T")


class ReplyStream(Generic[T]):
    """The replies of one call, as an asynchronous iterator; read by one task.

    The call begins with the first reply that is asked for. Until that reply has come, the call may be attempted again;
    from then on a failure is the caller's. It is cancelled, and the server stops computing, when the block of
    `async with` is left early, when `aclose` is called, when the task that waits for a reply is cancelled, and when
    the stream is dropped. Iterating raises `MfnRpcError` when the call fails; the replies before that were good. A
    client that reads slowly slows the server: no reply is lost, and few are held.
    """

    def __init__(
        self,
        begin: Callable[[], Attempts],
        start: Callable[[float | None], RawCall],
        decode: Callable[[bytes], T],
        *,
        method: str,
        request_id: str,
    ) -> None:
        """Made by the client's methods.

        Args:
            begin: begins the call's time, when its first reply is asked for.
            start: makes one attempt with a timeout in seconds.
            decode: the result in a reply.
            method: `/package.Service/Method`.
            request_id: the call's.
        """
        self._begin = begin
        self._start = start
        self._decode = decode
        self._method = method
        self._request_id = request_id
        self._attempts: Attempts | None = None
        self._call: RawCall | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = False

    @property
    def request_id(self) -> str:
        """The call's."""
        return self._request_id

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        if self._over:
            raise StopAsyncIteration
        try:
            with closing_translated(self._method, self._request_id):
                raw = await self._first() if self._call is None else await self._next(self._call)
            if raw is None:
                raise StopAsyncIteration
            return self._decode(raw)
        except BaseException:
            # Whatever it is, the end or a failure or a cancellation of the task: no reply follows.
            self._finish()
            raise

    async def _first(self) -> bytes | None:
        """Attempt the call until a first reply has come, or its end."""
        self._loop = asyncio.get_running_loop()
        self._attempts = attempts = self._begin()
        while True:
            left = await attempts.begin()
            if self._over:
                message = "the stream was closed while its first reply was awaited"
                raise MfnRpcError(Code.CANCELLED, message, method=self._method, request_id=self._request_id)
            self._call = call = self._start(left)
            raw = await call.receive()
            if raw is not None:
                attempts.answered()
                return raw
            status = await call.status()
            if status.ok:
                attempts.answered()
                return None
            if not await attempts.again(status):
                raise from_status(status, self._method, self._request_id, attempts.made)

    async def _next(self, call: RawCall) -> bytes | None:
        raw = await call.receive()
        if raw is None:
            status = await call.status()
            if not status.ok:
                made = 1 if self._attempts is None else self._attempts.made
                raise from_status(status, self._method, self._request_id, made)
        return raw

    async def aclose(self) -> None:
        """Give the rest up. Safe twice, and after the end."""
        self._finish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def __del__(self) -> None:
        # grpc.aio's own tasks keep a call alive that nobody reads. The collector may run in any thread.
        call, loop = self._call, self._loop
        if call is not None and loop is not None and not self._over and not loop.is_closed():
            loop.call_soon_threadsafe(call.cancel)

    def _finish(self) -> None:
        self._over = True
        if self._call is not None:
            self._call.cancel()  # does nothing to a call that is over
