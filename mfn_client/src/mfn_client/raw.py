"""Calls on raw bytes: one gRPC channel, four shapes, metadata both ways, and errors with all that the server says.

The typed client is built on it, and so are the suites that try a server's transports. It knows no message type and
signs nothing: bytes go out as they are given. Retries of the channel itself are off, because a retry that sends the
same nonce again is refused as a replay.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from attrs import frozen

from mfn_client._link import Link
from mfn_client._status import FieldViolation, MetadataPairs, RawStatus, RpcFailed, metadata_pairs, status_of

__all__ = ["FieldViolation", "MetadataPairs", "RawCall", "RawClient", "RawReply", "RawStatus", "RpcFailed"]

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""Longest reply message that a client takes unless told otherwise."""

_NOT_OPEN = "open the client first: async with the client, or await its connect()"


@frozen(kw_only=True)
class RawReply:
    """The one reply of a call that succeeded."""

    message: bytes
    initial: MetadataPairs = ()
    trailing: MetadataPairs = ()


class RawCall:
    """One call in flight; an async context manager, which cancels it when left early.

    Iterating gives the replies and raises `RpcFailed` when the call fails; `receive` and `status` tell the same
    without raising. One task may send while another receives.
    """

    def __init__(self, call: Any, *, sends: bool) -> None:
        """Made by `RawClient`."""
        self._call = call
        self._sends = sends
        self._cancelled = False

    async def send(self, message: bytes) -> bool:
        """Send one message; returns when flow control has taken it.

        Returns:
            False when the call is over and the message was not sent: `status` says how it ended.

        Raises:
            ValueError: the call takes no further message: it is half-closed, or has sent its one request.
        """
        if not self._sends:
            raise ValueError("the request side of this call is closed; open a new call")
        call = self._call
        try:
            await call.wait_for_connection()
            if call.done():
                return False
            # `call.write` would do, but when the server has just ended the call it invents the status INTERNAL in
            # place of the server's own, which is still on its way; this is the part of it before that.
            await call._cython_call.send_serialized_message(message)
        except (grpc.aio.AioRpcError, grpc.aio.InternalError):
            return False
        except asyncio.CancelledError:
            if not self._was_cancelled_here():
                self.cancel()
                raise
            return False
        return True

    async def half_close(self) -> None:
        """Say that no further message will be sent; replies may still come. Does nothing the second time."""
        if self._sends:
            self._sends = False
            try:
                await self._call.wait_for_connection()
                await self._call.done_writing()
            except (grpc.aio.AioRpcError, grpc.aio.InternalError):
                pass  # the call is over: `status` says how
            except asyncio.CancelledError:
                if not self._was_cancelled_here():
                    raise

    async def receive(self) -> bytes | None:
        """The next reply; None once there is none, however the call ended."""
        try:
            message = await self._call.read()
        except grpc.aio.AioRpcError:
            return None
        except asyncio.CancelledError:
            if not self._was_cancelled_here():
                raise
            return None
        return None if message is grpc.aio.EOF else message

    async def initial_metadata(self) -> MetadataPairs:
        """What the server sent before its first message; waits for it. Empty where the call failed before."""
        return metadata_pairs(await self._call.initial_metadata())

    async def status(self) -> RawStatus:
        """How the call ended. Waits for the end, which comes after the last reply has been received."""
        call = self._call
        code, details, trailing = await call.code(), await call.details(), await call.trailing_metadata()
        # The channel's close cancels calls as well, and only the call itself knows of that.
        return status_of(code, details, trailing, local=call._cython_call.is_locally_cancelled())

    async def reply(self) -> RawReply:
        """The one reply of a call that has one, once it is over.

        Raises:
            RpcFailed: the call failed, or replied with no message.
        """
        message = await self.receive()
        if message is not None:
            while await self.receive() is not None:
                pass  # a reply too many is the server's defect; the call is over only once they are read
        status = await self.status()
        if not status.ok:
            raise RpcFailed(status)
        if message is None:
            raise RpcFailed(RawStatus(code="INTERNAL", message="the server ended the call without a reply"))
        return RawReply(message=message, initial=await self.initial_metadata(), trailing=status.trailing)

    def cancel(self) -> None:
        """Give the call up. Does nothing once it is over."""
        self._cancelled = True
        self._call.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message = await self.receive()
        if message is not None:
            return message
        status = await self.status()
        if not status.ok:
            raise RpcFailed(status)
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._call.done():
            self.cancel()

    def _was_cancelled_here(self) -> bool:
        """grpc.aio tells of a call that was cancelled locally by the exception that cancels tasks."""
        task = asyncio.current_task()
        return self._cancelled and not (task is not None and task.cancelling())


class RawClient:
    """A channel to one server; an async context manager. Use from one event loop, by any number of tasks."""

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        root_certificates: bytes | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Make a channel; it connects at the first call.

        Args:
            target: `host:port`, or any name that gRPC resolves.
            credentials: of the channel, such as those with a client certificate; TLS.
            root_certificates: PEM authorities that the server's certificate must be signed by; TLS. Without either
                the channel is plain text.
            max_message_bytes: longest reply message to take.
            options: further channel arguments of gRPC, which override those set here.

        Raises:
            ValueError: both `credentials` and `root_certificates` are given.
        """
        if credentials is not None and root_certificates is not None:
            raise ValueError("give credentials or root_certificates, not both: credentials hold their own roots")
        self._target = target
        self._credentials = credentials
        if root_certificates is not None:
            self._credentials = grpc.ssl_channel_credentials(root_certificates)
        self._options = {
            "grpc.enable_retries": 0,
            # A server that restarts is back within seconds; by itself the channel would wait up to two minutes.
            "grpc.initial_reconnect_backoff_ms": 100,
            "grpc.max_reconnect_backoff_ms": 2000,
            "grpc.max_receive_message_length": max_message_bytes,
            # Connections of its own: closing one client closes what it opened, and nobody else's.
            "grpc.use_local_subchannel_pool": 1,
            **dict(options),
        }
        self._channel: grpc.aio.Channel | None = None
        self._link: Link | None = None
        self._unary: dict[str, Any] = {}

    @property
    def target(self) -> str:
        """What it calls."""
        return self._target

    async def __aenter__(self) -> Self:
        if self._channel is not None:
            raise RuntimeError("the client is open already")
        options = list(self._options.items())
        if self._credentials is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=options)
        else:
            self._channel = grpc.aio.secure_channel(self._target, self._credentials, options=options)
        self._link = Link(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what is in flight and close the connection. Safe twice."""
        channel, self._channel = self._channel, None
        link, self._link = self._link, None
        self._unary.clear()
        # The link first: who waits for the connection learns that it will not come.
        if link is not None:
            await link.close()
        if channel is not None:
            await channel.close()

    async def unary(
        self,
        path: str,
        message: bytes,
        *,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> RawReply:
        """One message each way.

        Args:
            path: `/package.Service/Method`.
            message: the encoded request.
            metadata: sent before the message.
            timeout: seconds until the call's deadline; None: none.

        Raises:
            RpcFailed: the call did not end with OK.
        """
        method = self._unary.get(path)
        if method is None:
            method = self._open_channel.unary_unary(path)
            if len(self._unary) < 1024:  # methods of any API; a caller that makes paths up is not remembered
                self._unary[path] = method
        call = method(message, metadata=tuple(metadata) or None, timeout=timeout)
        try:
            reply = await call
        except grpc.aio.AioRpcError as failed:
            raise RpcFailed(status_of(failed.code(), failed.details(), failed.trailing_metadata())) from None
        return RawReply(
            message=reply,
            initial=metadata_pairs(await call.initial_metadata()),
            trailing=metadata_pairs(await call.trailing_metadata()),
        )

    def server_stream(
        self,
        path: str,
        message: bytes,
        *,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        timeout: float | None = None,
    ) -> RawCall:
        """One message out, many back: iterate over the call."""
        method: Any = self._open_channel.unary_stream(path)
        return RawCall(method(message, metadata=tuple(metadata) or None, timeout=timeout), sends=False)

    async def client_stream(
        self,
        path: str,
        messages: Iterable[bytes] | AsyncIterable[bytes],
        *,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        timeout: float | None = None,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> RawReply:
        """Many messages out, one back. Stops sending when the server ends the call early.

        Raises:
            RpcFailed: the call did not end with OK.
        """
        async with self.open(path, metadata=metadata, timeout=timeout) as call:
            if isinstance(messages, AsyncIterable):
                async for message in messages:
                    if not await call.send(message):
                        break
            else:
                for message in messages:
                    if not await call.send(message):
                        break
            await call.half_close()
            return await call.reply()

    def open(
        self,
        path: str,
        *,
        metadata: Iterable[tuple[str, str | bytes]] = (),
        timeout: float | None = None,
    ) -> RawCall:
        """A call of any shape, message by message: the wire does not tell the shapes apart."""
        method: Any = self._open_channel.stream_stream(path)
        return RawCall(method(metadata=tuple(metadata) or None, timeout=timeout), sends=True)

    @property
    def link(self) -> Link:
        """The connection below the open channel.

        Raises:
            RuntimeError: the client is not open.
        """
        if self._link is None:
            raise RuntimeError(_NOT_OPEN)
        return self._link

    @property
    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            raise RuntimeError(_NOT_OPEN)
        return self._channel
