"""Workers that are plain Python and serve by uvicorn: the supervisor holds their address, as it does for Envoy."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mfn_core.host import Launched, WorkerCommand
from mfn_transport_asgi._available import missing
from mfn_transport_asgi._binding import HeldAddress
from mfn_transport_asgi._settings import AsgiSettings
from mfn_transport_asgi._uvicorn.carrier import LISTEN

__all__ = ["UvicornHost"]


class UvicornHost:
    """Starts plain workers whose event loop is the configured one."""

    def __init__(self, name: str, settings: AsgiSettings) -> None:
        """For the listener of one transport."""
        self._name = name
        self._settings = settings
        self._held: HeldAddress | None = None

    def problems(self) -> Iterable[str]:
        """What is not installed."""
        return missing(self._settings)

    def command(self, directory: Path, *, worker: int, workers: int) -> WorkerCommand:
        """The interpreter of the supervisor; every worker, and each that is started again, has the same address.

        Raises:
            OSError: the address cannot be bound.
        """
        if self._held is None:
            self._held = HeldAddress(self._settings.listen, share=workers > 1)
        # -P: the directory where the server is started is no place to import from.
        argv = (sys.executable, "-P", "-m", "mfn_core.host.worker", self._settings.loop)
        return WorkerCommand(argv=argv, env={LISTEN: json.dumps({self._name: str(self._held)})})

    async def listening(self, launched: Launched) -> Mapping[str, Sequence[str]]:
        """None: a worker that is ready listens, and has said where."""
        return {}

    def last_words(self, launched: Launched) -> str:
        """None: it writes to standard error itself."""
        return ""

    async def drain(self, launched: Launched) -> None:
        """Nothing: the transport closes its listener itself."""
