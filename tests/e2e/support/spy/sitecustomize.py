"""On the path of a command under test: notes in the file named by MFN_SPY what it opens to the outside.

Python imports it by its name before anything else of a process.
"""

from __future__ import annotations

import os
import sys
from typing import Any

NOTED = {"socket.bind", "subprocess.Popen", "os.posix_spawn", "os.exec", "os.fork", "os.forkpty"}

noted = os.open(os.environ["MFN_SPY"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def note(event: str, arguments: tuple[Any, ...]) -> None:
    if event in NOTED:
        os.write(noted, f"{event} {arguments!a}\n".encode())


sys.addaudithook(note)
