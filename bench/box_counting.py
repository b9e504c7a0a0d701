"""Legacy box counting against the same written with reshape and any, on one core.

    taskset -c 0 python bench/box_counting.py [--rounds 15] [--side N] [--json FILE]

Both sides do the whole work: choose the box sizes, count, fit. The peer is the definition as one would first write it
in NumPy: for each size, `mask[...].reshape(b, size, b, size).any(axis=(1, 3)).sum()`, then `np.polyfit`. Runs are
interleaved, so that what else the machine does meets both. A second table has the other estimators on the same masks.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _report import RESULTS, machine, write

from mfn_model import box_counting_dimension_legacy
from mfn_model.dimension import (
    correlation_dimension,
    estimate_dimension,
    information_dimension,
    offset_averaged_dimension,
)

Mask = npt.NDArray[np.bool_]

SIDES = (64, 256, 1024)
DENSITIES = (0.3, 0.001)
OTHERS = (estimate_dimension, offset_averaged_dimension, information_dimension, correlation_dimension)


def peer(mask: Mask) -> float:
    side = len(mask)
    largest = min(2 * 2**4, side // 2)
    sizes = np.unique(np.geomspace(2, largest, 5).astype(int))
    counts = []
    for size in sizes:
        boxes = side // size
        whole = mask[: boxes * size, : boxes * size]
        counts.append(whole.reshape(boxes, size, boxes, size).any(axis=(1, 3)).sum())
    found = np.array(counts) > 0
    if found.sum() < 2:
        return 0.0
    return float(np.polyfit(np.log(1 / sizes[found]), np.log(np.array(counts)[found]), 1)[0])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def summary(times: list[float]) -> dict[str, float]:
    """Median, least and largest, in milliseconds."""
    return {
        "median": statistics.median(times) * 1e3,
        "least": min(times) * 1e3,
        "largest": max(times) * 1e3,
    }


def shown(times: dict[str, float]) -> str:
    return f"{times['median']:.3f} ({times['least']:.3f}–{times['largest']:.3f})"


def compare(mask: Mask, rounds: int) -> dict[str, Any]:
    assert abs(peer(mask) - box_counting_dimension_legacy(mask)) < 1e-9, "the two sides disagree"
    theirs, ours = [], []
    for _ in range(rounds):
        theirs.append(seconds(lambda: peer(mask)))
        ours.append(seconds(lambda: box_counting_dimension_legacy(mask)))
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    return {
        "peer_ms": summary(theirs),
        "ours_ms": summary(ours),
        "ratio": statistics.median(theirs) / statistics.median(ours),
        "ratio_least": min(ratios),
        "ratio_largest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="interleaved runs of each side (default 15)")
    parser.add_argument("--side", type=int, help="one side instead of the standard ones")
    parser.add_argument("--json", type=Path, default=RESULTS / "box_counting.json", help="file for the numbers")
    options = parser.parse_args()
    sides = SIDES if options.side is None else (options.side,)
    masks = {
        (side, density): np.random.default_rng(1).random((side, side)) < density
        for side in sides
        for density in DENSITIES
    }

    report: dict[str, Any] = {
        "script": "box_counting",
        "machine": machine(),
        "rounds": options.rounds,
        "legacy": [],
        "others": [],
    }
    print(report["machine"])
    print(f"milliseconds: median (least–largest) of {options.rounds} interleaved runs\n")
    print(f"{'mask':14} {'reshape and any':>24}  {'box_counting_dimension_legacy':>29}   ratio")
    for (side, density), mask in masks.items():
        row = compare(mask, options.rounds)
        report["legacy"].append({"side": side, "density": density, **row})
        print(
            f"{side:5d}² {density:<7g} {shown(row['peer_ms']):>24}  {shown(row['ours_ms']):>29}"
            f"   {row['ratio']:.2f} ({row['ratio_least']:.2f}–{row['ratio_largest']:.2f})"
        )
    print(f"\nmask           {'  '.join(f'{each.__name__:>31}' for each in OTHERS)}")
    for (side, density), mask in masks.items():
        times = {
            each.__name__: summary([seconds(partial(each, mask)) for _ in range(options.rounds)]) for each in OTHERS
        }
        report["others"].append({"side": side, "density": density, "ms": times})
        print(f"{side:5d}² {density:<7g} {'  '.join(f'{shown(each):>31}' for each in times.values())}")
    write(options.json, report)


if __name__ == "__main__":
    main()
