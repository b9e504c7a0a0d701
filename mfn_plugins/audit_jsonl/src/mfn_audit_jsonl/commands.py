"""`mfn audit`: prove a trail, look at its end, search it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mfn_audit_jsonl.reading import StoredRecord
    from mfn_audit_jsonl.verification import VerifyReport

__all__ = ["audit"]

_PATHS = click.argument("paths", metavar="PATH...", type=click.Path(), nargs=-1, required=True)


def _hashes(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Hashes as the command line may give them, in lower case."""
    digests = []
    for value in values:
        digest = value.strip().lower()
        if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
            raise click.BadParameter(f"{value!r} is not a hash of 64 hexadecimal characters")
        digests.append(digest)
    return tuple(digests)


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A moment as the command line may give it, in the trail's own form."""
    from mfn_audit_jsonl.reading import parse_moment

    try:
        return None if value is None else parse_moment(value, datetime.now(UTC))
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def audit() -> None:
    """Prove and read the audit trail that [audit.jsonl] writes."""


@audit.command()
@_PATHS
@click.option(
    "--head",
    "heads",
    metavar="HASH",
    multiple=True,
    callback=_hashes,
    help="Hash of the record that must be the last one; for a directory give that of each trail.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    metavar="HASH",
    multiple=True,
    callback=_hashes,
    help="Hash of a record that must be there; more may follow it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def verify(paths: tuple[str, ...], heads: tuple[str, ...], checkpoints: tuple[str, ...], as_json: bool) -> None:
    """Prove that no record was changed, removed, moved or added.

    PATH is the file that [audit.jsonl] names: the trail with all of its closed files. Or a directory: every trail in
    it, such as those of the workers of one server. Several files are proved as parts of one trail, and so is a closed
    file alone; what comes before them is named and not proved.

    Exits with 0 when all is whole, with 1 when it is not and names the first line that is wrong of each trail, with 2
    when something cannot be read. Servers may write meanwhile.

    Keep the printed head outside the machine: with --head or --checkpoint it proves later that no records were cut
    off the end and that the trail was not written anew.
    """
    from pathlib import Path

    from mfn_audit_jsonl.verification import verify as verify_trail
    from mfn_audit_jsonl.verification import verify_directory, verify_files

    directories = [path for path in paths if Path(path).is_dir()]
    reports: Sequence[VerifyReport]
    try:
        if directories:
            if len(paths) > 1:
                raise click.UsageError("name one directory, or files of one trail")
            reports = verify_directory(paths[0], heads, checkpoints=checkpoints)
            if not reports:
                raise click.UsageError(f"{_shown(paths[0])}: no trail is in this directory: none is named *.jsonl")
        else:
            if len(heads) > 1 or len(checkpoints) > 1:
                raise click.UsageError("one trail has one head: give --head and --checkpoint once")
            head, checkpoint = next(iter(heads), None), next(iter(checkpoints), None)
            if len(paths) == 1:
                reports = [verify_trail(paths[0], head, checkpoint=checkpoint)]
            else:
                reports = [verify_files(paths, head, checkpoint=checkpoint)]
    except OSError as error:
        _unreadable(paths[0], error)
    click.echo(_as_json(reports) if as_json else "\n".join(map(_as_text, reports)))
    sys.exit(0 if all(report.ok for report in reports) else 1)


@audit.command()
@_PATHS
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=10, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new records as they come, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they stand in the file.")
def tail(paths: tuple[str, ...], lines: int, follow: bool, as_json: bool) -> None:
    """Print the last records, without proving them.

    PATH is the file that [audit.jsonl] names, with all of its closed files, or a directory: every trail in it, by
    time.
    """
    from contextlib import ExitStack

    from mfn_audit_jsonl.following import Follower
    from mfn_audit_jsonl.following import follow as follow_trails
    from mfn_audit_jsonl.reading import merged

    try:
        with ExitStack() as stack:
            followers = [stack.enter_context(Follower(path)) for path in _trails(paths)]
            found = list(merged([iter(follower.last(lines)) for follower in followers]))
            _print(found[len(found) - min(lines, len(found)) :], as_json)
            if follow:
                _print(follow_trails(followers), as_json)
    except KeyboardInterrupt:
        return
    except OSError as error:
        _unreadable(paths[0], error)


@audit.command()
@_PATHS
@click.option("--principal", help="Who called.")
@click.option("--key-id", help="Id of the credential.")
@click.option("--status", help="How the call ended: OK, UNAUTHENTICATED, …")
@click.option("--method", help="Path of the method, its last part, or a pattern such as '*Features*'.")
@click.option("--call-id", help="The server's id of the call.")
@click.option("--request-id", help="The caller's own id of the call.")
@click.option(
    "--since", callback=_moment, metavar="TIME", help="From 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d ago."
)
@click.option("--until", callback=_moment, metavar="TIME", help="Before that.")
@click.option("-n", "--limit", type=click.IntRange(1), help="Stop after so many records.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they stand in the file.")
def query(paths: tuple[str, ...], limit: int | None, as_json: bool, status: str | None, **wanted: str | None) -> None:
    """Print the records for which everything given holds, oldest first, without proving them.

    PATH is the file that [audit.jsonl] names, with all of its closed files, or a directory: every trail in it, by
    time.
    """
    from itertools import islice

    from mfn_audit_jsonl.reading import Filter, merged, records

    selected = Filter(status=None if status is None else status.upper(), **wanted)
    try:
        found = merged([filter(selected, records(path)) for path in _trails(paths)])
        _print(islice(found, limit), as_json)
    except OSError as error:
        _unreadable(paths[0], error)


def _trails(paths: Sequence[str]) -> list[Path]:
    """The trails that the paths stand for; a closed file is no other one where its trail is named as well."""
    from pathlib import Path

    from mfn_audit_jsonl._names import parse_closed, trails_in

    found: list[Path] = []
    for path in map(Path, paths):
        closed = parse_closed(path)
        if closed is not None and str(closed[0]) in paths:
            continue
        inside = trails_in(path) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"{_shown(path)}: no trail is in this directory: none is named *.jsonl")
        found += inside
    return found


def _print(found: Iterable[StoredRecord], as_json: bool) -> None:
    for record in found:
        click.echo(record.text if as_json else _line(record.fields))


def _line(record: Mapping[str, Any]) -> str:
    """One record for a person. What callers sent is shown without anything that a terminal would obey."""
    if "event" in record:
        facts = (f"{name}={_shown(value)}" for name, value in record.items() if name not in ("prev", "hash", "time"))
        return f"{_shown(record.get('time'))} {' '.join(facts)}"
    duration = record.get("duration_ms")
    parts = [
        _shown(record.get("time")),
        f"{_shown(record.get('status')):<18}",
        f"{duration:>10.3f} ms" if isinstance(duration, int | float) else f"{'-':>10} ms",
        *(_shown(record.get(name)) for name in ("principal", "method", "transport", "peer", "call_id")),
    ]
    if record.get("reason") is not None:
        parts.append(f"({_shown(record['reason'])})")
    return " ".join(parts)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _unreadable(path: str, error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        raise error
    name = _shown(path if error.filename is None else click.format_filename(error.filename))
    why = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror or error}"
    click.echo(f"{name}: {why}", err=True)
    sys.exit(2)


def _as_json(reports: Sequence[VerifyReport]) -> str:
    return json.dumps(
        {
            "ok": all(report.ok for report in reports),
            "tampered": any(report.tampered for report in reports),
            "trails": [_trail_as_json(report) for report in reports],
        }
    )


def _trail_as_json(report: VerifyReport) -> dict[str, object]:
    problem = report.problem
    return {
        "trail": report.trail,
        "ok": report.ok,
        "tampered": report.tampered,
        "files": report.files,
        "records": report.records,
        "first_record": report.first_record,
        "first_time": report.first_time,
        "last_time": report.last_time,
        "head": report.head,
        "missing_before": report.missing_before,
        "expired": report.expired,
        "followed": report.followed,
        "problem": None
        if problem is None
        else {
            "file": problem.file,
            "line": problem.line,
            "offset": problem.offset,
            "kind": problem.kind,
            "explanation": problem.explanation,
        },
    }


def _as_text(report: VerifyReport) -> str:
    span = f", {report.first_time} to {report.last_time}" if report.records else ""
    among = f" in {report.files} files" if report.files > 1 else ""
    lines = []
    problem = report.problem
    if problem is None:
        lines.append(f"{_shown(report.trail)}: whole: {report.records} records{among}{span}")
    else:
        place = f": line {problem.line} (byte {problem.offset})" if problem.line else ""
        lines.append(f"{_shown(problem.file)}{place}: {problem.kind}: {problem.explanation}")
        if report.files:
            lines.append(f"intact before it: {report.records} records{among}{span}")
        if not report.tampered:
            lines.append("no sign of tampering: a server that writes to the file completes it or moves it away")
    if report.missing_before:
        why = "keep_files removed them" if report.expired else "not among these files"
        lines.append(f"not proved: records 1 to {report.missing_before}: {why}")
    if report.followed:
        lines.append(
            f"not proved: what was recorded behind record {report.first_record + report.records - 1}: not here"
        )
    if report.files:
        lines.append(f"head {report.head}")
    return "\n".join(lines)
