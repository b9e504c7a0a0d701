"""Simulate over parameters and seeds, measure each, and write one table."""

from __future__ import annotations

import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from mfn.commands._refusal import Refused, refusing

if TYPE_CHECKING:
    from mfn.sweeps import Pool, SweepPlan, SweepSummary

__all__ = ["sweep"]

INTERRUPTED = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Exit status by the signal that ended the sweep."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUES",
    help="Values of a parameter: 0.1, or 0.1,0.25, or 0.1:0.2:5 (five values, both ends included); may be repeated.",
)
@click.option("--seeds", metavar="SEEDS", help="7, or 1,2,3, or 0:100 (0 to 99); 42 unless given.")
@click.option("--grid", metavar="CELLS", help="Cells along each side, one or several; 64 unless given.")
@click.option("--steps", metavar="STEPS", help="Steps, one or several; 100 unless given.")
@click.option("--model", help="Field model; mycelium_rd unless given.")
@click.option("--boundary", help="Of the grid; the model's own unless given.")
@click.option("--engine", help="Compute engine; auto takes the fastest.")
@click.option("--thresholds", metavar="LOW,MED,HIGH", help="Of the features, in mV or the model's unit.")
@click.option("--preset", help="A scenario instead of a grid: small, medium, large or benchmark.")
@click.option("--sample", help="Settings drawn at random instead of a grid: minimal, default or extended.")
@click.option("--samples", type=int, help="How many are drawn.")
@click.option("--seed", type=int, help="First seed of a preset or sample; 42 unless given.")
@click.option("--name", help="Name of the sweep: of its directory, and in its table.")
@click.option("--output", type=click.Path(path_type=Path), metavar="DIR", help="Default: data/NAME/TIME.")
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="DIR", help="Go on with the sweep that was begun in DIR."
)
@click.option("--retry-failed", is_flag=True, help="Run once more what failed in an earlier run of the same sweep.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes; as many as cores unless given.")
@click.option(
    "--executor", default="processes", show_default=True, help="processes, or the name of an executor plugin: dask."
)
@click.option("--scheduler", metavar="ADDRESS", help="Where the cluster of that executor is; a local one unless given.")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file whose [executors] section says more of that executor, such as its TLS files.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def sweep(
    file: Path | None,
    assignments: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    retry_failed: bool,
    workers: int | None,
    executor: str,
    scheduler: str | None,
    config: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate over parameters and seeds, measure each, and write one table.

    The sweep is a grid of parameters and seeds, a preset, or a random sample; its options may stand in a TOML FILE,
    in a table [sweep], and those given here win. Each simulation becomes a row of 18 features in DIR/dataset.parquet.
    Whatever is finished is kept: a sweep that is interrupted or killed goes on with --resume DIR, or with its options
    and --output DIR, and ends with the same table.

    Exit status 0: complete; 1: simulations failed, which errors.jsonl tells, or it could not be done; 2: refused, and
    nothing was begun; 130 interrupted.
    """
    if executor == "processes" and (scheduler is not None or config is not None):
        raise Refused("--scheduler and --config belong to an executor plugin; add --executor dask")
    given = {name: value for name, value in options.items() if value is not None}
    with refusing(), _told():
        plan, directory = _begun(file, assignments, given, output, resume)
        plan.check()
        stop = _Stop()
        make_pool = _pool(executor, scheduler, config, workers, stop.event)
        with stop.installed(), _progress(shown=not as_json and sys.stderr.isatty()) as progress:
            from mfn.sweeps import carry_out

            summary = carry_out(
                plan,
                directory,
                make_pool,
                retry_failed=retry_failed,
                progress=progress,
                stop=stop.event,
            )
    if stop.signal is not None and not summary.complete:
        click.echo(
            f"stopped after {summary.rows + summary.failed} of {summary.simulations} simulations; "
            f"go on with: mfn sweep --resume {shlex.quote(str(directory))}",
            err=True,
        )
        raise SystemExit(INTERRUPTED[stop.signal])
    _print(summary, as_json=as_json)
    if summary.failed:
        raise SystemExit(1)


def _begun(
    file: Path | None,
    assignments: tuple[str, ...],
    given: dict[str, Any],
    output: Path | None,
    resume: Path | None,
) -> tuple[SweepPlan, Path]:
    """The plan, and the directory that it is carried out in."""
    from mfn.sweeps import Request, default_directory, read_request, resumed_plan

    if resume is not None:
        if file is not None or assignments or given or output is not None:
            raise Refused("--resume takes the whole sweep from its directory; leave the other options out")
        return resumed_plan(resume), resume
    request = Request(set=_assigned(assignments), **given)
    if file is not None:
        request = request.over(read_request(file))
    plan = request.plan()
    return plan, output if output is not None else default_directory(plan)


def _assigned(assignments: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in assignments:
        name, equals, values = text.partition("=")
        if not equals or not name.strip():
            raise Refused(f"--set {text!r} is not NAME=VALUES, such as alpha=0.1:0.2:5")
        if name.strip() in found:
            raise Refused(f"--set {name.strip()} is given twice; write its values once, with commas")
        found[name.strip()] = values
    return found


def _pool(
    executor: str, scheduler: str | None, config: Path | None, workers: int | None, stop: threading.Event
) -> Callable[[], Pool]:
    """What makes the pool; nothing is started yet."""
    from mfn.sweeps import LocalPool, ProcessPool, remote_pool

    if executor != "processes":
        return remote_pool(executor, scheduler=scheduler, config=config, workers=workers)
    from mfn_core.execution import available_cores

    count = available_cores() if workers is None else workers
    return lambda: LocalPool(stop) if count == 1 else ProcessPool(count)


@contextmanager
def _told() -> Iterator[None]:
    """Say in one line what keeps a sweep from going on."""
    from mfn.sweeps import JournalError, SweepError, SweepFailedError

    try:
        yield
    except SweepError as unfit:
        raise Refused(str(unfit)) from unfit
    except (JournalError, SweepFailedError) as failed:
        raise click.ClickException(str(failed)) from failed


class _Stop:
    """Ends a sweep at the first signal, between two steps of its simulations; a second one ends the process."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal: signal.Signals | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in INTERRUPTED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        if self.event.is_set():
            raise SystemExit(INTERRUPTED[signal.Signals(number)])
        self.signal = signal.Signals(number)
        self.event.set()


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("simulations", total=None)

        def show(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield show


def _print(summary: SweepSummary, *, as_json: bool) -> None:
    if as_json:
        told = {
            "directory": str(summary.directory),
            "table": str(summary.table),
            "simulations": summary.simulations,
            "rows": summary.rows,
            "failed": summary.failed,
            "found": summary.found,
            "seconds": round(summary.seconds, 3),
            "engine": summary.engine,
        }
        click.echo(json.dumps(told, ensure_ascii=False))
        return
    before = f", {summary.found} of them in an earlier run" if summary.found else ""
    click.echo(f"{summary.simulations} simulations on engine {summary.engine}{before}, {summary.seconds:.1f} s")
    click.echo(f"wrote {summary.table}: {summary.rows} rows")
    if summary.failed:
        click.echo(f"{summary.failed} failed, and stand with their errors in {summary.errors}", err=True)
