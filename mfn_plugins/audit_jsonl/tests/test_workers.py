"""Several workers of one server: a trail each, proved and read together."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mfn_audit_jsonl import JsonlSettings, JsonlSink, verify, verify_directory
from mfn_audit_jsonl._format import GENESIS, opened_body, seal
from mfn_audit_jsonl._names import worker_path
from mfn_audit_jsonl.commands import audit
from mfn_core import AuditRecord

MakeRecord = Callable[..., AuditRecord]
MakeTrail = Callable[[int], Path]

WORKERS = 3
STARTED = time.time() - 120.0


def run(*arguments: object) -> Result:
    return CliRunner().invoke(audit, [str(argument) for argument in arguments])


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


async def served(path: Path, record: MakeRecord, *, workers: int = WORKERS, calls: int = 4) -> list[JsonlSink]:
    """What a server leaves whose workers have taken calls in turn."""
    settings = JsonlSettings(path=path)
    sinks = [JsonlSink(settings, worker=worker, workers=workers) for worker in range(workers)]
    for sink in sinks:
        await sink.start()
    for number in range(calls * workers):
        moment = STARTED + number
        await sinks[number % workers].write(record(number, time=moment, principal=f"worker-{number % workers}"))
    for sink in sinks:
        await sink.stop()
    return sinks


@pytest.fixture
async def directory(tmp_path: Path, record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The trails of three workers of a server that was started two minutes ago."""
    monkeypatch.setattr("mfn_audit_jsonl.sink.time.time", lambda: STARTED)
    await served(tmp_path / "audit.jsonl", record)
    monkeypatch.undo()
    return tmp_path


async def test_each_worker_has_a_trail_that_is_whole_for_its_own_calls(tmp_path: Path, record: MakeRecord) -> None:
    sinks = await served(tmp_path / "audit.jsonl", record)
    assert [sink.path.name for sink in sinks] == ["audit.w0.jsonl", "audit.w1.jsonl", "audit.w2.jsonl"]
    for worker, sink in enumerate(sinks):
        opened, *calls = lines(sink.path)
        assert (opened["event"], opened["worker"], opened["workers"]) == ("opened", worker, 3)
        assert {call["principal"] for call in calls} == {f"worker-{worker}"}
        assert verify(sink.path, sink.statistics().head).records == 5
    reports = verify_directory(tmp_path, [sink.statistics().head for sink in sinks])
    assert [report.trail for report in reports] == [str(sink.path) for sink in sinks]
    assert all(report.ok for report in reports)


async def test_a_worker_that_is_started_again_goes_on_with_its_own_trail(tmp_path: Path, record: MakeRecord) -> None:
    for _ in range(2):
        (*_, last) = await served(tmp_path / "audit.jsonl", record)
    assert [line.get("event") for line in lines(last.path)] == ["opened", *[None] * 4, "opened", *[None] * 4]
    assert all(report.ok for report in verify_directory(tmp_path))


async def test_two_workers_of_one_index_are_refused(tmp_path: Path) -> None:
    first, second = (JsonlSink(JsonlSettings(path=tmp_path / "a.jsonl"), worker=1, workers=2) for _ in range(2))
    await first.start()
    with pytest.raises(BlockingIOError, match=r"a\.w1\.jsonl is in use by another server"):
        await second.start()
    await first.stop()


async def test_one_worker_alone_writes_to_the_file_that_is_configured(tmp_path: Path, record: MakeRecord) -> None:
    (sink,) = await served(tmp_path / "audit.jsonl", record, workers=1)
    assert sink.path == tmp_path / "audit.jsonl"
    assert len(lines(sink.path)) == 4


@pytest.mark.parametrize("worker", range(WORKERS))
def test_the_trail_of_a_worker_that_was_removed_is_missed(directory: Path, worker: int) -> None:
    gone = worker_path(directory / "audit.jsonl", worker)
    gone.unlink()
    (missing,) = [report for report in verify_directory(directory) if not report.ok]
    assert missing.trail == str(gone)
    assert missing.tampered
    assert missing.problem is not None
    assert missing.problem.kind == "missing-file"
    assert f"the trail of worker {worker} is not here" in missing.problem.explanation
    assert "had 3 workers" in missing.problem.explanation


async def test_workers_of_a_server_that_starts_are_not_missed_yet(tmp_path: Path, record: MakeRecord) -> None:
    sinks = await served(tmp_path / "audit.jsonl", record)
    sinks[1].path.unlink()
    assert all(report.ok for report in verify_directory(tmp_path))


async def test_workers_that_a_later_server_has_no_more_are_not_missed(directory: Path, record: MakeRecord) -> None:
    await served(directory / "audit.jsonl", record, workers=2)
    worker_path(directory / "audit.jsonl", 2).unlink()
    assert all(report.ok for report in verify_directory(directory))


def test_a_forged_number_of_workers_makes_no_endless_report(tmp_path: Path) -> None:
    line, _ = seal(1, GENESIS, opened_body(0.0, 0, 2**62))
    (tmp_path / "audit.w0.jsonl").write_bytes(line)
    assert len(verify_directory(tmp_path)) == 1024


def test_heads_prove_every_trail_of_a_directory(directory: Path) -> None:
    heads = [report.head for report in verify_directory(directory)]
    assert all(report.ok for report in verify_directory(directory, heads))
    assert all(report.ok for report in verify_directory(directory, reversed(heads), checkpoints=heads[1:]))

    path = worker_path(directory / "audit.jsonl", 1)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    assert all(report.ok for report in verify_directory(directory))
    found = [report for report in verify_directory(directory, heads) if not report.ok]
    assert [report.trail for report in found] == [str(path), str(directory)]
    assert {report.problem.kind for report in found if report.problem} == {"head-mismatch"}
    (cut,) = [report for report in verify_directory(directory, checkpoints=heads) if not report.ok]
    assert cut.problem is not None
    assert f"no trail here has the record {heads[1]}" in cut.problem.explanation


def test_a_removed_trail_is_found_by_its_head(directory: Path) -> None:
    heads = [report.head for report in verify_directory(directory)]
    worker_path(directory / "audit.jsonl", 2).unlink()
    found = [report for report in verify_directory(directory, heads) if not report.ok]
    assert f"no trail here ends with the head {heads[2]}" in str([report.problem for report in found])


# The commands.


def test_verify_of_a_directory_reports_every_trail(directory: Path) -> None:
    found = run("verify", directory)
    assert found.exit_code == 0
    assert found.output.count(": whole: 5 records, ") == 3
    assert found.output.count("\nhead ") == 3
    heads = [line.split()[1] for line in found.output.splitlines() if line.startswith("head ")]
    given = [argument for head in heads for argument in ("--head", head)]
    assert run("verify", directory, *given).exit_code == 0
    assert run("verify", directory, *given[:2]).exit_code == 1
    assert run("verify", directory, "--checkpoint", heads[0], "--checkpoint", heads[2]).exit_code == 0


def test_verify_of_a_directory_fails_for_one_trail_that_is_not_whole(directory: Path) -> None:
    path = worker_path(directory / "audit.jsonl", 1)
    path.write_bytes(path.read_bytes().replace(b"worker-1", b"worker-9", 1))
    found = run("verify", directory)
    assert found.exit_code == 1
    assert f"{path}: line 2 (byte " in found.output
    assert found.output.count(": whole: ") == 2
    report = json.loads(run("verify", directory, "--json").output)
    assert (report["ok"], report["tampered"]) == (False, True)
    assert [trail["ok"] for trail in report["trails"]] == [True, False, True]


def test_verify_of_a_directory_names_a_worker_that_is_missing(directory: Path) -> None:
    gone = worker_path(directory / "audit.jsonl", 1)
    gone.unlink()
    found = run("verify", directory)
    assert found.exit_code == 1
    assert f"{gone}: missing-file: the trail of worker 1 is not here" in found.output


def test_query_and_tail_of_a_directory_put_the_trails_together_by_time(directory: Path) -> None:
    found = run("query", directory, "--json")
    calls = [json.loads(line) for line in found.output.splitlines()]
    principals = [call["principal"] for call in calls if "principal" in call]
    assert principals == [f"worker-{number % 3}" for number in range(12)]
    found = run("query", directory, "--principal", "worker-1", "--limit", 2, "--json")
    assert [json.loads(line)["principal"] for line in found.output.splitlines()] == ["worker-1"] * 2
    found = run("tail", directory, "-n", 3, "--json")
    times = [json.loads(line)["time"] for line in found.output.splitlines()]
    assert len(times) == 3
    assert times == sorted(times)


def test_tail_follows_every_trail_of_a_directory(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [worker_path(directory / "audit.jsonl", worker) for worker in (2, 0)]
    rest = iter([paths[0], None, paths[1]])

    def pause(seconds: float) -> None:
        path = next(rest, directory)
        if path is directory:
            raise KeyboardInterrupt
        if path is not None:
            path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[1])

    monkeypatch.setattr("mfn_audit_jsonl.following.time.sleep", pause)
    found = run("tail", directory, "-f", "-n", 0, "--json")
    assert found.exit_code == 0
    assert [json.loads(line)["principal"] for line in found.output.splitlines()] == ["worker-2", "worker-0"]


def test_a_directory_may_hold_trails_of_several_servers(directory: Path, trail: MakeTrail) -> None:
    path = trail(3)
    reports = verify_directory(directory)
    assert reports[0].trail == str(path)
    assert all(report.ok for report in reports)
