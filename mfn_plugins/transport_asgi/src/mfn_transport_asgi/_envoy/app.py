"""What Envoy runs: the worker's life in the lifespan of an ASGI application, and WebSockets on a loop of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from mfn_core.host.control import WorkerEnd
from mfn_core.host.worker import Worker
from mfn_transport_asgi._application import Application
from mfn_transport_asgi._asgi import Receive, Scope, Send
from mfn_transport_asgi._envoy.crossing import answer
from mfn_transport_asgi._envoy.launch import HANDOVER, Handover
from mfn_transport_asgi._websocket.link import carry

__all__ = ["Life", "application", "life", "requests", "websockets"]

_log = logging.getLogger(__name__)


class Life:
    """The life of this worker process, where it is Envoy. Everything runs on the event loop of its Python.

    That loop's thread is not the process's main one: no signal arrives here, and none can be handled.
    """

    def __init__(self) -> None:
        self.handover: Handover | None = None
        """What the launcher told this process; None outside Envoy."""
        self.loop: asyncio.AbstractEventLoop | None = None
        """Where the server lives, once it does; WebSockets come on another one."""
        self.ending = False
        """Whether Envoy is shutting down: its connections are gone, and it answers no question."""
        self._living: asyncio.Task[None] | None = None
        self._over = False

    async def lifespan(self, receive: Receive, send: Send) -> None:
        """Serve from Envoy's start to its end."""
        await receive()
        self.loop = loop = asyncio.get_running_loop()
        _fit(loop)
        self.handover = handover = _settle()
        application.disconnects.watch(loop, handover.ended_fd)
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

life = Life()
"""Of this process."""

application = Application(life.lifespan)
"""What Envoy is told to run."""


async def requests(scope: Scope, receive: Receive, send: Send) -> None:
    """What Envoy is told to run for HTTP/3, whose listener has a loop of its own as well."""
    await answer(scope, receive, send, home=life.loop, application=application)


async def websockets(scope: Scope, receive: Receive, send: Send) -> None:
    """What Envoy is told to run for WebSockets, on a loop of its own."""
    await carry(scope, receive, send, home=life.loop, opened=application.opened)
