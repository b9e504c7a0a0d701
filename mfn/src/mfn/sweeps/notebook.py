"""`mfn.sweep`: a sweep from a notebook, whose table comes back as an Arrow table."""

from __future__ import annotations

import json
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mfn.sweeps._directory import ERRORS, SweepSummary, carry_out
from mfn.sweeps._pools import LocalPool, Pool, ProcessPool
from mfn.sweeps._request import Request
from mfn.sweeps._table import read_table, require_pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

    from mfn.simulation import Progress

__all__ = ["sweep"]


def sweep(
    parameters: Mapping[str, Any] | None = None,
    *,
    seeds: Any = None,
    grid_size: Any = None,
    steps: Any = None,
    model: str | None = None,
    boundary: str | None = None,
    engine: str | None = None,
    thresholds: Any = None,
    preset: str | None = None,
    sample: str | None = None,
    samples: int | None = None,
    seed: int | None = None,
    workers: int = 1,
    output: str | Path | None = None,
    progress: Progress | None = None,
) -> pa.Table:
    """Simulate every combination of parameters and seeds, and return one row of features for each.

    >>> table = mfn.sweep({"alpha": "0.1:0.2:5"}, seeds=range(20), grid_size=32)  # doctest: +SKIP
    >>> table.to_pandas().groupby("alpha")["V_std"].mean()  # doctest: +SKIP

    Args:
        parameters: values of the model's parameters by name: one value, a sequence, or text such as `"0.1:0.2:5"`
            (five values, both ends included). Those left out take the model's defaults.
        seeds: one seed, a sequence or a range, or text such as `"0:100"`; 42 unless given.
        grid_size: cells along each side; 64 unless given; several make it an axis.
        steps: at least 1; 100 unless given; several make it an axis.
        model: name of a field model; `mycelium_rd` unless given.
        boundary: of the grid; the model's own unless given.
        engine: name of an engine; `auto` takes the fastest.
        thresholds: three, above which cells are counted by the features; −60, −50 and −40 mV unless given, or the
            quarters of the range of a model that is not in volts.
        preset: one of `small`, `medium`, `large`, `benchmark`, instead of axes.
        sample: one of `minimal`, `default`, `extended`: settings drawn at random, instead of axes.
        samples: how many are drawn.
        seed: of the first simulation of a preset or sample.
        workers: processes; 1 computes in this one. More are spawned: a script needs `if __name__ == "__main__":`.
        output: directory that keeps the sweep, so that it can go on after an interruption; none unless given.
        progress: called after every simulation with how many are finished, and of how many.

    Returns:
        The table, in the order of the design: seeds change fastest. Simulations that fail are left out, with a
        `UserWarning` that says how many and why the first; with `output` all stand in its `errors.jsonl`.

    Raises:
        ValueError: an argument cannot be read, contradicts another, or is out of the model's bounds.
        ImportError: pyarrow is not installed.
        mfn.sweeps.SweepError: `output` holds another sweep.
        mfn.sweeps.SweepFailedError: worker processes cannot run.
        OSError: a file cannot be written.
    """
    require_pyarrow()
    if workers < 1:
        raise ValueError(f"workers must be a whole number of at least 1, got {workers!r}")
    plan = Request(
        preset=preset,
        sample=sample,
        samples=samples,
        seed=seed,
        model=model,
        boundary=boundary,
        engine=engine,
        thresholds=thresholds,
        grid=grid_size,
        steps=steps,
        seeds=seeds,
        set=parameters or {},
    ).plan()
    plan.check()
    stop = threading.Event()

    def pool() -> Pool:
        return LocalPool(stop) if workers == 1 else ProcessPool(workers)

    def run(directory: Path) -> pa.Table:
        return _table(carry_out(plan, directory, pool, progress=progress, stop=stop))

    if output is not None:
        return run(Path(output))
    with tempfile.TemporaryDirectory(prefix="mfn-sweep-") as directory:
        return run(Path(directory))


def _table(summary: SweepSummary) -> pa.Table:
    if summary.failed:
        with (summary.directory / ERRORS).open(encoding="utf-8") as file:
            first = json.loads(file.readline())
        warnings.warn(
            f"{summary.failed} of {summary.simulations} simulations failed and have no row; the first, "
            f"sim_id {first['sim_id']}: {first['type']}: {first['message']}",
            UserWarning,
            stacklevel=4,
        )
    return read_table(summary.table)
