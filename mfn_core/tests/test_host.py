"""`mfn serve` as a process: ready, drained, restarted, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mfn_core.host import PythonHost
from mfn_core.testing.process import ServerProcess, toml_text, wait_gone

TOY = Path(__file__).parent / "toy"
ENV = {"PYTHONPATH": str(TOY)}


def tables(**server: Any) -> dict[str, Any]:
    return {
        "server": {"plugins": ["mfn_toy.parts"], "drain_seconds": 5.0, **server},
        "audit": {"file": {"path": "audit.jsonl"}},
    }


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    with contextlib.ExitStack() as stack:

        def make(**server: Any) -> ServerProcess:
            return stack.enter_context(ServerProcess(tables(**server), tmp_path, env=ENV))

        yield make


class Line:
    """A client of the toy transport."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)
        self.file = self.socket.makefile("rw")

    def send(self, text: str) -> None:
        self.file.write(text + "\n")
        self.file.flush()

    def read(self) -> str:
        return self.file.readline().rstrip("\n")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@pytest.fixture
def connect() -> Iterator[Callable[[str], Line]]:
    with contextlib.ExitStack() as stack:

        def make(address: str) -> Line:
            line = Line(address)
            stack.callback(line.close)
            return line

        yield make


def test_sigterm_answers_what_runs_and_ends_with_0(
    start: Callable[..., ServerProcess], connect: Callable[[str], Line], tmp_path: Path
) -> None:
    server = start()
    lines = [connect(server.address("line")) for _ in range(10)]
    gate = tmp_path / "gate"
    for line in lines:
        line.send(f"/toy.Greeter/Wait sesame {gate}")
        assert line.read() == "= waiting"
    server.terminate()
    gate.touch()
    for line in lines:
        assert line.read() == "= done"
        assert line.read() == "OK "
    assert server.wait(15) == 0
    with pytest.raises(ConnectionError):
        Line(server.address("line"))


def test_a_call_that_outlasts_the_drain_ends_as_unavailable_and_the_process_ends(
    start: Callable[..., ServerProcess], connect: Callable[[str], Line], tmp_path: Path
) -> None:
    server = start(drain_seconds=0.2)
    line = connect(server.address("line"))
    line.send(f"/toy.Greeter/Wait sesame {tmp_path / 'never'}")
    assert line.read() == "= waiting"
    server.terminate()
    assert line.read().startswith("UNAVAILABLE")
    assert server.wait(15) == 0


def test_sigkill_of_the_supervisor_leaves_no_process(start: Callable[..., ServerProcess]) -> None:
    server = start()
    workers = server.worker_pids()
    assert len(workers) == 1
    server.kill()
    server.wait(5)
    assert wait_gone(workers, 5.0) == []


def test_ctrl_c_in_the_terminal_drains_too(start: Callable[..., ServerProcess]) -> None:
    server = start()
    server.process.send_signal(signal.SIGINT)
    assert server.wait(15) == 0


@pytest.mark.parametrize("asked", ["a port", "any port"])
def test_a_worker_that_crashes_is_started_again_on_the_same_port(
    start: Callable[..., ServerProcess], connect: Callable[[str], Line], tmp_path: Path, asked: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1] if asked == "a port" else 0
    made = tables()
    made["transports"] = {"line": {"listen": f"127.0.0.1:{port}"}}
    with ServerProcess(made, tmp_path, env=ENV) as server:
        (first,) = server.worker_pids()
        line = connect(server.address("line"))
        line.send("/toy.Greeter/Crash sesame x")
        assert line.read() == ""
        assert wait_gone([first], 5.0) == []
        greeted = _retried(lambda: connect(server.address("line")))
        greeted.send("/toy.Greeter/Greet sesame again")
        assert greeted.read().startswith("= hello again")
        assert server.worker_pids() != [first]
        assert f"pid {first}) ended with status 3" in server.stderr_text()


def _retried(attempt: Callable[[], Line]) -> Line:
    import time

    deadline = time.monotonic() + 20
    while True:
        try:
            return attempt()
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)  # nothing tells that the port is open again but trying it


def run(directory: Path, tables_: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    config = directory / "mfn.toml"
    config.write_text(toml_text(tables_))
    return subprocess.run(
        [sys.executable, "-m", "mfn_core", "serve", "-c", str(config)],
        env={**os.environ, **ENV},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_wrong_configuration_is_one_screen_and_status_2(tmp_path: Path) -> None:
    wrong = tables(engin="numpy", plugins=["mfn_toy.parts", "transport_grcp"])
    wrong["limits"] = {"slots": {"free": "many"}}
    done = run(tmp_path, wrong)
    assert done.returncode == 2
    assert "server.engin" in done.stderr
    assert "transport_grcp" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) < 40
    assert not (tmp_path / "audit.jsonl").exists()


def test_a_port_in_use_is_status_2_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        made = tables()
        made["transports"] = {"line": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}}
        done = run(tmp_path, made)
    assert done.returncode == 2
    assert "transports.line" in done.stderr
    assert not (tmp_path / "audit.jsonl").exists()


def test_a_part_that_cannot_start_is_one_screen_too(tmp_path: Path) -> None:
    made = tables()
    made["audit"] = {"file": {"path": "missing/audit.jsonl"}}
    done = run(tmp_path, made)
    assert done.returncode != 0
    assert "audit.jsonl" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_a_worker_runs_on_the_event_loop_that_is_named(
    start: Callable[..., ServerProcess], connect: Callable[[str], Line], event_loop: str
) -> None:
    server = start(event_loop=event_loop)
    (worker,) = server.worker_pids()
    assert ("uvloop/" in Path(f"/proc/{worker}/maps").read_text()) is (event_loop == "uvloop")
    line = connect(server.address("line"))
    line.send("/toy.Greeter/Greet sesame you")
    assert line.read().startswith("= hello you")
    server.terminate()
    assert server.wait(15) == 0


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="a policy of Linux")
@pytest.mark.parametrize(("scheduling", "policy"), [("batch", "SCHED_BATCH"), ("normal", "SCHED_OTHER")])
def test_threads_of_a_server_are_scheduled_as_configured(
    start: Callable[..., ServerProcess], scheduling: str, policy: str
) -> None:
    server = start(scheduling=scheduling)
    (worker,) = server.worker_pids()
    threads = [int(each.name) for each in Path(f"/proc/{worker}/task").iterdir()]
    assert {os.sched_getscheduler(each) for each in threads} == {getattr(os, policy)}


def test_an_event_loop_that_is_not_installed_is_asked_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (problem,) = PythonHost("uvloop").problems()
    assert "install mfn-core[uvloop]" in problem
    automatic = PythonHost("auto")
    assert not list(automatic.problems())
    assert automatic.command(Path(), worker=0, workers=1).argv[-1] == "asyncio"


def test_a_worker_is_started_by_a_supervisor_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core.host.worker"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert "mfn serve" in done.stderr
