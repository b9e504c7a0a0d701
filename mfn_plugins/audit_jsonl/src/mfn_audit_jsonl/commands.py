"""`mfn audit`: prove a trail, look at its end, search it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mfn_audit_jsonl.reading import StoredRecord
    from mfn_audit_jsonl.verification import VerifyReport

__all__ = ["audit"]

_FILE = click.Path(exists=True, dir_okay=False, readable=True)


def _hash(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A hash as the command line may give it, in lower case."""
    if value is None:
        return None
    digest = value.strip().lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise click.BadParameter(f"{value!r} is not a hash of 64 hexadecimal characters")
    return digest


def _moment(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A moment as the command line may give it, in the trail's own form."""
    from mfn_audit_jsonl.reading import parse_moment

    try:
        return None if value is None else parse_moment(value, datetime.now(UTC))
    except ValueError as wrong:
        raise click.BadParameter(str(wrong)) from None


@click.group()
def audit() -> None:
    """Prove and read the audit trail that [audit.jsonl] writes."""


@audit.command()
@click.argument("file", type=_FILE)
@click.option("--head", metavar="HASH", callback=_hash, help="Hash of the record that must be the last one.")
@click.option(
    "--checkpoint", metavar="HASH", callback=_hash, help="Hash of a record that must be there; more may follow it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def verify(file: str, head: str | None, checkpoint: str | None, as_json: bool) -> None:
    """Prove that no record of FILE was changed, removed, moved or added.

    Exits with 0 when the trail is whole, with 1 when it is not and names the first line that is wrong, with 2 when
    it cannot be read. FILE may be in use by a server.

    Keep the printed head outside the machine: with --head or --checkpoint it proves later that no records were cut
    off the end and that the file was not written anew.
    """
    from mfn_audit_jsonl.verification import verify as verify_trail

    try:
        report = verify_trail(file, head, checkpoint=checkpoint)
    except OSError as error:
        _unreadable(file, error)
    click.echo(_as_json(report) if as_json else _as_text(click.format_filename(file), report))
    sys.exit(0 if report.ok else 1)


@audit.command()
@click.argument("file", type=_FILE)
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=10, show_default=True, help="How many.")
@click.option("-f", "--follow", is_flag=True, help="Go on with new records as they come, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they stand in FILE.")
def tail(file: str, lines: int, follow: bool, as_json: bool) -> None:
    """Print the last records of FILE, without proving them."""
    from mfn_audit_jsonl.reading import follow as follow_trail
    from mfn_audit_jsonl.reading import last_records

    try:
        found, offset = last_records(file, lines)
        _print(found, as_json)
        if follow:
            _print(follow_trail(file, offset), as_json)
    except KeyboardInterrupt:
        return
    except OSError as error:
        _unreadable(file, error)


@audit.command()
@click.argument("file", type=_FILE)
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
@click.option("--json", "as_json", is_flag=True, help="Print the lines as they stand in FILE.")
def query(file: str, limit: int | None, as_json: bool, status: str | None, **wanted: str | None) -> None:
    """Print the records of FILE for which everything given holds, without proving them."""
    from itertools import islice

    from mfn_audit_jsonl.reading import Filter, records

    selected = Filter(status=None if status is None else status.upper(), **wanted)
    try:
        _print(islice(filter(selected, records(file)), limit), as_json)
    except OSError as error:
        _unreadable(file, error)


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


def _unreadable(file: str, error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        raise error
    click.echo(f"{click.format_filename(file)}: cannot be read: {error.strerror or error}", err=True)
    sys.exit(2)


def _as_json(report: VerifyReport) -> str:
    problem = report.problem
    return json.dumps(
        {
            "ok": report.ok,
            "tampered": report.tampered,
            "records": report.records,
            "first_time": report.first_time,
            "last_time": report.last_time,
            "head": report.head,
            "problem": None
            if problem is None
            else {
                "line": problem.line,
                "offset": problem.offset,
                "kind": problem.kind,
                "explanation": problem.explanation,
            },
        }
    )


def _as_text(name: str, report: VerifyReport) -> str:
    span = f", {report.first_time} to {report.last_time}" if report.records else ""
    lines = []
    problem = report.problem
    if problem is None:
        lines.append(f"{name}: whole: {report.records} records{span}")
    else:
        lines.append(f"{name}: line {problem.line} (byte {problem.offset}): {problem.kind}: {problem.explanation}")
        lines.append(f"intact before it: {report.records} records{span}")
        if not report.tampered:
            lines.append("no sign of tampering: a server that writes to the file completes it or moves it away")
    lines.append(f"head {report.head}")
    return "\n".join(lines)
