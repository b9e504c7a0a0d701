"""A trail of several files is proved as one chain, and read as one."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mfn_audit_jsonl import JsonlSink, TrailProblem, verify, verify_directory, verify_files
from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._format import body_of, continued_body, seal
from mfn_audit_jsonl._names import closed_files
from mfn_audit_jsonl.following import Follower
from mfn_audit_jsonl.reading import records
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]


@pytest.fixture
def files(tmp_path: Path, record: MakeRecord) -> list[Path]:
    """A trail of six files with four records or more each, the one that is written to last."""
    path = tmp_path / "audit.jsonl"
    file = TrailFile(path, logging.getLogger("test"))
    file.open()
    for number in range(24):
        file.append([body_of(record(number))])
        if number % 4 == 3 and number < 20:
            file.rotate(durable=False)
    file.close()
    return [*(closed for _, closed in closed_files(path)), path]


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def hash_of(line: bytes) -> str:
    return str(json.loads(line)["hash"])


def seq_of(line: bytes) -> int:
    return int(json.loads(line)["seq"])


def rewrite(line: bytes, **changes: Any) -> bytes:
    """The line with other values and a hash that fits."""
    value = {**json.loads(line), **changes}
    del value["hash"]
    seq, prev = value.pop("seq"), value.pop("prev")
    return seal(seq, prev, json.dumps(value, separators=(",", ":"))[1:-1])[0]


def problem_of(path: Path, **given: str) -> TrailProblem:
    report = verify(path, **given)
    assert report.problem is not None
    (in_directory,) = verify_directory(path.parent)
    if not given:
        assert in_directory == report
    return report.problem


def test_all_files_are_one_chain(files: list[Path]) -> None:
    report = verify(files[-1], hash_of(lines_of(files[-1])[-1]), checkpoint=hash_of(lines_of(files[2])[1]))
    assert report.ok
    assert report.files == len(files)
    assert report.records == sum(len(lines_of(path)) for path in files)
    assert (report.first_record, report.missing_before) == (1, 0)
    assert not report.followed
    assert not report.expired
    assert verify_directory(files[-1].parent) == (report,)
    # Given one by one in whatever order, and some of them twice.
    shuffled = [files[3], files[-1], files[0], files[1], *files[2:], files[0]]
    assert verify_files(shuffled, report.head) == report


def test_no_file_given_is_an_error() -> None:
    with pytest.raises(ValueError, match="no file is given"):
        verify_files([])


def test_a_closed_file_alone_is_proved_from_what_its_first_line_continues(files: list[Path]) -> None:
    first = seq_of(lines_of(files[2])[0])
    report = verify(files[2])
    assert report.ok
    assert (report.files, report.records) == (1, len(lines_of(files[2])))
    assert (report.first_record, report.missing_before) == (first, first - 1)
    assert report.followed
    assert not report.expired
    assert report.head == json.loads(lines_of(files[3])[0])["prev"]


def test_some_files_are_proved_and_what_is_before_them_is_said(files: list[Path]) -> None:
    report = verify_files(files[3:])
    assert report.ok
    assert report.missing_before == seq_of(lines_of(files[3])[0]) - 1
    assert not report.followed
    assert report.head == verify(files[-1]).head


@pytest.mark.parametrize("at", [0, 1, 3, -1])
@pytest.mark.parametrize("number", [1, 2, -1])
def test_an_altered_record_is_named_with_its_file_and_line(files: list[Path], at: int, number: int) -> None:
    lines = lines_of(files[at])
    where = number if number > 0 else len(lines)
    line = lines[where - 1]
    field = b'"time":"2' if b'"event"' in line else b'"principal":"a'
    lines[where - 1] = line.replace(field, field[:-1] + b"7")
    files[at].write_bytes(b"".join(lines))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at]), where, "altered")
    assert found.offset == sum(map(len, lines[: where - 1]))


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_last_record_changed_with_its_hash_is_named_by_the_file_behind_it(files: list[Path], at: int) -> None:
    lines = lines_of(files[at])
    lines[-1] = rewrite(lines[-1], principal="mallory")
    files[at].write_bytes(b"".join(lines))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at]), len(lines), "altered")
    assert "hash made anew" in found.explanation


@pytest.mark.parametrize("at", [1, 3, -1])
def test_a_first_line_changed_with_its_hash_is_named(files: list[Path], at: int) -> None:
    lines = lines_of(files[at])
    lines[0] = rewrite(lines[0], previous_records=1)
    files[at].write_bytes(b"".join(lines))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at]), 1, "altered")


@pytest.mark.parametrize("at", [0, 1, 3, -1])
def test_a_removed_record_is_named_with_its_file_and_line(files: list[Path], at: int) -> None:
    lines = lines_of(files[at])
    gone = seq_of(lines[1])
    files[at].write_bytes(b"".join([lines[0], *lines[2:]]))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at]), 2, "removed")
    assert found.explanation.startswith(f"record {gone} is missing")


@pytest.mark.parametrize("count", [1, 2])
def test_records_cut_off_the_end_of_a_closed_file_are_named_there(files: list[Path], count: int) -> None:
    lines = lines_of(files[2])
    kept = lines[:-count]
    files[2].write_bytes(b"".join(kept))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[2]), len(kept) + 1, "removed")
    assert found.offset == sum(map(len, kept))
    assert "missing at the end of the file" in found.explanation


@pytest.mark.parametrize("at", [0, 2])
def test_a_closed_file_that_was_emptied_is_named(files: list[Path], at: int) -> None:
    files[at].write_bytes(b"")
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at]), 0, "removed")
    assert "the file was emptied" in found.explanation


@pytest.mark.parametrize("cut", [1, 30])
def test_a_closed_file_that_ends_in_the_middle_of_a_record_is_no_work_of_a_crash(files: list[Path], cut: int) -> None:
    files[1].write_bytes(files[1].read_bytes()[:-cut])
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[1]), len(lines_of(files[1])), "removed")
    assert verify(files[-1]).tampered


def test_a_torn_end_of_the_file_that_is_written_to_is_no_tampering(files: list[Path]) -> None:
    files[-1].write_bytes(files[-1].read_bytes()[:-30])
    report = verify(files[-1])
    assert report.problem is not None
    assert (report.problem.file, report.problem.kind) == (str(files[-1]), "torn")
    assert not report.tampered


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_missing_file_is_named_where_it_is_missing(files: list[Path], at: int) -> None:
    first, last = (seq_of(lines_of(files[at])[where]) for where in (0, -1))
    files[at].unlink()
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[at + 1]), 1, "missing-file")
    assert found.explanation.startswith(f"records {first} to {last} are missing before record {last + 1}")


def test_several_missing_files_are_counted(files: list[Path]) -> None:
    first, last = seq_of(lines_of(files[1])[0]), seq_of(lines_of(files[3])[-1])
    for path in files[1:4]:
        path.unlink()
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[4]), 1, "missing-file")
    assert f"records {first} to {last} are missing" in found.explanation


def test_the_oldest_file_must_not_be_missing_unless_the_trail_says_so(files: list[Path]) -> None:
    last = seq_of(lines_of(files[0])[-1])
    files[0].unlink()
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[1]), 1, "missing-file")
    assert found.explanation == (
        f"records 1 to {last} are missing before record {last + 1}, and no record says that keep_files removed them"
    )
    # As files that are named one by one they are as whole as they say they are.
    report = verify_files(files[1:])
    assert report.ok
    assert report.missing_before == last


async def test_a_file_missing_beyond_what_keep_files_removed_is_found(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating(keep_files=4)
    await sink.start()
    for number in range(60):
        await sink.write(record(number))
    await sink.stop()
    report = verify(sink.path)
    assert report.ok
    assert report.expired
    oldest = closed_files(sink.path)[0][1]
    behind = seq_of(lines_of(oldest)[-1])
    oldest.unlink()
    found = problem_of(sink.path)
    assert found.kind == "missing-file"
    assert found.explanation.startswith(f"records 1 to {behind} are missing")


def test_a_missing_newest_file_is_found_by_the_head_and_said_without_it(files: list[Path]) -> None:
    head = verify(files[-1]).head
    files[-1].unlink()
    report = verify(files[-1])
    assert report.ok
    assert report.followed
    assert report.files == len(files) - 1
    found = problem_of(files[-1], head=head)
    assert (found.file, found.kind) == (str(files[-2]), "head-mismatch")
    assert "cut off the end" in found.explanation


def test_a_cut_end_is_found_by_the_head(files: list[Path]) -> None:
    head = verify(files[-1]).head
    lines = lines_of(files[-1])
    files[-1].write_bytes(b"".join(lines[:-1]))
    assert verify(files[-1]).ok
    assert problem_of(files[-1], head=head).kind == "head-mismatch"
    assert problem_of(files[-1], checkpoint=head).kind == "head-mismatch"


def test_an_old_head_is_named_with_its_file(files: list[Path]) -> None:
    lines = lines_of(files[1])
    found = problem_of(files[-1], head=hash_of(lines[1]))
    behind = verify(files[-1]).records - len(lines_of(files[0])) - 2
    assert found.explanation.startswith(f"the head that was given is that of line 2 of {files[1].name}, and {behind} ")


def test_two_files_with_each_others_names_are_reordered(files: list[Path], tmp_path: Path) -> None:
    files[1].rename(tmp_path / "aside")
    files[2].rename(files[1])
    (tmp_path / "aside").rename(files[2])
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[1]), 1, "reordered")
    assert f"which is at line 1 of {files[2].name}" in found.explanation


def test_records_exchanged_between_files_are_reordered(files: list[Path]) -> None:
    first, second = lines_of(files[1]), lines_of(files[3])
    first[1], second[1] = second[1], first[1]
    files[1].write_bytes(b"".join(first))
    files[3].write_bytes(b"".join(second))
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[1]), 2, "reordered")
    assert f"line 2 of {files[3].name}" in found.explanation


def test_a_file_that_is_there_twice_is_found(files: list[Path]) -> None:
    copy = files[1].with_name("audit-000000000000999.jsonl")
    shutil.copy(files[1], copy)
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(copy), 1, "reordered")
    # Named one by one as well; and the same file under two names is one.
    report = verify_files([*files, copy])
    assert report.problem is not None
    assert report.problem.kind == "reordered"
    copy.unlink()
    copy.hardlink_to(files[1])
    assert verify_files([*files, copy]).ok


def test_a_trail_that_was_exchanged_for_an_older_one_is_found(files: list[Path]) -> None:
    shutil.copy(files[2], files[-1])
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[-1]), 1, "reordered")


def test_files_of_other_names_are_put_in_order_by_what_they_hold(files: list[Path], tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    named = [archive / name for name in ("d", "a", "c", "b", "f", "e")]
    for path, name in zip(files, named, strict=True):
        shutil.copy(path, name)
    report = verify_files(named)
    assert report.ok
    assert report.records == sum(len(lines_of(path)) for path in files)


def test_a_first_line_added_to_hide_what_was_before_is_found(files: list[Path]) -> None:
    # Somebody removes the first files, and begins the next with a line that accounts for them.
    lines = lines_of(files[2])
    begin = seal(seq_of(lines[0]), "ab" * 32, continued_body(0.0, "audit-000000000000001.jsonl", 3, seq_of(lines[0])))
    files[2].write_bytes(b"".join([begin[0], *lines[1:]]))
    files[0].unlink()
    files[1].unlink()
    found = problem_of(files[-1])
    assert (found.file, found.line, found.kind) == (str(files[2]), 1, "altered")


def test_files_put_one_behind_the_other_are_still_the_same_chain(files: list[Path], tmp_path: Path) -> None:
    whole = tmp_path / "archive" / "all.jsonl"
    whole.parent.mkdir()
    whole.write_bytes(b"".join(path.read_bytes() for path in files))
    report = verify(whole)
    assert report.ok
    assert report.head == verify(files[-1]).head


def test_a_trail_with_no_file_at_all_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "audit.jsonl")
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none" / "audit.jsonl")
    assert verify_directory(tmp_path) == ()


# Reading.


def numbers(found: list[Any]) -> list[int]:
    return [record.fields["seq"] for record in found]


def test_records_are_read_over_all_files_oldest_first(files: list[Path]) -> None:
    last = verify(files[-1]).records
    assert numbers(list(records(files[-1]))) == list(range(1, last + 1))
    assert numbers(list(records(files[1]))) == [seq_of(line) for line in lines_of(files[1])]


def test_the_last_records_are_read_over_as_many_files_as_it_takes(files: list[Path]) -> None:
    last = verify(files[-1]).records
    for count in (0, 1, 3, 4, 7, last - 1, last, last + 5):
        with Follower(files[-1]) as follower:
            assert numbers(follower.last(count)) == list(range(max(1, last + 1 - count), last + 1))
            assert list(follower.new()) == []


async def test_a_trail_is_followed_over_its_rotations(rotating: MakeSink, record: MakeRecord) -> None:
    sink = rotating()
    await sink.start()
    await sink.write(record(0))
    with Follower(sink.path) as follower:
        found = follower.last(10)
        number = 0
        # None, one and several files are closed between two looks.
        for count in (1, 0, 2, 3, 11, 30, 1, 4):
            for _ in range(count):
                number += 1
                await sink.write(record(number))
            found += list(follower.new())
        await sink.stop()
        found += list(follower.new())
    assert sink.statistics().rotations > 8
    assert numbers(found) == list(range(1, sink.statistics().seq + 1))


async def test_what_was_written_just_before_a_file_was_closed_is_followed(
    rotating: MakeSink, record: MakeRecord
) -> None:
    sink = rotating(rotate_bytes=1)
    await sink.start()
    await sink.write(record(0))
    with Follower(sink.path) as follower:
        found = follower.last(10)
        reading = follower.new()
        for number in range(1, 20):
            await sink.write(record(number))
            # In the middle of its reading it meets files that did not exist when it began.
            found += [one for one in [next(reading, None)] if one is not None]
        await sink.stop()
        found += list(reading)
        found += list(follower.new())
    assert numbers(found) == list(range(1, sink.statistics().seq + 1))


async def test_a_follower_that_is_late_goes_on_with_the_oldest_file_that_is_left(
    rotating: MakeSink, record: MakeRecord
) -> None:
    sink = rotating(keep_files=2)
    await sink.start()
    await sink.write(record(0))
    with Follower(sink.path) as follower:
        found = follower.last(10)
        for number in range(1, 40):
            await sink.write(record(number))
        await sink.stop()
        found += list(follower.new())
    read = numbers(found)
    assert read == sorted(set(read))
    oldest = seq_of(lines_of(closed_files(sink.path)[0][1])[0])
    assert [number for number in read if number >= oldest] == list(range(oldest, sink.statistics().seq + 1))
