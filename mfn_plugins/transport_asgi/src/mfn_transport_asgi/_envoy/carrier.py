"""The listener of the Envoy that this process is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfn_transport_asgi._binding import probe
from mfn_transport_asgi._envoy.admin import Admin
from mfn_transport_asgi._envoy.bootstrap import ADMIN_SOCKET, STAT_PREFIX
from mfn_transport_asgi._settings import AsgiSettings
from mfn_transport_asgi._tls_files import tls_problems

if TYPE_CHECKING:
    from mfn_transport_asgi._application import Application
    from mfn_transport_asgi._envoy.app import Life

__all__ = ["EnvoyCarrier"]

POLL_SECONDS = 0.005


class EnvoyCarrier:
    """Envoy opens the listener once the whole worker has started, and the supervisor tells it to close it."""

    def __init__(self, settings: AsgiSettings) -> None:
        """For one listener; nothing is looked at yet."""
        self._settings = settings
        self._life: Life | None = None
        self._admin: Admin | None = None

    @property
    def addresses(self) -> Sequence[str]:
        """Where Envoy listens, or will in a moment."""
        handover = None if self._life is None else self._life.handover
        return () if handover is None else tuple(handover.addresses)

    @property
    def ending(self) -> bool:
        """Whether Envoy is shutting down."""
        return self._life is not None and self._life.ending

    def preflight(self) -> Iterable[str]:
        """The address in use, certificates that cannot be read or do not fit."""
        try:
            probe(self._settings.listen, datagrams=self._settings.http3)
        except OSError as failed:
            yield str(failed)
        if self._settings.tls is not None:
            yield from tls_problems(self._settings.tls)

    def take(self) -> Application:
        """The application that Envoy runs.

        Raises:
            OSError: this process is not Envoy.
        """
        # Not before: in another process than Envoy the module is not wanted.
        from mfn_transport_asgi._envoy.app import application, life

        if life.handover is None:
            raise OSError("the asgi transport lives in a worker of its own kind; start the server with `mfn serve`")
        self._life = life
        self._admin = Admin(Path(life.handover.directory) / ADMIN_SOCKET)
        return application

    async def start(self) -> None:
        """Nothing: Envoy begins by itself."""

    def drain(self) -> None:
        """Nothing: the supervisor has told Envoy."""

    async def stop(self, seconds: float) -> None:
        """Wait for the last bytes: after this Envoy is told to end, and then cuts every connection at once."""
        admin, self._admin = self._admin, None
        if admin is None or self.ending:
            return
        # An answer that cannot be had means that Envoy is ending already.
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(seconds):
                while await admin.unsent(STAT_PREFIX):  # noqa: ASYNC110 - Envoy can only be asked
                    await asyncio.sleep(POLL_SECONDS)
