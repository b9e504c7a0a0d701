"""A real server process for tests: started from a configuration, known by its addresses, ended by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mfn_core.config import toml_key, toml_value

__all__ = ["ServerProcess", "toml_text", "wait_gone"]


class ServerProcess:
    """`mfn serve -c FILE` as a child process; a context manager.

    Entering waits until the server says that it is ready, and raises with its standard error when it does not.
    Leaving terminates it and, if it does not go, kills it.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        directory: Path,
        *,
        env: Mapping[str, str] | None = None,
        python: str | Path = sys.executable,
        start_timeout: float = 60.0,
    ) -> None:
        """Write `tables` as `directory/mfn.toml`; relative paths in it are relative to `directory`.

        `python` is the interpreter of the environment whose server it is, this one's unless given; `env` has variables
        to set beside those of this process.
        """
        self.directory = directory
        self.config = directory / "mfn.toml"
        self.config.write_text(toml_text(tables), encoding="utf-8")
        self.addresses: dict[str, list[str]] = {}
        """By transport name, once ready."""
        self._env = {**os.environ, **(env or {})}
        self._python = str(python)
        self._timeout = start_timeout
        self._stderr = directory / "stderr.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._stderr.open("wb") as stderr:
            process = subprocess.Popen(  # noqa: S603 - an interpreter and a configuration of the test's own
                [self._python, "-P", "-m", "mfn_core", "serve", "-c", str(self.config)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=self._env,
                cwd=self.directory,
            )
        self._process = process
        if process.stdout is None:
            raise RuntimeError("the server's standard output was not opened")
        watchdog = threading.Timer(self._timeout, process.kill)
        watchdog.start()
        try:
            for raw in process.stdout:
                words = raw.decode().split()
                if words[:2] == ["mfn", "ready"]:
                    for word in words[2:]:
                        name, _, address = word.partition("=")
                        self.addresses.setdefault(name, []).append(address)
                    return self
        finally:
            watchdog.cancel()
        status = process.wait()
        process.stdout.close()
        raise RuntimeError(f"the server ended with status {status} before it was ready:\n{self.stderr_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor's process."""
        if self._process is None:
            raise RuntimeError("enter the server process first")
        return self._process

    def address(self, transport: str) -> str:
        """The one address of a transport."""
        (found,) = self.addresses[transport]
        return found

    def terminate(self) -> None:
        """SIGTERM: drain, then end."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the supervisor."""
        self.process.kill()

    def wait(self, timeout: float) -> int:
        """The exit status, within `timeout` seconds."""
        return self.process.wait(timeout)

    def stderr_text(self) -> str:
        """What the server has written to standard error so far."""
        return self._stderr.read_text(encoding="utf-8", errors="replace")

    def worker_pids(self) -> list[int]:
        """Processes that the supervisor started and that still run."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]


def wait_gone(pids: Sequence[int], timeout: float) -> list[int]:
    """Wait until the processes have ended; those that still run after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    left = list(pids)
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if _runs(pid)]
        time.sleep(0.02)  # a process that is not our child can only be polled
    return left


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends between opening and reading
        return False
    return state != "Z"


def toml_text(tables: Mapping[str, Any]) -> str:
    """A configuration of tables, strings, numbers, booleans and lists as TOML."""
    return "\n".join(_table(tables, ())) + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    if path:
        yield f"[{'.'.join(map(toml_key, path))}]"
    for key, value in table.items():
        if not isinstance(value, Mapping):
            yield f"{toml_key(key)} = {toml_value(value if not isinstance(value, Path) else str(value))}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _table(value, (*path, key))
