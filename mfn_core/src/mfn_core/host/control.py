"""The control socket between the supervisor and one worker: JSON, one message a line.

To the worker: `configure` once, then `drain`. To the supervisor: `ready` or `failed`, then `drained`.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["CONTROL_FD", "WorkerEnd", "encode"]

CONTROL_FD = "MFN_CONTROL_FD"
"""Environment variable that names the inherited file descriptor."""

MAX_LINE = 16 * 1024 * 1024
"""Bytes of one message at most; configurations are small."""


def encode(message: Mapping[str, Any]) -> bytes:
    """One message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class WorkerEnd:
    """The worker's end. A thread reads it, because a worker must notice its supervisor's death however busy its
    event loop is: at end-of-file it kills its own process."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = sock.makefile("rb")
        self._finished = False

    @classmethod
    def inherited(cls) -> WorkerEnd:
        """The end that the supervisor passed to this process.

        Raises:
            RuntimeError: this process was not started by a supervisor.
        """
        number = os.environ.pop(CONTROL_FD, "")
        if not number.isdecimal():
            raise RuntimeError(f"{CONTROL_FD} is not set: workers are started by `mfn serve`")
        sock = socket.socket(fileno=int(number))
        os.set_inheritable(sock.fileno(), False)
        return cls(sock)

    def receive(self) -> dict[str, Any]:
        """The next message; blocks.

        Raises:
            EOFError: the supervisor is gone.
        """
        line = self._reader.readline(MAX_LINE)
        if not line.endswith(b"\n"):
            raise EOFError("the supervisor is gone")
        message = json.loads(line)
        if not isinstance(message, dict):
            raise TypeError("a control message is an object")
        return message

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message; a supervisor that is gone is noticed by the reader."""
        try:
            self._sock.sendall(encode(message))
        except OSError:
            if not self._finished:
                _die()

    def watch(self, loop: asyncio.AbstractEventLoop, on_message: Callable[[dict[str, Any]], None]) -> None:
        """Give every further message to `on_message` on the loop, and die with the supervisor."""

        def read() -> None:
            while True:
                try:
                    message = self.receive()
                except (EOFError, OSError, ValueError, TypeError):
                    if not self._finished:
                        _die()
                    return
                loop.call_soon_threadsafe(on_message, message)

        threading.Thread(target=read, name="mfn-control", daemon=True).start()

    def finish(self) -> None:
        """The worker is about to exit by itself: the end of the socket no longer matters."""
        self._finished = True


def _die() -> None:
    # Not an exit: nothing of a worker whose supervisor is gone may keep it alive, neither a thread nor a handler.
    os.kill(os.getpid(), signal.SIGKILL)
