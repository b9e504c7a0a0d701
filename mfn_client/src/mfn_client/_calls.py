"""Signed calls: what the typed client asks for, and the raw client carries out. One attempt a call."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Generic, Self, TypeVar

from mfn_client.errors import broken_contract, from_status, translated
from mfn_client.raw import MetadataPairs, RawCall, RawClient
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

__all__ = ["ReplyStream", "SignedCalls"]

T = TypeVar("T")


class SignedCalls:
    """The calls of one client. Headers are made afresh for each call, and with one nonce source for all of them."""

    def __init__(self, raw: RawClient, credentials: Credentials | None) -> None:
        """Sign with `credentials`, or not at all without any."""
        self._raw = raw
        self._credentials = credentials
        self._nonces = WindowedNonceSource()

    def headers(self, method: str, body: bytes | None) -> MetadataPairs:
        """Metadata of one call at this moment; never used for a second one, whose nonce would be a replay.

        Args:
            method: `/package.Service/Method`.
            body: the encoded request; None where the client streams requests, which a signature does not cover.
        """
        if self._credentials is None:
            return ()
        return sign_headers(self._credentials, method, body, timestamp=int(time.time()), nonce=self._nonces.next())

    async def unary(
        self,
        method: str,
        message: bytes,
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: float | None,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> T:
        """One message each way."""
        with translated(method, request_id):
            reply = await self._raw.unary(method, message, metadata=self.headers(method, message), timeout=timeout)
        return decoded(decode, reply.message, method, request_id)

    async def client_stream(
        self,
        method: str,
        messages: Iterable[bytes],
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: float | None,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> T:
        """Many messages out, one back."""
        with translated(method, request_id):
            reply = await self._raw.client_stream(
                method, messages, metadata=self.headers(method, None), timeout=timeout
            )
        return decoded(decode, reply.message, method, request_id)

    def server_stream(
        self,
        method: str,
        message: bytes,
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: float | None,
    ) -> ReplyStream[T]:
        """One message out, many back."""

        def start() -> RawCall:
            return self._raw.server_stream(method, message, metadata=self.headers(method, message), timeout=timeout)

        return ReplyStream(start, decode, method=method, request_id=request_id)

    def open(self, method: str, *, timeout: float | None) -> RawCall:
        """Many messages both ways."""
        return self._raw.open(method, metadata=self.headers(method, None), timeout=timeout)


class ReplyStream(Generic[T]):
    """The replies of one call, as an asynchronous iterator; read by one task.

    The call begins with the first reply that is asked for. It is cancelled, and the server stops computing, when the
    block of `async with` is left early, when `aclose` is called, when the task that waits for a reply is cancelled,
    and when the stream is dropped. Iterating raises `MfnRpcError` when the call fails; the replies before that were
    good. A client that reads slowly slows the server: no reply is lost, and few are held.
    """

    def __init__(
        self, start: Callable[[], RawCall], decode: Callable[[bytes], T], *, method: str, request_id: str
    ) -> None:
        """Made by the client's methods."""
        self._start = start
        self._decode = decode
        self._method = method
        self._request_id = request_id
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
            return await self._next()
        except BaseException:
            # Whatever it is, the end or a failure or a cancellation of the task: no reply follows.
            self._finish()
            raise

    async def _next(self) -> T:
        with translated(self._method, self._request_id):
            if self._call is None:
                self._loop = asyncio.get_running_loop()
                self._call = self._start()
            raw = await self._call.receive()
            if raw is None:
                status = await self._call.status()
                if not status.ok:
                    raise from_status(status, self._method, self._request_id)
        if raw is None:
            raise StopAsyncIteration
        return decoded(self._decode, raw, self._method, self._request_id)

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


def decoded(decode: Callable[[bytes], T], raw: bytes, method: str, request_id: str) -> T:
    """The result in a reply.

    Raises:
        MfnRpcError: INTERNAL, when the reply breaks the contract, or answers another request.
    """
    try:
        result = decode(raw)
    except ValueError as wrong:
        raise broken_contract(str(wrong), method, request_id) from wrong
    echoed = getattr(result, "request_id", request_id)
    if echoed != request_id:
        raise broken_contract(f"it answers request {echoed!r}", method, request_id)
    return result
