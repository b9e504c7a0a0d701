"""Proof that a trail is whole: every line intact, each chained to the one before, none missing, moved or added."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from mfn_audit_jsonl._format import GENESIS, timestamp
from mfn_audit_jsonl._names import parse_closed, parse_worker, trails_in, worker_path
from mfn_audit_jsonl._report import Kind, TrailProblem, VerifyReport
from mfn_audit_jsonl._segments import Vanished, given_segments, trail_segments
from mfn_audit_jsonl._walk import Walk

__all__ = ["TrailProblem", "VerifyReport", "verify", "verify_directory", "verify_files"]

_ATTEMPTS: Final = 20
"""To read a trail whose oldest files are removed meanwhile."""
_WORKER_GRACE: Final = 60.0
"""Seconds that the workers of a server may take to open their trails one after the other."""
_MOST_WORKERS: Final = 1024
"""Of one server: a forged number must not make a report endless."""


def verify(path: str | os.PathLike[str], head: str | None = None, *, checkpoint: str | None = None) -> VerifyReport:
    """Read one trail from its first line to its end, over all of its files, in memory that does not grow with it.

    A trail that is written to meanwhile, and goes on in new files, is judged as it is at the call.

    Args:
        path: what `[audit.jsonl] path` says; the trail's closed files are found beside it. The name of a closed file
            stands for that file alone.
        head: the hash of the record that must be the last, as it was kept elsewhere. Without it, nothing shows that
            records were cut off the end, nor that the whole trail was written anew.
        checkpoint: the hash of a record that must be in the trail, last or not: what to give for a trail that has
            grown since.

    Raises:
        OSError: a file cannot be read, or is no regular file: a device would pass for an empty trail.
    """
    return _walk(Path(path), demanded={"head": head, "checkpoint": checkpoint})[1]


def verify_files(
    paths: Iterable[str | os.PathLike[str]], head: str | None = None, *, checkpoint: str | None = None
) -> VerifyReport:
    """The same for exactly these files, given in any order, as consecutive parts of one trail.

    What comes before the first of them is reported as missing, and is no problem.

    Raises:
        OSError: a file cannot be read, or is no regular file.
        ValueError: no file is given.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise ValueError("no file is given: name at least one file of the trail")
    demanded = {"head": head, "checkpoint": checkpoint}
    with given_segments(files) as segments:
        try:
            return Walk(segments[-1].path, segments, demanded=demanded, complete=False).run()
        except Vanished as gone:
            raise FileNotFoundError(f"{gone} was removed while it was being read") from None


def verify_directory(
    path: str | os.PathLike[str], heads: Iterable[str] = (), *, checkpoints: Iterable[str] = ()
) -> tuple[VerifyReport, ...]:
    """Every trail of a directory: those of a server's workers, or of several servers.

    Args:
        path: the directory.
        heads: where any is given, each trail must end with one of them, and each of them must be the end of one.
        checkpoints: each must be in one of the trails.

    Returns:
        A report for each trail, by name, and for each that should be here and is not.

    Raises:
        OSError: the directory or a file cannot be read.
    """
    directory, heads, checkpoints = Path(path), frozenset(heads), frozenset(checkpoints)
    walked = [_walk(trail, sought=checkpoints) for trail in trails_in(directory)]
    reports = [_ended(report, heads) for _, report in walked]
    ends = {report.head for report in reports}
    reports += [
        _absent(directory, "head-mismatch", f"no trail here ends with the head {head}: one was removed, or its end was")
        for head in sorted(heads - ends)
    ]
    met = {wanted for walk, _ in walked for wanted in walk.met}
    reports += [
        _absent(directory, "head-mismatch", f"no trail here has the record {wanted}: one was removed, or its end was")
        for wanted in sorted(checkpoints - met)
    ]
    return (*reports, *_missing_workers([walk for walk, _ in walked]))


def _walk(
    path: Path, *, demanded: Mapping[str, str | None] | None = None, sought: Collection[str] = ()
) -> tuple[Walk, VerifyReport]:
    """Judge the trail of a path, from the beginning again where old files were removed meanwhile."""
    for _ in range(_ATTEMPTS):
        with trail_segments(path) as segments:
            alone = len(segments) == 1 and parse_closed(path) is not None
            walk = Walk(path, segments, demanded=demanded, sought=sought, complete=not alone)
            try:
                report = walk.run()
            except Vanished:
                continue
            missing = report.problem is not None and report.problem.kind == "missing-file"
            # The record that accounts for a file may have been written after the trail was opened.
            if not (missing and segments[-1].superseded()):
                return walk, report
    raise OSError(
        errno.EAGAIN, "the oldest files are removed faster than they can be read; raise keep_files", str(path)
    )


def _ended(report: VerifyReport, heads: Collection[str]) -> VerifyReport:
    """The report of a trail that must end with one of these heads, where there are any."""
    if not heads or report.head in heads or report.tampered:
        return report
    problem = TrailProblem(
        file=report.trail,
        line=0,
        offset=0,
        kind="head-mismatch",
        explanation="the last record is none of the heads that were given: records were cut off the end or written "
        "since, or the trail was written anew",
    )
    return attrs.evolve(report, problem=problem)


def _absent(path: Path, kind: Kind, explanation: str) -> VerifyReport:
    """The report of a trail that should be there."""
    return VerifyReport(
        trail=str(path),
        files=0,
        records=0,
        first_record=1,
        first_time=None,
        last_time=None,
        head=GENESIS,
        expired=False,
        followed=False,
        problem=TrailProblem(file=str(path), line=0, offset=0, kind=kind, explanation=explanation),
    )


def _missing_workers(walks: Sequence[Walk]) -> list[VerifyReport]:
    """Trails of workers that are not here, though the newest start of another worker of the same server counts them."""
    newest: dict[Path, tuple[str, int]] = {}
    present = set()
    for walk in walks:
        named = parse_worker(walk.trail)
        if named is None:
            continue
        present.add(walk.trail)
        if walk.opened is not None and walk.opened.time is not None:
            workers = walk.opened.number("workers") or 0
            newest[named[0]] = max(newest.get(named[0], ("", 0)), (walk.opened.time, workers))
    settled = timestamp(time.time() - _WORKER_GRACE)
    return [
        _absent(
            missing,
            "missing-file",
            f"the trail of worker {worker} is not here; the server that was started at {moment} had {workers} workers",
        )
        for path, (moment, workers) in sorted(newest.items())
        for worker in range(min(workers, _MOST_WORKERS))
        if moment < settled and (missing := worker_path(path, worker)) not in present
    ]
