"""A listener that is another's: an ASGI server of the user's own runs the application, with whatever it can carry."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mfn_core.assembly import is_loopback
from mfn_core.host import Launched, WorkerCommand
from mfn_transport_asgi._any_server import AnyServer
from mfn_transport_asgi._application import Application
from mfn_transport_asgi._asgi import Scope
from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["MountedCarrier", "MountedHost"]

_NOT_SERVED = (
    'server = "mounted" is for an ASGI server of your own, which runs mfn_transport_asgi.create_app; '
    'to serve with `mfn serve`, set server = "pyvoy" or "uvicorn" in [transports.asgi]'
)


class MountedCarrier:
    """What the user's server brings, where the configuration says that it may come in.

    Nobody tells where that server listens before it brings a request. So the rule for listeners holds for each
    request: from beyond this machine only where `listen` says so, and then only over TLS, unless `[server] allow` has
    "plaintext-beyond-loopback".
    """

    def __init__(self, settings: AsgiSettings, *, allow: Sequence[str]) -> None:
        """For one application; `allow`: what `[server] allow` opens by name."""
        self._listen = settings.listen
        self._local_alone = is_loopback(settings.listen)
        self._plain_text = "plaintext-beyond-loopback" in allow
        self._application = Application()
        self.app = AnyServer(self._application, max_header_bytes=settings.max_header_bytes, refuse=self._refusal)
        """What the user's server runs."""
        self.addresses: Sequence[str] = ()
        """Unknown here."""
        self.ending = False

    def preflight(self) -> Iterable[str]:
        """Nothing is bound here."""
        return ()

    def take(self) -> Application:
        """An application of this listener alone."""
        return self._application

    async def start(self) -> None:
        """Nothing: the user's server has started."""

    def drain(self) -> None:
        """Nothing: the user's server closes its listener itself."""

    async def stop(self, seconds: float) -> None:
        """Nothing: the user's server sends what is left."""

    def _refusal(self, scope: Scope) -> str | None:
        if _is_local(scope):
            return None
        if self._local_alone:
            return (
                f"this server is for its own machine: [transports.asgi] listen is {self._listen}; "
                "set it to where the server listens that mounts this one"
            )
        if not self._plain_text and scope.get("scheme") not in ("https", "wss"):
            return "this server is called over TLS alone from other machines"
        return None


class MountedHost:
    """Stands for the worker that `mfn serve` cannot start."""

    def problems(self) -> Iterable[str]:
        """That it cannot."""
        return (_NOT_SERVED,)

    def command(self, directory: Path, *, worker: int, workers: int) -> WorkerCommand:
        """None.

        Raises:
            OSError: always.
        """
        raise OSError(_NOT_SERVED)

    async def listening(self, launched: Launched) -> Mapping[str, Sequence[str]]:
        """None."""
        return {}

    def last_words(self, launched: Launched) -> str:
        """None."""
        return ""

    async def drain(self, launched: Launched) -> None:
        """Nothing."""


def _is_local(scope: Scope) -> bool:
    """Whether a request came in at an address that only this machine reaches; unknown is not."""
    server: Sequence[object] | None = scope.get("server")
    if server is None:
        return False
    host, port = server
    if port is None:  # a Unix socket
        return True
    try:
        return ipaddress.ip_address(str(host).strip("[]")).is_loopback
    except ValueError:
        return False
