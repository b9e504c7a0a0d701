"""The ASGI application that Envoy runs: the worker's life in its lifespan, and requests to the protocol they speak."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable

from mfn_core.host.control import WorkerEnd
from mfn_core.host.worker import Worker
from mfn_transport_asgi._asgi import Receive, Scope, Send, WireProtocol, plain_reply
from mfn_transport_asgi._cors import Cors, Handle
from mfn_transport_asgi._disconnects import Disconnects
from mfn_transport_asgi._launch import HANDOVER, Handover
from mfn_transport_asgi._ws_link import Link, carry

__all__ = ["Application", "application", "websockets"]

_log = logging.getLogger(__name__)


class Application:
    """One in each worker process. Everything runs on the one event loop that Envoy's Python has.

    That loop's thread is not the process's main one: no signal arrives here, and none can be handled.
    """

    _asgi_single_callable = True  # an ASGI 3 application, though its `__call__` is a plain function

    def __init__(self) -> None:
        self.disconnects = Disconnects()
        """Tells the calls of every protocol that their client is gone."""
        self.handover: Handover | None = None
        """What the launcher told this process; None outside Envoy."""
        self.cors = Cors()
        """Which pages of other origins may call; set before the protocols are added."""
        self._by_content_type: dict[bytes, Handle] = {}
        self._claiming: dict[WireProtocol, Handle] = {}
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the server lives, once it does; WebSockets come on another one."""
        self.opened: Callable[[Link], None] | None = None
        """Takes the WebSockets; called on that loop."""
        self._living: asyncio.Task[None] | None = None
        self.ending = False
        """Whether Envoy is shutting down: its connections are gone, and it answers no question."""
        self._over = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request, or live the lifespan."""
        if scope["type"] == "http":
            handle = self._by_content_type.get(_content_type(scope))
            return self._by_other_signs(scope, receive, send) if handle is None else handle(scope, receive, send)
        return self._lifespan(receive, send)

    def speak(self, protocol: WireProtocol) -> None:
        """Give the requests of a protocol to it: those of its content types, and what else it claims."""
        handle = self.cors.around(protocol.handle) if protocol.for_browsers else protocol.handle
        self._by_content_type.update(dict.fromkeys(protocol.content_types, handle))
        self._claiming[protocol] = handle

    def fall_silent(self, protocol: WireProtocol) -> None:
        """Take a protocol away again."""
        self._claiming.pop(protocol, None)
        for content_type in protocol.content_types:
            self._by_content_type.pop(content_type, None)

    def _by_other_signs(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request whose content type is nobody's."""
        preflight = self.cors.preflight(scope, send)
        if preflight is not None:
            return preflight
        for protocol, handle in self._claiming.items():
            if protocol.claims(scope):
                return handle(scope, receive, send)
        return plain_reply(send, *_REFUSED)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.loop = loop = asyncio.get_running_loop()
        _fit(loop)
        self.handover = handover = _settle()
        self.disconnects.watch(loop, handover.ended_fd)
        worker = Worker(WorkerEnd.inherited())
        try:
            await worker.start()
        except Exception as failed:  # noqa: BLE001 - whatever it is ends this process
            # The supervisor has been told. Envoy would only add its own configuration to standard error.
            _log.debug("worker could not start: %r", failed)
            _exit(1)
        self._living = loop.create_task(self._live(worker))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.ending = True
        if not self._over and worker.server is not None:
            # Someone else than the supervisor ended Envoy: its connections are gone, records are still to be kept.
            await worker.server.stop(grace=0.0)
        await send({"type": "lifespan.shutdown.complete"})

    async def _live(self, worker: Worker) -> None:
        """Say that the worker is ready, and when it has drained. The listener is bound after the lifespan has begun:
        the supervisor asks Envoy itself for that."""
        try:
            worker.ready()
            await worker.finished()
        except Exception:  # noqa: BLE001 - whatever it is ends this process
            _log.exception("the worker failed")
            _exit(1)
        self._over = True


_REFUSED = (415, b"the content type is none that is served here\n")


def _content_type(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"content-type":
            found: bytes = value
            return found if found.islower() and b";" not in found else found.split(b";")[0].strip().lower()
    return b""


def _settle() -> Handover:
    """Make this a Python process like any other: its path, its environment, its interpreter's name."""
    handover = Handover.from_json(os.environ.pop(HANDOVER))
    for name, value in handover.environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    sys.executable = handover.executable
    os.chdir(handover.working_directory)
    return handover


def _fit(loop: asyncio.AbstractEventLoop) -> None:
    """Envoy's module gives `shutdown_default_executor` a timeout, which it takes from Python 3.12 on."""
    if sys.version_info < (3, 12) and isinstance(loop, asyncio.BaseEventLoop):
        original = loop.shutdown_default_executor

        async def shutdown_default_executor(timeout: float | None = None) -> None:  # noqa: ASYNC109 - Python's own
            await original()

        loop.shutdown_default_executor = shutdown_default_executor  # type: ignore[method-assign]


def _exit(status: int) -> None:
    for handler in logging.getLogger().handlers:
        handler.flush()
    os._exit(status)


if HANDOVER in os.environ:
    # Envoy's Python has '.' in front of its path: whatever lies in the working directory could be imported in place
    # of what is installed. Until here that directory was the worker's private one.
    sys.path[:] = [entry for entry in sys.path if entry not in ("", ".")]

application = Application()
"""What Envoy is told to run."""


async def websockets(scope: Scope, receive: Receive, send: Send) -> None:
    """What Envoy is told to run for WebSockets, on a loop of its own."""
    await carry(scope, receive, send, home=application.loop, opened=application.opened)
