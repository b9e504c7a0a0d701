"""The gRPC transport: one grpc.aio server on one listener."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mfn_core.components import ComponentContext
from mfn_core.config import split_address
from mfn_core.dispatcher import Dispatcher
from mfn_grpc import with_reflection
from mfn_transport_grpc._address import address_problem, with_port
from mfn_transport_grpc._settings import GrpcSettings
from mfn_transport_grpc._tls import tls_problems
from mfn_transport_grpc._tls_version import choose_tls_versions, speaks_tls12

if TYPE_CHECKING:
    import grpc

    from mfn_transport_grpc._handlers import Handlers

__all__ = ["GrpcTransport"]

_minimum_versions: set[str] = set()
"""What the listeners of this process ask for; the plugin's check sees to it that they agree."""

STATUS_SECONDS = 1.0
"""Time that statuses of calls which are over have to reach their clients, before connections are cut."""


class GrpcTransport:
    """A `mfn_core.transport.Transport` on grpc.aio."""

    def __init__(self, settings: GrpcSettings, context: ComponentContext) -> None:
        """Keep the settings; opens nothing."""
        if settings.tls is not None:
            _minimum_versions.add(settings.tls.minimum_version)
        self._settings = settings
        self._name = context.name
        self._shared = context.server.workers > 1
        # The dispatcher aborts what still runs after the drain time: this only has to be longer.
        self._drain_seconds = context.server.drain_seconds + 30.0
        self._log: logging.Logger = context.log
        self._server: grpc.aio.Server | None = None
        self._handlers: Handlers | None = None
        self._draining: asyncio.Task[None] | None = None
        self._addresses: tuple[str, ...] = ()

    @property
    def addresses(self) -> Sequence[str]:
        """The one address, with its real port; empty before `start`."""
        return self._addresses

    def preflight(self) -> Iterator[str]:
        """An address that cannot be bound, and certificates that cannot be used."""
        settings = self._settings
        if self._shared and split_address(settings.listen)[1] == 0:
            yield (
                f"listen = {settings.listen!r} with more than one worker would bind a port for each; "
                "name the port, or set server.workers = 1"
            )
        elif (problem := address_problem(settings.listen, shared=self._shared)) is not None:
            yield problem
        if settings.tls is not None:
            yield from tls_problems(settings.tls)

    async def start(self, dispatcher: Dispatcher) -> None:
        """Bind and serve.

        Raises:
            OSError: the address cannot be bound, or a certificate cannot be used; it names which.
        """
        problem = next(iter(self.preflight()), None)
        if problem is not None:
            raise OSError(errno.EADDRNOTAVAIL, problem)
        settings = self._settings
        # All listeners have been made by now, and none has started: gRPC has not looked at its environment yet.
        choose_tls_versions("1.2" if "1.2" in _minimum_versions else "1.3")
        import grpc

        from mfn_transport_grpc._handlers import Handlers
        from mfn_transport_grpc._tls import server_credentials

        server = grpc.aio.server(options=channel_options(settings, shared=self._shared))
        handlers = Handlers(
            dispatcher,
            with_reflection(dispatcher.operations, settings.reflection, listen=settings.listen),
            transport=self._name,
            encrypted=settings.encrypted,
            client_certificates=settings.tls is not None and settings.tls.client_ca is not None,
            request_seconds=settings.request_seconds,
        )
        server.add_generic_rpc_handlers((handlers,))
        try:
            if settings.tls is None:
                port = server.add_insecure_port(settings.listen)
            else:
                port = server.add_secure_port(settings.listen, server_credentials(settings.tls))
        except RuntimeError as failed:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {settings.listen}: {failed}") from failed
        await server.start()
        self._server, self._handlers = server, handlers
        self._addresses = (with_port(settings.listen, port),)
        await self._check_version(settings)
        self._log.info("%s: listening on %s%s", self._name, self._addresses[0], " with TLS" if settings.tls else "")

    async def _check_version(self, settings: GrpcSettings) -> None:
        if settings.tls is None or settings.tls.minimum_version != "1.3":
            return
        if await speaks_tls12(self._addresses[0]):
            await self.stop()
            raise OSError(
                errno.EPROTONOSUPPORT,
                f"{self._addresses[0]} speaks TLS 1.2: gRPC was in use in this process before its suites were set; "
                'set tls.minimum_version = "1.2" for every gRPC listener, or for none',
            )

    async def drain(self) -> None:
        """Close the listener and tell clients to go elsewhere; calls in flight go on."""
        if self._server is None or self._draining is not None:
            return
        self._draining = asyncio.create_task(self._server.stop(self._drain_seconds), name=f"mfn-{self._name}-drain")
        await asyncio.sleep(0)  # the listener is closed within the first step of that task

    async def stop(self) -> None:
        """Give the last statuses a moment to leave, then close every connection. Safe twice."""
        server, self._server = self._server, None
        if server is None:
            return
        await server.stop(STATUS_SECONDS)
        if self._draining is not None:
            await self._draining
        if self._handlers is not None:
            self._handlers.close()


def channel_options(settings: GrpcSettings, *, shared: bool) -> list[tuple[str, int]]:
    """The settings in the words of grpc core."""
    keepalive = settings.keepalive
    options = [
        # Without it a second server binds the same port silently, and calls go to either.
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.max_concurrent_streams),
        ("grpc.keepalive_time_ms", round(keepalive.interval_seconds * 1000)),
        ("grpc.keepalive_timeout_ms", round(keepalive.timeout_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", round(keepalive.client_minimum_seconds * 1000)),
    ]
    if settings.max_connection_age_seconds > 0:
        options.append(("grpc.max_connection_age_ms", round(settings.max_connection_age_seconds * 1000)))
    return options
