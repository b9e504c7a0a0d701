"""Reading a trail."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from mfn_audit_jsonl._format import body_of, seal
from mfn_audit_jsonl.following import Follower, follow
from mfn_audit_jsonl.reading import Filter, StoredRecord, parse_moment, records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeTrail = Callable[[int], Path]

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def numbers(found: list[StoredRecord]) -> list[object]:
    return [record.fields["seq"] for record in found]


def last(path: Path, count: int) -> list[object]:
    with Follower(path) as follower:
        return numbers(follower.last(count))


@pytest.mark.parametrize("count", [0, 1, 7, 300, 999, 1000, 5000])
def test_the_last_records_are_the_last(trail: MakeTrail, count: int) -> None:
    path = trail(1000)
    with Follower(path) as follower:
        assert numbers(follower.last(count)) == list(range(max(1, 1001 - count), 1001))
        assert list(follower.new()) == []


def test_an_empty_trail_has_no_last_records(trail: MakeTrail) -> None:
    assert last(trail(0), 5) == []


def test_a_torn_line_is_none_of_the_last_records(trail: MakeTrail) -> None:
    path = trail(4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with Follower(path) as follower:
        assert numbers(follower.last(2)) == [2, 3]
        path.write_bytes(whole)
        assert numbers(list(follower.new())) == [4]


def test_lines_that_are_no_records_are_left_out(trail: MakeTrail) -> None:
    path = trail(2)
    with path.open("ab") as file:
        file.write(b"junk\rjunk\n" + b"x" * 500_000 + b"\n")
    with path.open("ab") as file:
        file.write(path.read_bytes().splitlines(keepends=True)[1])
    assert numbers(list(records(path))) == [1, 2, 2]
    assert last(path, 10) == [1, 2, 2]


class Pauses:
    """What happens to the file in each pause; the last one ends the reading."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps: Iterator[Callable[[], object]] = iter(steps)

    def __call__(self) -> None:
        step = next(self._steps, None)
        if step is None:
            raise KeyboardInterrupt
        step()


def followed(path: Path, count: int, *steps: Callable[[], object]) -> list[object]:
    """The numbers of the last records and of those that follow them in the pauses."""
    with Follower(path) as follower:
        found = deque(follower.last(count))
        with pytest.raises(KeyboardInterrupt):
            found.extend(follow([follower], Pauses(*steps)))
        return numbers(list(found))


def test_new_records_are_followed(trail: MakeTrail) -> None:
    path = trail(5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))

    def append(data: bytes) -> Callable[[], object]:
        return lambda: _append(path, data)

    found = followed(path, 1, append(lines[2]), append(lines[3][:40]), append(lines[3][40:] + lines[4]), append(b""))
    assert found == [2, 3, 4, 5]


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_a_trail_is_followed_from_its_beginning_where_nothing_was_read_before(trail: MakeTrail) -> None:
    with Follower(trail(3)) as follower:
        assert numbers(list(follower.new())) == [1, 2, 3]


def test_a_trail_that_begins_anew_is_followed_from_its_beginning(trail: MakeTrail, tmp_path: Path) -> None:
    path = trail(3)
    lines = path.read_bytes().splitlines(keepends=True)

    def replace() -> None:
        path.rename(tmp_path / "old.jsonl")
        path.write_bytes(lines[0])

    def shorten() -> None:
        path.write_bytes(b"")

    assert followed(path, 0, replace, lambda: _append(path, lines[1])) == [1, 2]
    path.write_bytes(b"".join(lines))
    assert followed(path, 0, shorten, lambda: _append(path, lines[0])) == [1]


def test_a_trail_that_is_away_for_a_moment_is_waited_for(trail: MakeTrail, tmp_path: Path) -> None:
    path = trail(2)
    lines = path.read_bytes().splitlines(keepends=True)
    away = tmp_path / "away.jsonl"
    assert followed(path, 0, lambda: path.rename(away), lambda: None, lambda: path.write_bytes(lines[0])) == [1]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(principal="bob"), [2]),
        (Filter(key_id="alice-1", status="OK"), [1, 3]),
        (Filter(status="INTERNAL"), [4]),
        (Filter(method="/mfn.MFNFeaturesService/ExtractFeatures"), [1, 2, 4]),
        (Filter(method="ExtractFeatures"), [1, 2, 4]),
        (Filter(method="Features"), []),
        (Filter(method="/mfn.*Simul*"), [3]),
        (Filter(call_id="f" * 24), [2]),
        (Filter(request_id="request-3"), [3]),
        (Filter(since="2026-01-01T00:00:03.500000Z"), [3, 4]),
        (Filter(until="2026-01-01T00:00:03.500000Z"), [1, 2]),
        (Filter(since="2026-01-01T00:00:02.000000Z", until="2026-01-01T00:00:03.600000Z", principal="bob"), [2]),
    ],
)
def test_a_filter_takes_what_it_names(record: MakeRecord, tmp_path: Path, wanted: Filter, expected: list[int]) -> None:
    path = tmp_path / "audit.jsonl"
    made = [
        record(1),
        record(2, principal="bob", key_id="bob-1", call_id="f" * 24),
        record(3, method="/mfn.MFNSimulationService/Simulate"),
        record(4, status="INTERNAL"),
    ]
    head = "0" * 64
    with path.open("wb") as file:
        for number, one in enumerate(made, 1):
            line, head = seal(number, head, body_of(one))
            file.write(line)
    assert numbers(list(filter(wanted, records(path)))) == expected


def test_reading_is_lazy(trail: MakeTrail) -> None:
    path = trail(1000)
    reading = records(path)
    assert numbers(list(islice(reading, 2))) == [1, 2]
    reading.close()  # type: ignore[attr-defined]  # a generator


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
        ("2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000000Z"),
        ("2026-01-31T10:00:00.25+02:00", "2026-01-31T08:00:00.250000Z"),
        ("90s", "2026-01-31T11:58:30.000000Z"),
        ("15m", "2026-01-31T11:45:00.000000Z"),
        ("2h", "2026-01-31T10:00:00.000000Z"),
        ("7d", "2026-01-24T12:00:00.000000Z"),
        ("4w", "2026-01-03T12:00:00.000000Z"),
    ],
)
def test_moments_are_read(text: str, moment: str) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "7", "d", "-1d", "999999999w", "2026-02-30", "1e3s"])
def test_what_is_no_moment_is_refused_with_the_forms_that_are(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no moment: write 2026-01-31, .* or a span such as 15m"):
        parse_moment(text, NOW)
