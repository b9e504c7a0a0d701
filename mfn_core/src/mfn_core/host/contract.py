"""What kind of process a worker is."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen

__all__ = ["Launched", "PythonHost", "WorkerCommand", "WorkerHost"]


@frozen(kw_only=True)
class WorkerCommand:
    """How to start one worker process."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """Added to the supervisor's environment. No secret: the configuration travels over the control socket."""


@frozen(kw_only=True)
class Launched:
    """One worker process that runs."""

    pid: int
    worker: int
    """Index of the worker, from 0."""
    directory: Path
    """A private directory (mode 0700) of this worker; removed after its end."""


class WorkerHost(Protocol):
    """Starts worker processes of one kind. The supervisor makes one, and calls it from its event loop."""

    def problems(self) -> Iterable[str]:
        """What keeps such a process from running on this machine. Called before anything is started."""
        ...

    def command(self, directory: Path, *, worker: int, workers: int) -> WorkerCommand:
        """The command of one worker; files that it needs are written to `directory`.

        Called again, with a fresh directory, when a worker is restarted. The process must run
        `mfn_core.host.worker.Worker` in its event loop.
        """
        ...

    async def listening(self, launched: Launched) -> Mapping[str, Sequence[str]]:
        """Addresses of the transports that the process itself binds, by name; returns once they accept connections.

        Called after the worker has said that it is ready.

        Raises:
            OSError: they cannot be bound.
        """
        ...

    def last_words(self, launched: Launched) -> str:
        """Why a process has ended that was not told to, as far as its directory shows; empty where it does not."""
        ...

    async def drain(self, launched: Launched) -> None:
        """Make the process accept no more connections; returns at once, calls in flight go on."""
        ...


class PythonHost:
    """A worker that is a plain Python process; its transports bind their own ports."""

    def __init__(self, event_loop: str = "auto") -> None:
        """`event_loop`: `asyncio` or `uvloop`; with `auto` uvloop where it is installed."""
        self._wanted = event_loop
        self._installed = importlib.util.find_spec("uvloop") is not None

    def problems(self) -> Iterable[str]:
        """An event loop that is not installed."""
        if self._wanted == "uvloop" and not self._installed:
            yield (
                'server.event_loop = "uvloop", which is not installed; '
                'install mfn-core[uvloop], or set server.event_loop = "auto"'
            )

    def command(self, directory: Path, *, worker: int, workers: int) -> WorkerCommand:
        """The interpreter of the supervisor, running `mfn_core.host.worker`."""
        # -P: the directory where the server is started is no place to import from.
        event_loop = "uvloop" if self._installed and self._wanted != "asyncio" else "asyncio"
        return WorkerCommand(argv=(sys.executable, "-P", "-m", "mfn_core.host.worker", event_loop), env={})

    async def listening(self, launched: Launched) -> Mapping[str, Sequence[str]]:
        """None: the transports report their own addresses."""
        return {}

    def last_words(self, launched: Launched) -> str:
        """None: it writes to standard error itself."""
        return ""

    async def drain(self, launched: Launched) -> None:
        """Nothing: the transports stop accepting by themselves."""
