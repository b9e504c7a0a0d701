"""How the files of a trail are named, and which files of a directory belong together."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

__all__ = [
    "closed_files",
    "closed_path",
    "next_path",
    "parse_closed",
    "parse_worker",
    "trails_in",
    "worker_path",
]

_DIGITS: Final = 15
"""Of the number in a name: names of a thousand million million records sort as their numbers do."""

_CLOSED: Final = re.compile(rf"(.+)-([0-9]{{{_DIGITS},19}})", re.DOTALL)
_WORKER: Final = re.compile(r"(.+)\.w(0|[1-9][0-9]{0,4})(\.[^.]+)?", re.DOTALL)
_TRAIL_SUFFIX: Final = ".jsonl"


def closed_path(path: Path, first: int) -> Path:
    """The name of a file that rotation has closed: `audit-000000000000123.jsonl` of `audit.jsonl`.

    Args:
        path: of the trail, which is the file that is written to.
        first: number of the first record in the file; no other file of the trail has it.
    """
    return path.with_name(f"{path.stem}-{first:0{_DIGITS}d}{path.suffix}")


def parse_closed(path: Path) -> tuple[Path, int] | None:
    """The trail that a closed file is of, and the number in its name; None for any other name."""
    found = _CLOSED.fullmatch(path.stem)
    if found is None:
        return None
    trail, first = path.with_name(found[1] + path.suffix), int(found[2])
    return (trail, first) if first > 0 and closed_path(trail, first).name == path.name else None


def closed_files(path: Path) -> list[tuple[int, Path]]:
    """The closed files of a trail that are there, by the numbers in their names, lowest first.

    Raises:
        OSError: the directory cannot be read.
    """
    found = []
    with os.scandir(path.parent) as entries:
        for entry in entries:
            parsed = parse_closed(path.parent / entry.name)
            if parsed is not None and parsed[0].name == path.name and entry.is_file():
                found.append((parsed[1], path.parent / entry.name))
    return sorted(found)


def next_path(path: Path) -> Path:
    """Where the next file of a trail is made before it takes the trail's name."""
    return path.with_name(f"{path.name}.next")


def worker_path(path: Path, worker: int) -> Path:
    """The trail of one worker among several: `audit.w1.jsonl` of `audit.jsonl`."""
    return path.with_name(f"{path.stem}.w{worker}{path.suffix}")


def parse_worker(path: Path) -> tuple[Path, int] | None:
    """What `worker_path` was given, if it has made this name."""
    found = _WORKER.fullmatch(path.name)
    if found is None:
        return None
    base, worker = path.with_name(found[1] + (found[3] or "")), int(found[2])
    return (base, worker) if worker_path(base, worker).name == path.name else None


def trails_in(directory: Path) -> list[Path]:
    """Every trail of a directory: each file named `*.jsonl`, and each trail that a closed file is of.

    The file that a trail is named for need not be there any more.

    Raises:
        OSError: the directory cannot be read.
    """
    found = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            path = directory / entry.name
            if not entry.is_file():
                continue
            if (closed := parse_closed(path)) is not None:
                found.add(closed[0])
            elif path.suffix == _TRAIL_SUFFIX:
                found.add(path)
    return sorted(found)
