"""What every remote executor must do, as a suite that its author subclasses."""

from __future__ import annotations

import threading
import time
from concurrent.futures import CancelledError, wait
from functools import partial
from pathlib import Path

import pytest

from mfn_core.compute import CancelToken, RemoteExecutor
from mfn_core.errors import Code, MfnError

__all__ = ["RemoteExecutorSuite"]

LONG_SECONDS = 60.0
"""Nothing here takes so long; a job that nobody stops does."""


class RemoteExecutorSuite:
    """Subclass it under a name that begins with `Test`, and give the fixture `executor`: one that was started.

    Its workers have `mfn_core` and pytest installed, and see the same file system. It may be one for all tests.
    """

    @pytest.fixture
    def executor(self) -> RemoteExecutor:
        """A started executor with at least one slot."""
        raise NotImplementedError("give the fixture `executor`")  # what the subclass is for

    def test_it_is_told_from_an_executor_of_threads(self, executor: RemoteExecutor) -> None:
        assert isinstance(executor, RemoteExecutor)
        assert executor.remote is True
        assert executor.slots >= 1

    def test_what_a_job_returns_comes_back(self, executor: RemoteExecutor) -> None:
        results = [executor.submit(partial(_square, number)) for number in range(20)]
        assert [result.result(LONG_SECONDS) for result in results] == [number**2 for number in range(20)]

    def test_a_job_gets_values_and_not_the_caller_s_objects(self, executor: RemoteExecutor) -> None:
        seen: list[int] = []
        assert executor.submit(partial(_append, seen)).result(LONG_SECONDS) == [1]
        assert seen == []

    def test_what_a_job_raises_comes_back_as_itself(self, executor: RemoteExecutor) -> None:
        with pytest.raises(MfnError) as failed:
            executor.submit(_refuse).result(LONG_SECONDS)
        assert (failed.value.code, failed.value.message) == (Code.OUT_OF_RANGE, "beyond the end")
        assert (failed.value.retry_after, dict(failed.value.details)) == (3.0, {"limit": "end"})
        with pytest.raises(ZeroDivisionError):
            executor.submit(_divide).result(LONG_SECONDS)

    def test_submitting_does_not_wait_for_the_work(self, executor: RemoteExecutor, tmp_path: Path) -> None:
        began = time.monotonic()
        futures = [executor.submit(partial(_until_cancelled, tmp_path / str(n))) for n in range(executor.slots + 2)]
        assert time.monotonic() - began < 5.0
        for future in futures:
            future.cancel()

    def test_a_job_at_work_finds_its_token_set_when_its_future_is_cancelled(
        self, executor: RemoteExecutor, tmp_path: Path
    ) -> None:
        future = executor.submit(partial(_until_cancelled, tmp_path / "job"))
        _await_file(tmp_path / "job.started")
        assert future.cancel()
        _await_file(tmp_path / "job.stopped")
        with pytest.raises(CancelledError):
            future.result(LONG_SECONDS)

    def test_a_job_that_waits_never_runs_once_it_is_cancelled(self, executor: RemoteExecutor, tmp_path: Path) -> None:
        held = [executor.submit(partial(_until_cancelled, tmp_path / f"h{n}")) for n in range(executor.slots)]
        for number in range(executor.slots):
            _await_file(tmp_path / f"h{number}.started")
        waiting = executor.submit(partial(_until_cancelled, tmp_path / "waiting"))
        assert waiting.cancel()
        for future in held:
            future.cancel()
        # Jobs that come after it run, and it has not.
        wait([executor.submit(partial(_square, n)) for n in range(2 * executor.slots)], LONG_SECONDS)
        assert not (tmp_path / "waiting.started").exists()

    def test_it_serves_several_threads(self, executor: RemoteExecutor) -> None:
        found: dict[int, int] = {}

        def ask(number: int) -> None:
            found[number] = executor.submit(partial(_square, number)).result(LONG_SECONDS)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {number: number**2 for number in range(8)}


def _square(number: int, cancel: CancelToken) -> int:
    return -1 if cancel.is_set() else number**2


def _append(seen: list[int], cancel: CancelToken) -> list[int]:
    seen.append(1)
    return seen


def _refuse(cancel: CancelToken) -> None:
    raise MfnError(Code.OUT_OF_RANGE, "beyond the end", retry_after=3.0, details={"limit": "end"})


def _divide(cancel: CancelToken) -> float:
    return 1 / 0


def _until_cancelled(path: Path, cancel: CancelToken) -> None:
    """Say that it began, work until it is told to stop, and say that it was."""
    path.with_suffix(".started").touch()
    until = time.monotonic() + LONG_SECONDS
    while not cancel.is_set():
        if time.monotonic() > until:
            return
        time.sleep(0.005)  # stands for a slice of work
    path.with_suffix(".stopped").touch()


def _await_file(path: Path) -> None:
    until = time.monotonic() + LONG_SECONDS
    while not path.exists():
        assert time.monotonic() < until, f"{path.name} never came"
        time.sleep(0.005)
