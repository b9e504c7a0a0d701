"""The command line, as a person runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["mfn"]


def mfn(*words: str | Path, stdin: bytes = b"", status: int = 0) -> str:
    """Standard output of a command, which must end with this status."""
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", *map(str, words)],
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()
