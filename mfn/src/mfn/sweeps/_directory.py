"""A sweep in its directory: the journal while it runs, then the table, and a file of what failed.

The directory holds `dataset.parquet` when the sweep is complete, `errors.jsonl` where simulations failed, and
`journal.jsonl` until every simulation has succeeded. Whatever the process dies of, the next run of the same plan in
the same directory goes on from the journal and ends with the same rows, byte for byte.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import frozen

from mfn._files import replacing
from mfn.sweeps._journal import Journal, read_header
from mfn.sweeps._plan import SweepPlan, plan_of
from mfn.sweeps._pools import Outcome, Pool
from mfn.sweeps._run import run_simulations
from mfn.sweeps._table import COUNTERS, TABLE, require_pyarrow, table_header, write_table
from mfn_core.registry import PluginRegistry

__all__ = ["ERRORS", "JOURNAL", "SweepError", "SweepSummary", "carry_out", "default_directory", "resumed_plan"]

ERRORS, JOURNAL = "errors.jsonl", "journal.jsonl"

Progress = Callable[[int, int], None]
"""Called with the simulations that have an outcome, and with all."""


class SweepError(Exception):
    """The directory does not fit the sweep; the text says why and what to do."""


@frozen(kw_only=True)
class SweepSummary:
    """How a sweep stands after a run."""

    directory: Path
    simulations: int
    rows: int
    """Simulations that succeeded."""
    failed: int
    found: int
    """Simulations that had an outcome before this run."""
    seconds: float
    complete: bool
    """Whether every simulation has an outcome and the table is written."""
    engine: str

    @property
    def table(self) -> Path:
        """The Parquet file."""
        return self.directory / TABLE

    @property
    def errors(self) -> Path:
        """The file of failures, one JSON object a line; there where some failed."""
        return self.directory / ERRORS


def default_directory(plan: SweepPlan) -> Path:
    """`data/<scenario>/<timestamp>`, the time in UTC; one that does not exist yet."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    parent = Path("data") / plan.scenario
    candidates = (parent / stamp, *(parent / f"{stamp}-{number}" for number in range(2, 1000)))
    return next(each for each in candidates if not each.exists())


def resumed_plan(directory: Path) -> SweepPlan:
    """The plan of the sweep that was begun in the directory.

    Raises:
        SweepError: none was.
        JournalError: its journal is damaged.
        OSError: it cannot be read.
    """
    header = None
    if (directory / JOURNAL).exists():
        header = read_header(directory / JOURNAL)
    elif (directory / TABLE).exists():
        require_pyarrow()
        header = table_header(directory / TABLE)
    if header is None:
        raise SweepError(f"{directory}: no sweep was begun there; give its options, and --output {directory}")
    return plan_of(header["plan"])


def carry_out(
    plan: SweepPlan,
    directory: Path,
    make_pool: Callable[[], Pool],
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> SweepSummary:
    """Run a sweep, or what is left of it, and write its table.

    Args:
        plan: what to compute; `plan.check()` has found nothing.
        directory: made where it does not exist.
        make_pool: called once, when there is something to run.
        retry_failed: run once more what failed in an earlier run.
        progress: called after every simulation.
        stop: once it is set, the run ends early; what is finished stays.

    Raises:
        SweepError: the directory holds another sweep, or one of another version of the engine.
        JournalError: the journal is damaged or in use.
        SweepFailedError: the pool cannot run simulations.
        ImportError: pyarrow is not installed.
        OSError: a file cannot be written.
    """
    require_pyarrow()
    began = time.monotonic()
    found = _found(plan, directory)
    if found is not None and not (directory / JOURNAL).exists():
        return _complete(plan, directory, found, began)
    header = found if found is not None else _header(plan)  # what is refused here leaves no directory behind
    directory.mkdir(parents=True, exist_ok=True)
    journal = Journal(directory / JOURNAL, header, len(plan))
    try:
        again = journal.failed if retry_failed else frozenset()
        already = journal.done - len(again)
        if already < len(plan):
            pending = (number for number in range(len(plan)) if number not in journal or number in again)
            _run(plan, pending, already, make_pool, journal, progress, stop or threading.Event())
        complete = journal.done == len(plan)
        if complete:
            _write(plan, directory, journal)
        failed = len(journal.failed)
        if complete and not failed:
            journal.remove()
    finally:
        journal.close()
    return SweepSummary(
        directory=directory,
        simulations=len(plan),
        rows=journal.done - failed,
        failed=failed,
        found=already,
        seconds=time.monotonic() - began,
        complete=complete,
        engine=str(journal.header["engine"]),
    )


def _run(
    plan: SweepPlan,
    pending: Iterable[int],
    finished: int,
    make_pool: Callable[[], Pool],
    journal: Journal,
    progress: Progress | None,
    stop: threading.Event,
) -> None:
    def record(outcome: Outcome) -> None:
        nonlocal finished
        journal.add(outcome)
        finished += 1
        if progress is not None:
            progress(finished, len(plan))

    if progress is not None:
        progress(finished, len(plan))
    pool = make_pool()
    try:
        run_simulations(plan, str(journal.header["engine"]), pending, pool, record, stop)
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.close()


def _header(plan: SweepPlan) -> dict[str, Any]:
    from mfn.engines import engine_for_all

    engine, _ = engine_for_all(list(plan.kinds()) or [plan.spec(0)], plan.engine)
    return {
        "plan": plan.described(),
        "engine": engine,
        "versions": _versions(engine),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _versions(engine: str) -> dict[str, str]:
    """Of all that the numbers of a row come from."""
    installed = {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in PluginRegistry.installed()}
    return {
        "mfn": version("mycelium-fractal-net"),
        "model": version("mfn-model"),
        "engine": installed.get(f"engine_{engine}", "unknown"),
        "numpy": version("numpy"),
    }


def _found(plan: SweepPlan, directory: Path) -> Mapping[str, Any] | None:
    """The header of what the directory holds of this plan; None where it holds nothing yet."""
    if (directory / JOURNAL).exists():
        header = read_header(directory / JOURNAL)
        if header is None:
            return None
    elif (directory / TABLE).exists():
        header = table_header(directory / TABLE)
        if header is None:
            raise SweepError(f"{directory / TABLE} is not the table of a sweep; choose another --output")
    else:
        return None
    differences = plan.differences(header["plan"])
    if differences:
        raise SweepError(
            f"{directory} holds another sweep ({'; '.join(differences)}); "
            "give the options that it was begun with, or choose another --output"
        )
    if (directory / JOURNAL).exists() and header["versions"] != (now := _versions(str(header["engine"]))):
        changed = ", ".join(
            f"{name} {header['versions'].get(name)} there, {here} here"
            for name, here in now.items()
            if header["versions"].get(name) != here
        )
        raise SweepError(
            f"{directory} was begun with other versions ({changed}), whose numbers may differ; "
            "install those, or begin again in another --output"
        )
    return header


def _write(plan: SweepPlan, directory: Path, journal: Journal) -> None:
    found = {name for outcome in journal.outcomes(failed=False) for name in outcome["counters"]}
    counters = [*(name for name in COUNTERS if name in found), *sorted(found.difference(COUNTERS))]
    if journal.failed:
        with replacing(directory / ERRORS) as file:
            for outcome in journal.outcomes(failed=True):
                error = {**plan.leading_values(outcome["sim_id"]), **outcome["error"]}
                file.write(json.dumps(error, ensure_ascii=False).encode() + b"\n")
    else:
        (directory / ERRORS).unlink(missing_ok=True)  # of an earlier run, whose failures were run again
    header = {name: journal.header[name] for name in ("plan", "engine", "versions")}
    write_table(
        plan,
        journal.outcomes(failed=False),
        directory / TABLE,
        counters=counters,
        header=header | {"failed": len(journal.failed)},
        started=str(journal.header["started"]),
    )


def _complete(plan: SweepPlan, directory: Path, header: Mapping[str, Any], began: float) -> SweepSummary:
    failed = int(header["failed"])
    return SweepSummary(
        directory=directory,
        simulations=len(plan),
        rows=len(plan) - failed,
        failed=failed,
        found=len(plan),
        seconds=time.monotonic() - began,
        complete=True,
        engine=str(header["engine"]),
    )
