"""The sink after a crash: nothing that was acknowledged is lost, and nothing torn is hidden."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mfn_audit_jsonl import JsonlSink, verify
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeSink = Callable[..., JsonlSink]
MakeTrail = Callable[[int], Path]

TIMEOUT = 30.0
WRITER = Path(__file__).parent / "trail_writer.py"


def ids(path: Path) -> list[str]:
    """Call ids of the records that are whole."""
    found = (json.loads(line) for line in path.read_bytes().split(b"\n")[:-1])
    return [record["call_id"] for record in found if "call_id" in record]


def acknowledged_until_killed(path: Path) -> list[str]:
    """Call ids that a process acknowledged before it was killed in the middle of its work."""
    with subprocess.Popen([sys.executable, str(WRITER), "forever", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = [process.stdout.readline().decode().strip() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        found += process.stdout.read().decode().split("\n")[:-1]
        assert process.wait(TIMEOUT) == -signal.SIGKILL
    return found


async def test_every_acknowledged_record_survives_a_kill(
    make_sink: MakeSink, record: MakeRecord, tmp_path: Path
) -> None:
    path = tmp_path / "audit.jsonl"
    acknowledged = await asyncio.to_thread(acknowledged_until_killed, path)
    report = verify(path)
    assert not report.tampered
    assert set(acknowledged) <= set(ids(path))

    # The kill may have come between two writes: tear a line as one in the middle of a write does.
    with path.open("ab") as file:
        file.write(b'{"seq":99,"prev":"0000')
    torn = verify(path)
    assert not torn.ok
    assert not torn.tampered
    before = ids(path)[: report.records]
    sink = make_sink(path)
    await sink.start()
    await sink.write(record(1))
    await sink.stop()
    after = verify(path, sink.statistics().head)
    assert after.ok
    assert after.records == report.records + 2
    assert ids(path) == [*before, record(1).call_id]
    assert set(acknowledged) <= set(before)


@pytest.mark.parametrize("cut", [1, 30, 500])
async def test_a_torn_record_is_kept_beside_the_trail_and_noted_in_the_chain(
    make_sink: MakeSink, record: MakeRecord, trail: MakeTrail, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    path = trail(4)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    start = whole[:-1].rindex(b"\n") + 1
    torn = whole[start:-cut]
    sink = make_sink(path)
    await sink.start()
    await sink.write(record(5))
    await sink.stop()
    assert verify(path, sink.statistics().head).records == 5
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5]
    marker = lines[3]
    assert marker["event"] == "torn"
    assert marker["torn_bytes"] == len(torn)
    assert marker["torn_sha256"] == hashlib.sha256(torn).hexdigest()
    evidence = path.with_name(marker["kept_in"])
    assert evidence.read_bytes() == torn
    assert evidence.stat().st_mode & 0o777 == 0o600
    assert f"its {len(torn)} bytes are kept in {evidence}" in caplog.text


async def test_earlier_evidence_is_never_written_over(make_sink: MakeSink, trail: MakeTrail) -> None:
    path = trail(2)
    whole = path.read_bytes()
    found = []
    for torn in (b"first", b"second"):
        path.write_bytes(whole + torn)
        sink = make_sink(path)
        await sink.start()
        await sink.stop()
        found.append(json.loads(path.read_bytes().splitlines()[2])["kept_in"])
    assert [path.with_name(name).read_bytes() for name in found] == [b"first", b"second"]


async def test_a_trail_that_is_nothing_but_a_torn_record_begins_anew(make_sink: MakeSink, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"\0" * 300_000)
    sink = make_sink(path)
    await sink.start()
    await sink.stop()
    report = verify(path)
    assert report.ok
    assert report.records == 1
    marker = json.loads(path.read_bytes())
    assert path.with_name(marker["kept_in"]).read_bytes() == b"\0" * 300_000


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (b"\n", "expecting value"),
        (b"junk\n", "expecting value"),
        (b"x" * 400_000 + b"\n", "longer than 262144 bytes"),
        (b'{"seq":9}\n', "its hash does not match its content"),
    ],
)
async def test_nothing_is_chained_to_a_last_line_that_is_no_record(
    make_sink: MakeSink, trail: MakeTrail, end: bytes, why: str
) -> None:
    path = trail(3)
    path.write_bytes(before := path.read_bytes() + end)
    with pytest.raises(OSError, match=f"is not intact .*{why}.*mfn audit verify"):
        await make_sink(path).start()
    assert path.read_bytes() == before
    # The refused start holds no lock.
    path.write_bytes(before[: -len(end)])
    sink = make_sink(path)
    await sink.start()
    await sink.stop()


async def test_an_altered_last_record_is_not_built_upon(make_sink: MakeSink, trail: MakeTrail) -> None:
    path = trail(3)
    path.write_bytes(path.read_bytes()[:-200] + path.read_bytes()[-200:].replace(b"127.0.0.1", b"127.0.0.2"))
    with pytest.raises(OSError, match="its hash does not match its content"):
        await make_sink(path).start()
