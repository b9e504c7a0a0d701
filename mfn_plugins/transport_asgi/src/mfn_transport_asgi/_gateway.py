"""What the protocols of the web do alike: find the operation, wait for its message, make the call, dispatch it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from mfn_core.call import Call, Metadata, Request
from mfn_core.errors import Code, MfnError
from mfn_grpc import with_reflection
from mfn_transport_asgi._asgi import Message, Receive, Scope, Send, Sending, plain_reply, settled
from mfn_transport_asgi._page_origin import DENIED, PageOrigins
from mfn_transport_asgi._peer import peer_of

if TYPE_CHECKING:
    from mfn_core.dispatcher import Dispatcher, Outcome
    from mfn_core.operation import Operation
    from mfn_transport_asgi._disconnects import Disconnects
    from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["Gateway", "patient"]

T = TypeVar("T")

_log = logging.getLogger(__name__)

_DENIED = f"{DENIED}, which is for its own machine; its operator can name the origin in cors_origins"


class Gateway:
    """Between one protocol of a listener and the dispatcher."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        name: str,
        settings: AsgiSettings,
        disconnects: Disconnects,
        *,
        protocol: str,
        anonymous: bool,
    ) -> None:
        """Serve the dispatcher's operations.

        Args:
            dispatcher: takes every call.
            name: of the transport in the configuration.
            settings: of the listener.
            disconnects: tells the calls whose client is gone.
            protocol: what is spoken, for the audit.
            anonymous: whether calls need no credentials, so that any page in a browser of this machine could make them.
        """
        self._dispatcher = dispatcher
        self._name = name
        self._protocol = protocol
        self._patience = settings.receive_seconds
        self._identifies = settings.identifies
        self._disconnects = disconnects
        pages = PageOrigins(settings)
        self._pages = pages if anonymous and pages.local else None
        offered = with_reflection(dispatcher.operations, settings.reflection, listen=settings.listen)
        self.operations: Mapping[str, Operation] = offered
        """What is offered here, by path."""
        self._routes = {path.encode(): operation for path, operation in offered.items()}
        self.active = 0
        """Requests whose reply has not been handed over to Envoy whole."""

    async def serve(
        self, answer: Callable[[Sending], Coroutine[Any, Any, None]], send: Send, *, defect: Iterable[Message]
    ) -> None:
        """Answer one request, whatever happens.

        Args:
            answer: makes the reply.
            send: ASGI's.
            defect: the reply to a request that the transport itself fails at before it has begun to answer.
        """
        self.active += 1
        sending = Sending(send)
        try:
            await answer(sending)
        except OSError as gone:
            _log.debug("the client left before its reply was whole: %r", gone)
        except Exception:  # noqa: BLE001 - the transport's own defect: the client must hear of it, and the log
            _log.exception("a call failed in its transport")
            if not sending.started:
                for message in defect:
                    await send(message)
            elif not sending.ended:
                # Without the end that the protocol demands, so that it passes for no success.
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self.active -= 1

    def find(self, path: bytes) -> Operation | None:
        """The operation of a path as it stands in the request."""
        return self._routes.get(path)

    def unknown(self, path: bytes) -> Operation:
        """Stands for an operation that is not offered, so that calls of it are recorded and answered."""
        return self._dispatcher.unknown(path.decode("latin-1"))

    async def in_time(self, reading: Awaitable[T]) -> T:
        """What is read of a request; everything that `reading` waits for must be `patient`.

        Raises:
            MfnError: DEADLINE_EXCEEDED: it has not come in time.
        """
        try:
            async with asyncio.timeout(self._patience):
                return await reading
        except TimeoutError:
            raise MfnError(
                Code.DEADLINE_EXCEEDED,
                f"the request's message did not arrive within {self._patience:g} s; send it at once",
            ) from None

    def call(
        self,
        scope: Scope,
        operation: Operation,
        *,
        metadata: list[tuple[str, str | bytes]],
        deadline: float | None,
        request: Request | None,
        fault: MfnError | None,
        inbound: AsyncIterator[bytes] | None = None,
        deliver: Callable[[bytes], Awaitable[None]] | None = None,
        signed_path: str | None = None,
    ) -> Call:
        """The call that a request makes; `signed_path`: what a signature covers, where that is not the operation's."""
        if fault is None and self._pages is not None and not self._pages.are_near(scope):
            fault = MfnError(Code.PERMISSION_DENIED, _DENIED)
        return Call(
            id=self._dispatcher.new_call_id(),
            operation=operation,
            transport=self._name,
            metadata=Metadata(metadata),
            peer=peer_of(scope, self._identifies),
            deadline=deadline,
            request=request,
            inbound=inbound,
            deliver=deliver,
            fault=fault,
            protocol=self._protocol,
            signed_path=signed_path,
        )

    async def dispatch(self, call: Call, stream: bytes | None) -> Outcome:
        """Run the call to its end; the end of its HTTP stream, by the listener's id of it, aborts it."""
        if stream is None:
            return await self._dispatcher.dispatch(call)
        if not self._disconnects.add(stream, call):
            call.fault = call.fault or call.aborted()
        try:
            return await self._dispatcher.dispatch(call)
        finally:
            self._disconnects.discard(stream)

    async def refuse(
        self,
        scope: Scope,
        send: Send,
        status: int,
        error: MfnError,
        *,
        metadata: list[tuple[str, str | bytes]],
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Answer what is no call of the protocol with a status of HTTP, and leave a record of it all the same."""
        path: bytes = scope["raw_path"]
        operation = self.find(path) or self.unknown(path)
        call = self.call(scope, operation, metadata=metadata, deadline=None, request=None, fault=error)
        await self._dispatcher.dispatch(call)
        await plain_reply(send, status, error.message.encode() + b"\n", headers)


def patient(receive: Receive) -> Receive:
    """ASGI's `receive`, whose waiter may be cancelled."""

    def received() -> Awaitable[Message]:
        return settled(receive())

    return received
