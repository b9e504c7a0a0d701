"""A whole MFN server as one ASGI application, for an ASGI server of the user's own."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from attrs import evolve

from mfn_core.assembly import Plan, PlannedComponent, plan
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Document, Problem, read_document
from mfn_core.server import Server
from mfn_transport_asgi._any_server import AnyServer
from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply, settled
from mfn_transport_asgi._mounted.carrier import MountedCarrier

__all__ = ["MountedApp", "mounted"]

_log = logging.getLogger(__name__)

_NOT_RUNNING = (
    b"the server behind this application is not running: it lives in ASGI's lifespan, which is off or has failed\n"
)
TRY_LATER = 1013
"""Closing code of a WebSocket, RFC 6455."""

_OF_ONE_PROCESS = (ComponentKind.AUTHENTICATOR, ComponentKind.LIMITER, ComponentKind.AUDIT_SINK)


class MountedApp:
    """An ASGI application whose lifespan starts and stops the server. Without it every request is refused with 503.

    An application of another framework that mounts this one enters `running` in its own lifespan: frameworks do not
    pass theirs on.
    """

    def __init__(self, planned: Plan) -> None:
        """Start nothing yet; `planned` is checked."""
        self._plan = planned
        self._app: AnyServer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, carry one WebSocket, or live the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await settled(receive())
            await send({"type": "websocket.close", "code": TRY_LATER, "reason": "not running"})
        else:
            await plain_reply(send, 503, _NOT_RUNNING, [(b"retry-after", b"1")])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serve for as long as the block lasts; then calls in flight have `[server] drain_seconds` to finish.

        May be entered again afterwards, on any event loop.

        Raises:
            ConfigError: a component cannot be made, or another process serves this configuration.
            OSError: a component cannot be started, such as a transport whose port is in use.
            RuntimeError: it is running already.
        """
        if self._app is not None:
            raise RuntimeError("this application is running already")
        with _alone(self._plan):
            server = Server(self._plan)
            server.preflight()
            name = _listener(self._plan).name
            carrier = server.component(ComponentKind.TRANSPORT, name).carrier
            if not isinstance(carrier, MountedCarrier):
                raise TypeError(f"the transport {name} is not mounted")
            await server.start()
            self._app = carrier.app
            try:
                yield
            finally:
                try:
                    await server.stop()
                finally:
                    self._app = None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        running = self.running()
        try:
            await running.__aenter__()
        except Exception as failed:  # noqa: BLE001 - whatever it is, the server must be told
            _log.error("the server could not start: %s", failed)
            await send({"type": "lifespan.startup.failed", "message": str(failed)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await running.__aexit__(None, None, None)
        except Exception as failed:  # noqa: BLE001 - the same
            _log.exception("the server could not stop")
            await send({"type": "lifespan.shutdown.failed", "message": str(failed)})
            return
        await send({"type": "lifespan.shutdown.complete"})


def mounted(config: str | os.PathLike[str] | Document, overrides: Sequence[str] = ()) -> MountedApp:
    """The application of a configuration.

    Args:
        config: a TOML file, or a document that was read.
        overrides: `dotted.path=VALUE`, as after `--set`; for a file alone.

    Raises:
        ConfigError: with every problem of the configuration.
    """
    document = config if isinstance(config, Document) else read_document(Path(config), overrides)
    planned = plan(_as_mounted(document))
    problems = list(_problems(planned))
    if problems:
        raise ConfigError(problems)
    return MountedApp(planned)


def _as_mounted(document: Document) -> Document:
    """The same configuration, whatever serves its listener elsewhere: `mfn serve` and `create_app` may share a file."""
    tables = dict(document.tables)
    transports = tables.get("transports", {})
    if not isinstance(transports, dict):
        return document
    listeners = [name for name in transports if name.partition("/")[0] == "asgi"] or ["asgi"]
    changed = {
        name: {key: value for key, value in table.items() if key != "tls"} | {"server": "mounted"}
        for name in listeners
        if isinstance(table := transports.get(name, {}), dict)
    }
    return evolve(document, tables={**tables, "transports": {**transports, **changed}})


def _problems(planned: Plan) -> Iterator[Problem]:
    if planned.server.workers != 1:
        yield Problem(
            path="server.workers",
            message=f"{planned.server.workers} workers, but an application lives in the one process that mounts it",
            remedy="set workers = 1 here, or serve with `mfn serve`",
        )


def _listener(planned: Plan) -> PlannedComponent:
    return next(t for t in planned.of(ComponentKind.TRANSPORT) if t.spec.name == "asgi")


@contextmanager
def _alone(planned: Plan) -> Iterator[None]:
    """Let no second process serve the same file where a component keeps its state in one: two halves of a replay
    memory would let every call in twice."""
    path = Path(planned.document.source)
    kept = [c.path for kind in _OF_ONE_PROCESS for c in planned.of(kind) if c.spec.scope == "process"]
    if not kept or not path.is_file():
        yield
        return
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            problem = Problem(
                path="server.workers",
                message=f"another process serves {path} already, but {', '.join(kept)} keeps its state in one",
                remedy="run one process, or use components whose scope is shared",
            )
            raise ConfigError([problem]) from None
        yield
