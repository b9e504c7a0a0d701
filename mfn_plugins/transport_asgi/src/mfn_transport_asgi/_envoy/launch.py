"""Becomes Envoy: `python -P -m mfn_transport_asgi._envoy.launch DIRECTORY` prepares the process and replaces itself.

What must hold before the first instruction of Envoy is done here: it dies with the supervisor, it has a pipe for the
ids of ended streams, its Python is this one, and nothing can be imported from the directory where the server was
started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

__all__ = ["ENDED_PIPE", "HANDOVER", "LAUNCH_FILE", "Handover", "Launch", "main"]

LAUNCH_FILE = "launch.json"
ENDED_PIPE = "ended"
"""Name of the pipe in the worker's private directory."""
HANDOVER = "MFN_ASGI_HANDOVER"
"""Environment variable by which the application hears from the launcher."""

_PR_SET_PDEATHSIG = 1
SPARE_DESCRIPTORS = 512
"""Open files that a worker needs beside its connections."""


@frozen(kw_only=True)
class Launch:
    """What the host tells the launcher, in a file of the worker's private directory."""

    argv: Sequence[str]
    """Envoy and its arguments."""
    libpython: str
    """Shared library of this interpreter."""
    supervisor: int
    """Process whose death ends this one."""
    connections: int
    addresses: Sequence[str]
    """Where the listener will be."""

    def write(self, directory: Path) -> None:
        """Leave it where `main` looks for it."""
        (directory / LAUNCH_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, directory: Path) -> Launch:
        """What `write` left."""
        return cls(**json.loads((directory / LAUNCH_FILE).read_text(encoding="utf-8")))


@frozen(kw_only=True)
class Handover:
    """What the launcher tells the application."""

    directory: str
    """The worker's private one."""
    ended_fd: int
    """Reading end of the pipe of ended streams."""
    executable: str
    """The interpreter; Envoy's Python does not know it."""
    working_directory: str
    """Where the server was started."""
    environment: Mapping[str, str | None]
    """Variables that Envoy needed, as they were before; None: absent."""
    addresses: Sequence[str]

    def to_json(self) -> str:
        """For the environment."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Handover:
        """What `to_json` gave."""
        return cls(**json.loads(text))


def main(argv: Sequence[str]) -> None:
    """Replace this process by Envoy."""
    directory = Path(argv[1])
    launch = Launch.read(directory)
    _die_with(launch.supervisor)
    _allow_descriptors(launch.connections + SPARE_DESCRIPTORS)
    # Opened before Envoy opens its log: a pipe without a reader would block it.
    ended = os.open(directory / ENDED_PIPE, os.O_RDONLY | os.O_NONBLOCK)
    os.set_inheritable(ended, True)
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    before = {name: os.environ.get(name) for name in (preload, "PYTHONHOME", "PYTHONPATH")}
    handover = Handover(
        directory=str(directory),
        ended_fd=ended,
        executable=sys.executable,
        working_directory=str(Path.cwd()),
        environment=before,
        addresses=launch.addresses,
    )
    preloaded = before[preload]
    env = {
        **os.environ,
        preload: f"{launch.libpython}:{preloaded}" if preloaded else launch.libpython,
        "PYTHONHOME": f"{sys.prefix}:{sys.exec_prefix}",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        HANDOVER: handover.to_json(),
    }
    os.chdir(directory)
    os.execve(launch.argv[0], list(launch.argv), env)  # noqa: S606 - our own command, and no shell


def _die_with(supervisor: int) -> None:
    """Beside the end of the control socket, which is noticed only once Python runs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        raise SystemExit("the supervisor is gone")


def _allow_descriptors(wanted: int) -> None:
    """Each connection takes an open file; the usual limit of 1024 can be raised by anyone up to the hard one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main(sys.argv)
