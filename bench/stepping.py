"""Stepping with the engines against the plain evaluation with np.roll, on one core.

    taskset -c 0 python bench/stepping.py [--rounds 9] [--grid N --steps S] [--json FILE]

All sides do the whole work of a call: draw the initial fields, step, give the field. Runs are interleaved, so that
what else the machine does meets all. The numba engine computes in double and in single precision; in the former its
fields are compared bit for bit, as those of the numpy engine are. Kernels are compiled, or loaded, before the clock
starts. A second table compares n calls of one step with one call of n.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _report import RESULTS, machine, spread, write

from mfn_core.compute import Backend, NeverCancelled
from mfn_engine_numba import NumbaBackend
from mfn_engine_numpy import NumpyBackend
from mfn_model import FieldSpec, mycelium_spec

Field = npt.NDArray[np.float64]

WORKLOADS = ((64, 64), (128, 100), (1024, 100))
NEVER = NeverCancelled()
ENGINES: dict[str, Backend] = {
    "numpy": NumpyBackend(),
    "numba": NumbaBackend(),
    "numba single": NumbaBackend(precision="single"),
}


def naive(spec: FieldSpec, steps: int) -> Field:
    """The model as one would first write it down, without counters."""
    n, alpha, probability = spec.grid_size, spec.number("alpha"), spec.number("spike_probability")
    threshold = spec.number("turing_threshold")
    rng = np.random.default_rng(spec.seed)
    field = rng.normal(-0.07, 0.005, (n, n))
    a, h = rng.uniform(0.0, 0.1, (n, n)), rng.uniform(0.0, 0.1, (n, n))
    for _ in range(steps):
        if rng.random() < probability:
            row, column = rng.integers(0, n), rng.integers(0, n)
            field[row, column] += rng.normal(0.02, 0.005)
        field = field + alpha * laplacian(field)
        laplacian_a, laplacian_h = laplacian(a), laplacian(h)
        a = a + (0.1 * laplacian_a + 0.01 * (a * (1 - a) - h))
        h = h + (0.05 * laplacian_h + 0.02 * (a - h))
        field[a > threshold] += 0.005
        a, h = np.clip(a, 0, 1), np.clip(h, 0, 1)
        field = np.clip(field, -0.095, 0.040)
    return field


def laplacian(values: Field) -> Field:
    total = np.roll(values, 1, 0) + np.roll(values, -1, 0) + np.roll(values, 1, 1) + np.roll(values, -1, 1)
    return total - 4.0 * values


def engine(spec: FieldSpec, steps: int, backend: Backend) -> Field:
    session = backend.open(spec)
    session.step(steps, NEVER)
    field = session.state().field
    session.close()
    return field


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def milliseconds(times: list[float]) -> str:
    return spread([1e3 * each for each in times], ".3f")


def compare(grid_size: int, steps: int, rounds: int) -> dict[str, Any]:
    spec = mycelium_spec(seed=1, grid_size=grid_size)
    expected = naive(spec, steps)
    for name, backend in ENGINES.items():
        error = float(np.abs(engine(spec, steps, backend) - expected).max())
        assert error == 0.0 or (name == "numba single" and error < 1e-6), f"{name} differs from np.roll by {error:g}"
    peer: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in ENGINES}
    for _ in range(rounds):
        peer.append(seconds(lambda: naive(spec, steps)))
        for name, backend in ENGINES.items():
            ours[name].append(seconds(lambda backend=backend: engine(spec, steps, backend)))  # type: ignore[misc]
    print(f"{grid_size:5d}² × {steps:<4d} {'np.roll':12} {milliseconds(peer):>31}")
    for name, times in ours.items():
        ratios = [one / other for one, other in zip(peer, times, strict=True)]
        rate = grid_size**2 * steps / statistics.median(times) / 1e6
        print(f"{'':12} {name:12} {milliseconds(times):>31} {rate:18.0f}   {spread(ratios, '.2f')}")
    return {"grid_size": grid_size, "steps": steps, "naive_seconds": peer, "engine_seconds": ours}


def split(grid_size: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    spec = mycelium_spec(seed=1, grid_size=grid_size)
    found = []
    for name, backend in ENGINES.items():
        whole, single = backend.open(spec), backend.open(spec)
        at_once, apart = [], []
        for _ in range(rounds):
            at_once.append(seconds(lambda: whole.step(steps, NEVER)))  # noqa: B023 - called at once
            begun = time.perf_counter()
            for _ in range(steps):
                single.step(1, NEVER)
            apart.append(time.perf_counter() - begun)
        ratios = [one / other for one, other in zip(apart, at_once, strict=True)]
        print(
            f"{grid_size:5d}² × {steps:<4d} {name:12} {milliseconds(at_once):>31}  {milliseconds(apart):>31}   "
            f"{spread(ratios, '.3f')}"
        )
        found.append(
            {
                "grid_size": grid_size,
                "steps": steps,
                "engine": name,
                "one_call_seconds": at_once,
                "step_by_step_seconds": apart,
            }
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved runs of each side (default 9)")
    parser.add_argument("--grid", type=int, help="one grid instead of the standard workloads")
    parser.add_argument("--steps", type=int, default=100, help="steps for --grid (default 100)")
    parser.add_argument("--json", type=Path, default=RESULTS / "stepping.json", help="file for the numbers")
    options = parser.parse_args()
    workloads = WORKLOADS if options.grid is None else ((options.grid, options.steps),)

    where = machine()
    print(where)
    print(f"milliseconds: median (least–largest) of {options.rounds} interleaved runs\n")
    print(f"{'workload':12} {'':12} {'':>31} {'10⁶ cell-steps/s':>18}   ratio to np.roll")
    compared = [
        compare(grid_size, steps, max(3, options.rounds // 3) if grid_size >= 512 else options.rounds)
        for grid_size, steps in workloads
    ]
    print(f"\n{'workload':12} {'':12} {'one call':>31}  {'one step a call':>31}   ratio")
    splits = [
        each
        for grid_size, steps in workloads
        for each in split(grid_size, min(steps, 20) if grid_size >= 512 else steps, options.rounds)
    ]
    write(
        options.json,
        {"script": "stepping", "machine": where, "rounds": options.rounds, "compared": compared, "split": splits},
    )


if __name__ == "__main__":
    main()
