"""`mfn audit`."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mfn_audit_jsonl._file import TrailFile
from mfn_audit_jsonl._format import body_of, seal
from mfn_audit_jsonl._names import closed_files
from mfn_audit_jsonl._rotation import RotationPolicy
from mfn_audit_jsonl.commands import audit
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeTrail = Callable[[int], Path]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def head_of(path: Path) -> str:
    return str(json.loads(path.read_bytes().splitlines()[-1])["hash"])


def test_the_command_is_found_by_its_entry_point() -> None:
    (found,) = entry_points(group="mfn.commands.v1", name="audit")
    assert found.load() is audit


def test_help_loads_neither_a_server_nor_attrs() -> None:
    script = (
        "import sys, mfn_audit_jsonl.commands; print([m for m in ('attrs', 'asyncio', 'mfn_core') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_verify_says_that_a_trail_is_whole_and_its_head(trail: MakeTrail) -> None:
    path = trail(12)
    found = run("verify", path)
    assert found.exit_code == 0
    assert f"{path}: whole: 12 records, 2026-01-01T00:00:01.500000Z to 2026-01-01T00:00:12.500000Z" in found.output
    assert f"head {head_of(path)}" in found.output
    assert run("verify", path, "--head", head_of(path).upper()).exit_code == 0


def test_verify_of_an_empty_trail_is_whole(trail: MakeTrail) -> None:
    found = run("verify", trail(0))
    assert found.exit_code == 0
    assert "whole: 0 records" in found.output


def test_verify_names_the_line_that_was_altered(trail: MakeTrail) -> None:
    path = trail(12)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b'"principal":"alice"', b'"principal":"mally"')
    path.write_bytes(b"".join(lines))
    found = run("verify", path)
    assert found.exit_code == 1
    offset = sum(map(len, lines[:6]))
    assert f"{path}: line 7 (byte {offset}): altered: the hash of record 7 does not match" in found.output
    assert "intact before it: 6 records" in found.output


def test_verify_does_not_call_a_torn_line_tampering(trail: MakeTrail) -> None:
    path = trail(3)
    path.write_bytes(path.read_bytes()[:-7])
    found = run("verify", path)
    assert found.exit_code == 1
    assert "line 3 " in found.output
    assert "no sign of tampering" in found.output


def test_verify_compares_the_head_and_the_checkpoint(trail: MakeTrail) -> None:
    path = trail(5)
    kept = head_of(path)
    whole = path.read_bytes()
    path.write_bytes(b"".join(whole.splitlines(keepends=True)[:3]))
    for option in ("--head", "--checkpoint"):
        found = run("verify", path, option, kept)
        assert found.exit_code == 1
        assert "line 3 " in found.output
        assert "head-mismatch" in found.output
    early = head_of(path)
    path.write_bytes(whole)
    assert run("verify", path, "--head", early).exit_code == 1
    assert run("verify", path, "--checkpoint", early).exit_code == 0


def test_verify_prints_json_for_programs(trail: MakeTrail) -> None:
    path = trail(3)
    found = run("verify", path, "--json")
    assert found.exit_code == 0
    assert json.loads(found.output) == {
        "ok": True,
        "tampered": False,
        "trails": [
            {
                "trail": str(path),
                "ok": True,
                "tampered": False,
                "files": 1,
                "records": 3,
                "first_record": 1,
                "first_time": "2026-01-01T00:00:01.500000Z",
                "last_time": "2026-01-01T00:00:03.500000Z",
                "head": head_of(path),
                "missing_before": 0,
                "expired": False,
                "followed": False,
                "problem": None,
            }
        ],
    }
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    found = run("verify", path, "--json")
    assert found.exit_code == 1
    assert json.loads(found.output)["ok"] is False
    assert json.loads(found.output)["trails"][0]["problem"] == {
        "file": str(path),
        "line": 1,
        "offset": 0,
        "kind": "removed",
        "explanation": "record 1 is missing before record 2",
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["verify", "none.jsonl"], "none.jsonl: does not exist"),
        (["tail", "none.jsonl"], "none.jsonl: does not exist"),
        (["query", "none.jsonl"], "none.jsonl: does not exist"),
        (["verify"], "Missing argument 'PATH...'"),
        (["verify", "EMPTY"], "no trail is in this directory: none is named *.jsonl"),
        (["tail", "EMPTY"], "no trail is in this directory: none is named *.jsonl"),
        (["verify", "EMPTY", "FILE"], "name one directory, or files of one trail"),
        (["verify", "FILE", "--head", "a" * 64, "--head", "b" * 64], "one trail has one head"),
        (["verify", "FILE", "--head", "abc"], "is not a hash of 64 hexadecimal characters"),
        (["query", "FILE", "--since", "soon"], "'soon' is no moment"),
    ],
)
def test_wrong_arguments_exit_with_2(trail: MakeTrail, tmp_path: Path, arguments: list[str], why: str) -> None:
    names = {"FILE": str(trail(1)), "EMPTY": str(tmp_path / "empty")}
    (tmp_path / "empty").mkdir()
    found = run(*[names.get(argument, argument) for argument in arguments])
    assert found.exit_code == 2
    assert why in found.output


def test_a_device_does_not_pass_for_an_empty_trail() -> None:
    found = run("verify", "/dev/null")
    assert found.exit_code == 2
    assert "/dev/null: cannot be read: not a regular file" in found.output


def test_tail_prints_the_last_records_for_a_person(trail: MakeTrail) -> None:
    found = run("tail", trail(20), "-n", 2)
    assert found.exit_code == 0
    first, second = found.output.splitlines()
    assert first.split() == [
        *("2026-01-01T00:00:19.500000Z", "OK", "1.250", "ms", "alice"),
        *("/mfn.MFNFeaturesService/ExtractFeatures", "grpc", "127.0.0.1:40112", f"{19:024x}"),
    ]
    assert f"{20:024x}" in second


def test_tail_shows_nothing_that_a_terminal_would_obey(record: MakeRecord, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    hostile = record(1, principal=None, reason="\x1b[2J\r\nOK\u202e\x07", method="/a/\x9b31m", status="INTERNAL")
    path.write_bytes(seal(1, "0" * 64, body_of(hostile))[0])
    (line,) = run("tail", path).output.splitlines()
    assert line.isprintable()
    assert r"(\u001b[2J\r\nOK\u202e\u0007)" in line
    assert " - /a/" in line


def test_tail_prints_json_for_programs(trail: MakeTrail) -> None:
    path = trail(3)
    found = run("tail", path, "--json", "-n", 2)
    assert found.output.encode() == b"".join(path.read_bytes().splitlines(keepends=True)[1:])


def test_tail_follows_until_it_is_interrupted(trail: MakeTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    path = trail(3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    rest = iter(lines[1:])

    def pause(seconds: float) -> None:
        line = next(rest, None)
        if line is None:
            raise KeyboardInterrupt
        with path.open("ab") as file:
            file.write(line)

    monkeypatch.setattr("mfn_audit_jsonl.following.time.sleep", pause)
    found = run("tail", path, "-f")
    assert found.exit_code == 0
    assert [line.split()[-1] for line in found.output.splitlines()] == [f"{n:024x}" for n in (1, 2, 3)]


def test_a_torn_record_shows_in_tail(tmp_path: Path) -> None:
    from mfn_audit_jsonl._format import torn_body

    path = tmp_path / "audit.jsonl"
    path.write_bytes(seal(7, "0" * 64, torn_body(0.0, 30, "ab" * 32, "audit.jsonl.torn-9"))[0])
    (line,) = run("tail", path).output.splitlines()
    assert line == (
        f"1970-01-01T00:00:00.000000Z seq=7 event=torn torn_bytes=30 torn_sha256={'ab' * 32} kept_in=audit.jsonl.torn-9"
    )


def test_query_prints_what_was_asked_for(record: MakeRecord, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    made = [record(1), record(2, status="UNAUTHENTICATED", principal=None, reason="replayed nonce"), record(3)]
    head = "0" * 64
    with path.open("wb") as file:
        for number, one in enumerate(made, 1):
            line, head = seal(number, head, body_of(one))
            file.write(line)
    (refused,) = run("query", path, "--status", "unauthenticated").output.splitlines()
    assert "(replayed nonce)" in refused
    found = run("query", path, "--principal", "alice", "--method", "Extract*", "--json")
    assert found.output == ""
    found = run("query", path, "--principal", "alice", "--method", "ExtractFeatures", "--json")
    assert [json.loads(line)["seq"] for line in found.output.splitlines()] == [1, 3]
    found = run("query", path, "--since", "2026-01-01T00:00:02Z", "--until", "2026-01-01T00:00:03Z", "--json")
    assert [json.loads(line)["seq"] for line in found.output.splitlines()] == [2]
    assert len(run("query", path, "--limit", 2).output.splitlines()) == 2
    assert run("query", path, "--principal", "nobody").exit_code == 0


def closed_trail(path: Path, record: MakeRecord, *, keep: int = 0) -> list[Path]:
    """Writes a trail of twelve calls, four a file."""
    file = TrailFile(path, logging.getLogger("test"), RotationPolicy(keep=keep))
    file.open()
    for number in range(12):
        if number in (4, 8):
            file.rotate(durable=False)
        file.append([body_of(record(number))])
    file.close()
    return [*(closed for _, closed in closed_files(path)), path]


def test_verify_proves_a_trail_over_its_closed_files(record: MakeRecord, tmp_path: Path) -> None:
    first, second, path = closed_trail(tmp_path / "audit.jsonl", record)
    found = run("verify", path, "--head", head_of(path))
    assert found.exit_code == 0
    assert found.output.startswith(f"{path}: whole: 14 records in 3 files, 2026-01-01T00:00:00.500000Z to ")
    assert f"head {head_of(path)}" in found.output
    assert run("verify", tmp_path).output == found.output
    assert run("verify", path, first, second).output == found.output

    lines = second.read_bytes().splitlines(keepends=True)
    second.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    found = run("verify", path)
    assert found.exit_code == 1
    assert f"{second}: line 3 (byte {sum(map(len, lines[:2]))}): removed: record 7 is missing" in found.output
    assert "intact before it: 6 records in 3 files" in found.output

    second.unlink()
    found = run("verify", tmp_path)
    assert found.exit_code == 1
    assert f"{path}: line 1 (byte 0): missing-file: records 5 to 9 are missing before record 10" in found.output


def test_verify_says_what_it_does_not_prove(record: MakeRecord, tmp_path: Path) -> None:
    first, second, path = closed_trail(tmp_path / "audit.jsonl", record)
    found = run("verify", second)
    assert found.exit_code == 0
    assert f"{second}: whole: 5 records" in found.output
    assert "not proved: records 1 to 4: not among these files" in found.output
    assert "not proved: what was recorded behind record 9: not here" in found.output
    first.unlink()
    assert run("verify", path).exit_code == 1
    found = run("verify", second, path)
    assert found.exit_code == 0
    assert "not proved: records 1 to 4: not among these files" in found.output
    assert "what was recorded behind" not in found.output


def test_verify_says_what_keep_files_removed(record: MakeRecord, tmp_path: Path) -> None:
    _, path = closed_trail(tmp_path / "audit.jsonl", record, keep=1)
    found = run("verify", path)
    assert found.exit_code == 0
    assert "not proved: records 1 to 4: keep_files removed them" in found.output
    (report,) = json.loads(run("verify", path, "--json").output)["trails"]
    assert (report["missing_before"], report["first_record"], report["expired"]) == (4, 5, True)


def test_tail_and_query_read_over_closed_files(record: MakeRecord, tmp_path: Path) -> None:
    files = closed_trail(tmp_path / "audit.jsonl", record)

    def numbers(*arguments: object) -> list[int]:
        found = run(*arguments, "--json")
        assert found.exit_code == 0
        calls = [json.loads(line) for line in found.output.splitlines()]
        return [int(call["call_id"], 16) for call in calls if "call_id" in call]

    assert numbers("query", files[-1]) == list(range(12))
    assert numbers("query", tmp_path) == list(range(12))
    # A pattern of the shell names the trail and its closed files: each record is shown once all the same.
    assert numbers("query", *files) == list(range(12))
    assert numbers("query", files[0], files[1]) == list(range(8))
    # The line that continues a file is one of the four.
    assert numbers("query", files[-1], "--since", "2026-01-01T00:00:03Z", "--limit", 4) == [3, 4, 5]
    assert numbers("tail", files[-1], "-n", 7) == [6, 7, 8, 9, 10, 11]
    assert numbers("tail", *files, "-n", 2) == [10, 11]
    assert numbers("tail", files[1], "-n", 2) == [6, 7]


def test_tail_follows_over_a_rotation(record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    file = TrailFile(path, logging.getLogger("test"))
    file.open()
    file.append([body_of(record(0))])
    rest = iter(range(1, 4))

    def pause(seconds: float) -> None:
        number = next(rest, None)
        if number is None:
            raise KeyboardInterrupt
        file.append([body_of(record(number))])
        file.rotate(durable=False)

    monkeypatch.setattr("mfn_audit_jsonl.following.time.sleep", pause)
    found = run("tail", path, "-f", "--json")
    file.close()
    assert found.exit_code == 0
    assert [json.loads(line)["seq"] for line in found.output.splitlines()] == list(range(1, 8))
