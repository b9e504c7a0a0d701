"""What every measurement says beside its numbers: on which machine, how far they spread, and the same as JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "machine", "spread", "write"]

RESULTS = Path(__file__).parent / "results"
"""Where results are written unless another file is named; git does not keep it."""


def machine() -> str:
    """The processor, how many cores of it may be used, how busy it is, and what runs on it, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    model = next(named, platform.processor() or platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {cores} of {os.cpu_count()} cores{load}, "
        f"{platform.python_implementation()} {platform.python_version()}, NumPy {version('numpy')}, "
        f"{platform.system()} {platform.release()}"
    )


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median, and the least and the largest: `3,598 (3,207–3,680)`."""
    low, middle, high = (format(value, form) for value in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low}–{high})"


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write `results` as JSON, with the moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path.write_text(json.dumps({"measured": now, **results}, indent=2) + "\n", "utf-8")
