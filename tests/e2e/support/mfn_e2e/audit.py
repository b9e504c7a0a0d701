"""The audit trail of a server that runs, read while it grows."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["Trail", "verified"]

Record = dict[str, Any]


class Trail:
    """Records by the caller's own id of the call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self._by_request: dict[str | None, list[Record]] = {}
        self._offset = 0

    def refresh(self) -> None:
        """Read the lines that have been completed since the last time."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                record = json.loads(line)
                self.records.append(record)
                self._by_request.setdefault(record.get("request_id"), []).append(record)

    async def of(self, request_id: str, *, count: int = 1, timeout: float = 20.0) -> list[Record]:  # noqa: ASYNC109 - it polls
        """The records of one request id, once there are `count` of them."""
        deadline = time.monotonic() + timeout
        while True:
            self.refresh()
            found = self._by_request.get(request_id, [])
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, f"{len(found)} records of {request_id} after {timeout} s, not {count}"
            await asyncio.sleep(0.01)  # another process writes the file: it can only be looked at

    async def one(self, request_id: str) -> Record:
        """The only record of a request id."""
        (record,) = await self.of(request_id)
        return record


def verified(path: Path, *options: str) -> tuple[int, Record]:
    """Exit status of `mfn audit verify`, and its report on the one trail at `path`."""
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", "audit", "verify", str(path), "--json", *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    (report,) = json.loads(done.stdout)["trails"]
    assert isinstance(report, dict)
    return done.returncode, report
