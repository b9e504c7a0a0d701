"""The journal: whatever ends the process, what was finished is there, and nothing that is not whole."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn.sweeps import JournalError
from mfn.sweeps._journal import Journal

HEADER = {"plan": {"grid": 32}, "engine": "numpy"}


def outcome(number: int, value: float = 1.0) -> dict[str, Any]:
    return {"sim_id": number, "features": {"V_mean": value}, "growth_events": 3, "counters": {}}


def failure(number: int) -> dict[str, Any]:
    return {"sim_id": number, "error": {"type": "E", "message": "m"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def filled(path: Path, count: int = 5) -> bytes:
    journal = Journal(path, HEADER, count)
    for number in (2, 0, 3):
        journal.add(outcome(number, number / 7))
    journal.close()
    return path.read_bytes()


def test_it_gives_back_what_was_added_in_the_order_of_the_simulations(path: Path) -> None:
    filled(path)
    journal = Journal(path, HEADER, 5)
    assert journal.done == 3
    assert [number in journal for number in range(5)] == [True, False, True, True, False]
    assert list(journal.outcomes(failed=False)) == [outcome(0, 0.0), outcome(2, 2 / 7), outcome(3, 3 / 7)]
    assert journal.header["plan"] == HEADER["plan"]
    journal.close()


@given(value=st.floats())
def test_a_number_comes_back_as_it_was(value: float) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as directory:
        file = Path(directory) / "j"
        journal = Journal(file, HEADER, 1)
        journal.add(outcome(0, value))
        journal.close()
        journal = Journal(file, HEADER, 1)
        (found,) = journal.outcomes(failed=False)
        journal.close()
    back = found["features"]["V_mean"]
    assert back == value or (math.isnan(back) and math.isnan(value))


@pytest.mark.parametrize("lost", [1, 2, 20, 60])
def test_a_torn_last_line_is_cut_off_and_the_rest_stays(path: Path, lost: int) -> None:
    whole = filled(path)
    path.write_bytes(whole[:-lost])
    journal = Journal(path, HEADER, 5)
    assert journal.done == 2
    journal.add(outcome(3, 3 / 7))
    journal.close()
    assert path.read_bytes() == whole


def test_a_last_line_that_was_altered_is_cut_off_too(path: Path) -> None:
    whole = filled(path)
    path.write_bytes(whole[:-5] + b"x" + whole[-4:])
    journal = Journal(path, HEADER, 5)
    assert journal.done == 2
    journal.close()


def test_damage_before_the_last_line_is_an_error_that_names_the_place(path: Path) -> None:
    whole = bytearray(filled(path))
    second = whole.index(b"\n") + 1
    whole[second + 30] ^= 1
    path.write_bytes(whole)
    with pytest.raises(JournalError, match=f"the line at byte {second} is damaged, and further ones follow; restore"):
        Journal(path, HEADER, 5)


@pytest.mark.parametrize("content", [b"", b"0", b'00000000 {"format"'])
def test_a_process_killed_before_it_wrote_anything_leaves_a_fresh_journal(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    journal = Journal(path, HEADER, 2)
    assert journal.done == 0
    assert journal.header["engine"] == "numpy"
    journal.close()


def test_a_file_that_is_no_journal_is_refused_and_untouched(path: Path) -> None:
    path.write_text("one line\nanother one\n")
    with pytest.raises(JournalError, match="not the journal of a sweep"):
        Journal(path, HEADER, 2)
    assert path.read_text() == "one line\nanother one\n"


def test_a_failure_is_told_apart_and_may_be_made_good(path: Path) -> None:
    journal = Journal(path, HEADER, 3)
    journal.add(failure(1))
    journal.add(outcome(2))
    assert journal.failed == {1}
    journal.close()
    journal = Journal(path, HEADER, 3)
    assert journal.failed == {1}
    assert list(journal.outcomes(failed=True)) == [failure(1)]
    journal.add(outcome(1))
    journal.close()
    journal = Journal(path, HEADER, 3)
    assert journal.failed == frozenset()
    assert [each["sim_id"] for each in journal.outcomes(failed=False)] == [1, 2]
    journal.close()


def test_two_processes_cannot_write_one_journal(path: Path) -> None:
    journal = Journal(path, HEADER, 2)
    code = (
        "import sys\nfrom pathlib import Path\nfrom mfn.sweeps._journal import Journal, JournalError\n"
        "try:\n    Journal(Path(sys.argv[1]), {}, 2)\nexcept JournalError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "another sweep is writing it" in done.stdout
    journal.close()
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_a_disk_that_fills_up_leaves_no_half_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(path, HEADER, 3)
    journal.add(outcome(0))
    before = path.read_bytes()
    write = os.write

    def first_part_then_full(descriptor: int, data: bytes) -> int:
        monkeypatch.setattr("os.write", refuse)
        return write(descriptor, data[:10])

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.write", first_part_then_full)
    with pytest.raises(OSError, match="No space"):
        journal.add(outcome(1))
    assert path.read_bytes() == before
    monkeypatch.undo()
    journal.add(outcome(1))
    journal.close()
    journal = Journal(path, HEADER, 3)
    assert journal.done == 2
    journal.close()


def test_a_line_is_its_sum_and_plain_json(path: Path) -> None:
    import zlib

    filled(path)
    for line in path.read_text().splitlines():
        total, content = line.split(" ", 1)
        assert int(total, 16) == zlib.crc32(content.encode())
        assert isinstance(json.loads(content), dict)
