"""Workers that die of what they work on."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cloudpickle
import pytest

from mfn_core import CancelToken, Code, MfnError
from mfn_executor_dask import DaskExecutor, DaskSettings, LocalSettings

LONG = 100.0

# A worker is a process that takes seconds to start on a busy machine.
pytestmark = pytest.mark.slow

# The workers cannot import a test module: its functions go there as they are.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def cluster() -> Iterator[DaskExecutor]:
    """One worker."""
    executor = DaskExecutor(DaskSettings(local=LocalSettings(workers=1)), log=logging.getLogger("test"))
    executor.open()
    yield executor
    executor.close()


def test_a_worker_that_dies_once_costs_nothing_but_time(cluster: DaskExecutor, tmp_path: Path) -> None:
    assert cluster.submit(partial(_die_once, tmp_path / "died")).result(LONG) == "alive"
    assert (tmp_path / "died").exists()


def test_a_job_that_brings_its_workers_down_ends_as_internal_and_others_go_on(cluster: DaskExecutor) -> None:
    with pytest.raises(MfnError) as failed:
        cluster.submit(_die).result(LONG)
    assert failed.value.code is Code.INTERNAL
    assert failed.value.message == "the call brought down the processes that worked on it"
    assert cluster.submit(_alive).result(LONG) == "alive"


def _alive(cancel: CancelToken) -> str:
    return "alive"


def _die(cancel: CancelToken) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_once(path: Path, cancel: CancelToken) -> str:
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"
