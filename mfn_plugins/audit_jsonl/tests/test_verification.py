"""Every way to tamper with a trail is found and named with its line."""

from __future__ import annotations

import asyncio
import json
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, TrailProblem, verify
from mfn_audit_jsonl._format import GENESIS, seal
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
MakeTrail = Callable[[int], Path]

FIELDS = (
    *("seq", "prev", "time", "call_id", "request_id", "principal", "key_id", "method", "shape", "transport"),
    *("status", "reason", "duration_ms", "messages_in", "messages_out", "bytes_in", "bytes_out", "peer"),
    *("tls_identity", "protocol", "hash"),
)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def problem_of(path: Path, **given: str) -> TrailProblem:
    report = verify(path, **given)
    assert not report.ok
    assert report.problem is not None
    return report.problem


def rewrite(line: bytes, **changes: Any) -> bytes:
    """The line with other values, as somebody would make it who knows the format: with a hash that fits."""
    record = {**json.loads(line), **changes}
    del record["hash"]
    seq, prev = record.pop("seq"), record.pop("prev")
    return seal(seq, prev, json.dumps(record, separators=(",", ":"))[1:-1])[0]


def hash_of(line: bytes) -> str:
    return str(json.loads(line)["hash"])


def test_a_whole_trail_is_ok(trail: MakeTrail) -> None:
    path = trail(9)
    report = verify(path)
    assert report.ok
    assert not report.tampered
    assert report.records == 9
    assert report.first_time == "2026-01-01T00:00:01.500000Z"
    assert report.last_time == "2026-01-01T00:00:09.500000Z"
    assert report.head == hash_of(lines_of(path)[-1])


def test_an_empty_trail_is_ok_and_its_head_is_the_genesis(trail: MakeTrail) -> None:
    report = verify(trail(0))
    assert report.ok
    assert report.records == 0
    assert report.first_time is None
    assert report.head == GENESIS


def test_a_missing_file_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none.jsonl")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("number", [1, 3, 5])
def test_an_altered_value_of_any_field_is_named(trail: MakeTrail, field: str, number: int) -> None:
    path = trail(5)
    lines = lines_of(path)
    at = lines[number - 1].index(f'"{field}":'.encode()) + len(field) + 4
    line = bytearray(lines[number - 1])
    line[at] = ord("1") if line[at] != ord("1") else ord("2")
    path.write_bytes(b"".join([*lines[: number - 1], bytes(line), *lines[number:]]))
    found = problem_of(path)
    assert found.line == number
    assert found.offset == sum(map(len, lines[: number - 1]))
    # `null` and the number of a record of two digits are no JSON any more once their first byte is a digit.
    assert found.kind in ("altered", "bad-json")


def test_every_byte_of_a_line_is_covered(trail: MakeTrail) -> None:
    path = trail(4)
    lines = lines_of(path)
    whole = b"".join(lines)
    start = sum(map(len, lines[:2]))
    for at in range(len(lines[2])):
        for change in (0x01, 0x20, 0x80):
            broken = bytearray(whole)
            broken[start + at] ^= change
            path.write_bytes(broken)
            found = problem_of(path)
            assert (found.line, found.offset) == (3, start), (at, change)
            assert found.kind in ("altered", "bad-json"), (at, change)


@pytest.mark.parametrize("number", [1, 2, 4, 6])
def test_a_value_changed_with_a_hash_made_anew_is_named(trail: MakeTrail, number: int) -> None:
    path = trail(7)
    lines = lines_of(path)
    lines[number - 1] = rewrite(lines[number - 1], principal="mallory")
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (number, "altered")
    assert "hash made anew" in found.explanation


def test_a_last_record_changed_with_its_hash_is_found_by_the_head(trail: MakeTrail) -> None:
    path = trail(4)
    lines = lines_of(path)
    head = hash_of(lines[-1])
    path.write_bytes(b"".join([*lines[:-1], rewrite(lines[-1], status="OK", principal="mallory")]))
    assert verify(path).ok
    found = problem_of(path, head=head)
    assert (found.line, found.kind) == (4, "head-mismatch")


def test_a_trail_written_anew_is_found_by_the_head(trail: MakeTrail) -> None:
    path = trail(6)
    head = verify(path).head
    prev, forged = GENESIS, []
    for number, line in enumerate([*lines_of(path)[:2], *lines_of(path)[3:]], 1):
        forged.append(rewrite(line, seq=number, prev=prev))
        prev = hash_of(forged[-1])
    path.write_bytes(b"".join(forged))
    assert verify(path).ok
    found = problem_of(path, head=head)
    assert (found.line, found.kind) == (5, "head-mismatch")
    assert problem_of(path, checkpoint=head).kind == "head-mismatch"


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_a_removed_line_is_named_where_it_is_missing(trail: MakeTrail, number: int) -> None:
    path = trail(6)
    lines = lines_of(path)
    del lines[number - 1]
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (number, "removed")
    assert found.explanation == f"record {number} is missing before record {number + 1}"


def test_several_removed_lines_are_counted(trail: MakeTrail) -> None:
    path = trail(9)
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:3], *lines[6:]]))
    found = problem_of(path)
    assert (found.line, found.kind) == (4, "removed")
    assert found.explanation == "records 4 to 6 are missing before record 7"


def test_lines_removed_from_the_end_are_found_by_the_head(trail: MakeTrail) -> None:
    path = trail(6)
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[:4]))
    assert verify(path).ok
    found = problem_of(path, head=hash_of(lines[-1]))
    assert (found.line, found.kind) == (4, "head-mismatch")
    assert "cut off the end" in found.explanation


def test_an_emptied_trail_is_found_by_the_head(trail: MakeTrail) -> None:
    path = trail(2)
    head = verify(path).head
    path.write_bytes(b"")
    found = problem_of(path, head=head)
    assert (found.line, found.kind) == (0, "head-mismatch")


def test_the_head_of_a_grown_trail_tells_how_much_it_grew(trail: MakeTrail) -> None:
    path = trail(6)
    head = hash_of(lines_of(path)[3])
    found = problem_of(path, head=head)
    assert found.kind == "head-mismatch"
    assert "that of line 4, and 2 records follow it" in found.explanation
    assert verify(path, checkpoint=head).ok
    assert verify(path, hash_of(lines_of(path)[-1]), checkpoint=head).ok


@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 3), (1, 4), (4, 5), (0, 5)])
def test_swapped_lines_are_named_at_the_first(trail: MakeTrail, first: int, second: int) -> None:
    path = trail(6)
    lines = lines_of(path)
    lines[first], lines[second] = lines[second], lines[first]
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (first + 1, "reordered")
    assert f"record {second + 1} stands where record {first + 1} belongs" in found.explanation
    assert f"at line {second + 1}" in found.explanation


@pytest.mark.parametrize("after", [3, 5])
def test_a_repeated_line_is_named(trail: MakeTrail, after: int) -> None:
    path = trail(5)
    lines = lines_of(path)
    lines.insert(after, lines[2])
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (after + 1, "reordered")
    assert "record 3 stands here again" in found.explanation


def inserted_with_an_old_hash(line: bytes) -> bytes:
    return line.replace(b"alice", b"mally")


def inserted_with_a_hash_made_anew(line: bytes) -> bytes:
    return rewrite(line, principal="mallory")


def inserted_with_a_foreign_chain(line: bytes) -> bytes:
    return rewrite(line, principal="mallory", prev="ab" * 32)


@pytest.mark.parametrize(
    "forge", [inserted_with_an_old_hash, inserted_with_a_hash_made_anew, inserted_with_a_foreign_chain]
)
@pytest.mark.parametrize("at", [1, 3, 5])
def test_an_added_line_is_named(trail: MakeTrail, forge: Callable[[bytes], bytes], at: int) -> None:
    path = trail(6)
    lines = lines_of(path)
    lines.insert(at - 1, forge(lines[at - 1]))
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (at, "altered")


def test_a_line_added_behind_the_record_that_it_imitates_is_named(trail: MakeTrail) -> None:
    path = trail(6)
    lines = lines_of(path)
    lines.insert(3, rewrite(lines[2], principal="mallory"))
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (4, "altered")


def test_a_changed_number_is_named(trail: MakeTrail) -> None:
    path = trail(4)
    lines = lines_of(path)
    lines[2] = rewrite(lines[2], seq=9)
    path.write_bytes(b"".join(lines))
    found = problem_of(path)
    assert (found.line, found.kind) == (3, "altered")


@pytest.mark.parametrize(
    "junk", [b"\n", b"not json\n", b"[1,2]\n", b"\0" * 500 + b"\n", b"x" * 1_000_000 + b"\n", b"[" * 100_000 + b"\n"]
)
def test_a_line_that_is_no_json_object_is_named(trail: MakeTrail, junk: bytes) -> None:
    path = trail(5)
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:3], junk, *lines[3:]]))
    found = problem_of(path)
    assert (found.line, found.kind) == (4, "bad-json")
    assert found.offset == sum(map(len, lines[:3]))
    assert len(found.explanation) < 200


def test_a_gap_before_a_line_that_is_too_long_is_still_understood(trail: MakeTrail) -> None:
    path = trail(6)
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:2], lines[3], b"x" * 1_000_000 + b"\n", lines[2], *lines[4:]]))
    found = problem_of(path)
    assert (found.line, found.kind) == (3, "reordered")
    assert "at line 5" in found.explanation


@pytest.mark.parametrize("spacing", [(b'":', b'": '), (b"}\n", b" }\n"), (b"\n", b"\r\n")])
def test_a_line_formatted_anew_is_altered(trail: MakeTrail, spacing: tuple[bytes, bytes]) -> None:
    path = trail(3)
    lines = lines_of(path)
    lines[1] = lines[1].replace(*spacing)
    path.write_bytes(b"".join(lines))
    assert (problem_of(path).line, problem_of(path).kind) == (2, "altered")


@pytest.mark.parametrize("cut", [1, 2, 60, 200])
def test_a_torn_last_line_is_torn_and_no_tampering(trail: MakeTrail, cut: int) -> None:
    path = trail(4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    report = verify(path)
    assert not report.ok
    assert not report.tampered
    assert report.problem is not None
    assert (report.problem.line, report.problem.kind) == (4, "torn")
    assert report.records == 3
    assert verify(path, checkpoint=report.head).problem == report.problem


def test_a_torn_trail_that_lost_more_is_a_head_mismatch(trail: MakeTrail) -> None:
    path = trail(6)
    lines = lines_of(path)
    path.write_bytes(b"".join([*lines[:4], lines[4][:50]]))
    assert problem_of(path, head=hash_of(lines[5])).kind == "head-mismatch"
    assert problem_of(path, head=hash_of(lines[3])).kind == "torn"


def test_a_line_that_its_writer_is_just_writing_is_waited_for(
    trail: MakeTrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = trail(4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    monkeypatch.setattr("mfn_audit_jsonl._lines.time.sleep", lambda _: path.write_bytes(whole))
    report = verify(path)
    assert report.ok
    assert report.records == 4


def test_a_line_that_its_writer_took_back_is_read_again(trail: MakeTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trail(4)
    whole = path.read_bytes()
    lines = lines_of(path)
    path.write_bytes(b"".join(lines[:3]) + rewrite(lines[3], principal="another")[:-20])
    monkeypatch.setattr("mfn_audit_jsonl._lines.time.sleep", lambda _: path.write_bytes(whole))
    assert verify(path).ok


async def test_a_trail_can_be_proved_while_it_is_written(make_sink: MakeSink, record: MakeRecord) -> None:
    sink = make_sink(fsync="never")
    await sink.start()
    reports = []
    done = threading.Event()

    def prove() -> None:
        while not done.is_set():
            reports.append(verify(sink.path))

    proving = asyncio.create_task(asyncio.to_thread(prove))
    number = 0
    while len(reports) < 5 or reports[-1].records < 2000:
        for _ in range(50):
            number += 1
            await sink.write(record(number))
        await asyncio.sleep(0.001)
    done.set()
    await proving
    await sink.stop()
    assert [report.problem for report in reports] == [None] * len(reports)
    assert len({report.records for report in reports}) > 1
    assert verify(sink.path, sink.statistics().head).records == number


def test_memory_does_not_grow_with_the_trail(trail: MakeTrail) -> None:
    path = trail(8000)
    assert path.stat().st_size > 4_000_000
    lines = lines_of(path)
    lines[10], lines[-1] = lines[-1], lines[10]

    def peak() -> int:
        tracemalloc.start()
        try:
            verify(path)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak() < 300_000
    path.write_bytes(b"".join(lines))
    assert problem_of(path).kind == "reordered"
    assert peak() < 300_000


def test_what_a_forger_writes_does_not_reach_the_report(trail: MakeTrail) -> None:
    path = trail(3)
    lines = lines_of(path)
    for forged in (
        rewrite(lines[1], time="\x1b[2J\nall is well"),
        rewrite(lines[1], prev="\x1b[2J\nall is well"),
        rewrite(lines[1], seq=10**3000),
    ):
        path.write_bytes(b"".join([lines[0], forged]))
        report = verify(path)
        shown = f"{report.last_time} {report.problem}"
        assert "\x1b" not in shown
        assert "all is well" not in shown
        assert len(shown) < 500
