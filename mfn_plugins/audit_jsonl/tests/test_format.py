"""The line format."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_audit_jsonl._format import MAX_LINE, MAX_TEXT, _what, _whence, body_of, load_line, seal, seal_of, timestamp
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeTrail = Callable[[int], Path]

README = Path(__file__).parent.parent / "README.md"


def members(record: AuditRecord) -> dict[str, Any]:
    return dict(json.loads("{" + body_of(record) + "}"))


def test_a_line_has_every_field_of_a_record(record: MakeRecord) -> None:
    expected = {field.name for field in attrs.fields(AuditRecord)} - {"duration"} | {"duration_ms"}
    assert set(members(record(1))) == expected


def test_values_stand_in_the_line_as_they_are(record: MakeRecord) -> None:
    found = members(record(1, duration=1.2345678, reason=None, status="OK", tls_identity="CN=a"))
    assert found["time"] == "2026-01-01T00:00:01.500000Z"
    assert found["duration_ms"] == 1234.568
    assert found["reason"] is None
    assert found["tls_identity"] == "CN=a"
    assert found["bytes_out"] == 300


def test_each_record_has_its_own_of_what_most_have_in_common(record: MakeRecord) -> None:
    alike = {"principal": "a", "key_id": "b", "method": "/c.C/D", "shape": "unary", "transport": "e", "status": "OK"}
    alike |= {"peer": "f", "tls_identity": "g", "protocol": "h"}
    for name in alike:
        for values in (alike, alike | {name: "other"}, alike):
            found = members(record(1, **values))
            assert {key: found[key] for key in alike} == values


@pytest.mark.parametrize("kept", [_what, _whence], ids=["what", "whence"])
def test_what_is_kept_of_records_is_bounded(kept: Any) -> None:
    assert kept.cache_info().maxsize <= 4096


def test_the_order_of_a_line_is_fixed(record: MakeRecord) -> None:
    line, _ = seal(1, "0" * 64, body_of(record(1)))
    assert list(json.loads(line)) == [
        *("seq", "prev", "time", "call_id", "request_id", "principal", "key_id", "method", "shape", "transport"),
        *("status", "reason", "duration_ms", "messages_in", "messages_out", "bytes_in", "bytes_out", "peer"),
        *("tls_identity", "protocol", "hash"),
    ]


ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=60)


@given(text=ANY_TEXT, other=ANY_TEXT)
def test_no_text_leaves_its_place(record: MakeRecord, text: str, other: str) -> None:
    body = body_of(record(1, reason=text, peer=other, principal=text))
    line, digest = seal(3, "a" * 64, body)
    assert line.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    found = load_line(line[:-1])
    assert seal_of(line[:-1]) == digest == found["hash"]
    for value, name in ((text, "reason"), (text, "principal"), (other, "peer")):
        assert found[name] == value.encode("utf-8", "backslashreplace").decode()
    assert found["status"] == "OK"


def test_lone_surrogates_are_spelled_out(record: MakeRecord) -> None:
    found = members(record(1, reason="a\udc80b\ud83d"))
    assert found["reason"] == "a\\udc80b\\ud83d"


def test_a_long_text_is_cut_and_says_so(record: MakeRecord) -> None:
    assert members(record(1, reason="x" * MAX_TEXT))["reason"] == "x" * MAX_TEXT
    assert members(record(1, reason="x" * 5000))["reason"] == "x" * MAX_TEXT + "… (5000 characters)"


def test_the_longest_line_stays_below_its_bound(record: MakeRecord) -> None:
    wide = "\U0001f344" * 10_000
    texts = {field.name: wide for field in attrs.fields(AuditRecord) if str(field.type) in ("str", "str | None")}
    assert len(texts) == 12
    numbers = dict.fromkeys(("messages_in", "messages_out", "bytes_in", "bytes_out"), 10**30)
    line, _ = seal(2**63, "a" * 64, body_of(record(1, **texts, **numbers)))
    assert len(line) < MAX_LINE * 0.75


@pytest.mark.parametrize("duration", [math.nan, math.inf, -math.inf])
def test_a_duration_that_json_has_no_number_for_is_null(record: MakeRecord, duration: float) -> None:
    assert members(record(1, duration=duration))["duration_ms"] is None


@pytest.mark.parametrize("moment", [math.nan, math.inf, 1e18])
def test_a_time_that_is_none_is_refused(record: MakeRecord, moment: float) -> None:
    with pytest.raises((ValueError, OverflowError, OSError)):
        body_of(record(1, time=moment))


@pytest.mark.parametrize("value", ["1", 1.5, None])
def test_a_count_that_is_no_integer_is_refused(record: MakeRecord, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        body_of(record(1, bytes_in=value))


def test_times_are_in_utc_with_microseconds() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000000Z"
    assert timestamp(1767225600.123456) == "2026-01-01T00:00:00.123456Z"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "expecting value at byte 0"),
        (b"[1]", "a JSON list"),
        (b'{"a":NaN}', "NaN is not JSON"),
        (b'{"a":1', "at byte 6"),
        (b'{"a":"\xff"}', "byte 6 of the line, 0xff, is not ASCII"),
        (b"[" * 200_000, "nested"),
        (b'{"a":' + b"1" * 5000 + b"}", "limit"),
        (b'"' + b"x" * MAX_LINE + b'"', "longer than 262144 bytes"),
    ],
)
def test_a_line_that_is_no_record_is_named(line: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        load_line(line)


def test_the_script_of_the_readme_proves_a_trail(trail: MakeTrail, tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(import hashlib.*?)```", README.read_text(), flags=re.DOTALL)
    assert len(script.splitlines()) <= 15
    path = trail(5)

    def run(*more: Path) -> subprocess.CompletedProcess[str]:
        files = [str(file) for file in (path, *more)]
        return subprocess.run(
            [sys.executable, "-I", "-c", script, *files], capture_output=True, text=True, timeout=30, check=False
        )

    whole = run()
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("5 records, head ")
    assert json.loads(path.read_bytes().splitlines()[-1])["hash"] in whole.stdout

    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    rest = tmp_path / "rest.jsonl"
    rest.write_bytes(b"".join(lines[2:]))
    assert run(rest).stdout == whole.stdout
    assert "audit.jsonl: line 1 does not follow" in run(path).stderr

    for broken in (
        [*lines[:2], lines[2].replace(b"alice", b"mally"), *lines[3:]],
        [*lines[:2], *lines[3:]],
        [*lines[:2], lines[3], lines[2], lines[4]],
        [*lines[:3], lines[2], *lines[3:]],
    ):
        path.write_bytes(b"".join(broken))
        found = run()
        assert found.returncode == 1
        assert re.search(r"line [34]\b", found.stderr), found.stderr
