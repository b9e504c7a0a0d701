"""Jobs on a real cluster of processes on this machine."""

from __future__ import annotations

import logging
import pickle
import socket
import sys
import threading
import time
import types
from collections.abc import Iterator
from functools import partial
from typing import Any

import cloudpickle
import pytest

from mfn_core import CancelToken, Code, ComponentKind
from mfn_core.config import ServerSettings
from mfn_core.execution import EngineRecipe, RemoteRun
from mfn_core.execution.remote import LastState
from mfn_core.registry import PluginRegistry
from mfn_core.testing.executor import RemoteExecutorSuite
from mfn_executor_dask import DaskExecutor, DaskSettings, LocalSettings
from mfn_executor_dask.jobs import perform, versions
from mfn_model import SpecError, mycelium_spec, reference_mycelium

LONG = 60.0

# The workers cannot import a test module: its functions go there as they are.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskExecutor]:
    """Two workers for all tests of this module."""
    executor = DaskExecutor(DaskSettings(local=LocalSettings(workers=2)), log=logging.getLogger("test"))
    executor.open()
    yield executor
    executor.close()


class TestDask(RemoteExecutorSuite):
    """The suite of every remote executor."""

    @pytest.fixture
    def executor(self, cluster: DaskExecutor) -> DaskExecutor:
        return cluster


def recipe() -> EngineRecipe:
    spec = PluginRegistry(["engine_numpy"]).component(ComponentKind.BACKEND, "numpy").spec
    return EngineRecipe.of(
        plugin="engine_numpy", component="numpy", name="numpy", config=spec.config(), server=ServerSettings()
    )


def whole(state: Any) -> Any:
    return state


def run(seed: int, steps: int, **more: Any) -> RemoteRun[Any]:
    spec = mycelium_spec(seed=seed, grid_size=32)
    return RemoteRun(
        engine=recipe(),
        model=spec.declaration,
        spec=spec,
        steps=steps,
        follow=LastState(whole),
        seconds=more.get("seconds"),
    )


def test_a_run_gives_the_numbers_that_it_gives_here_to_the_bit(cluster: DaskExecutor) -> None:
    pytest.importorskip("mfn_engine_numpy", reason="a run needs an engine")
    states = [cluster.submit(run(seed, 20)) for seed in range(6)]
    for seed, state in enumerate(states):
        expected = reference_mycelium(mycelium_spec(seed=seed, grid_size=32), 20)
        found = state.result(LONG)
        assert found.field.tobytes() == expected.field.tobytes()
        assert found.growth_events == expected.growth_events


def test_a_deadline_is_kept_by_the_worker_itself(cluster: DaskExecutor) -> None:
    pytest.importorskip("mfn_engine_numpy", reason="a run needs an engine")
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="the engine stopped at step"):
        cluster.submit(run(1, 10_000_000, seconds=0.3)).result(LONG)
    assert time.monotonic() - began < 10.0


def test_a_refusal_of_the_model_comes_back_as_such(cluster: DaskExecutor) -> None:
    with pytest.raises(SpecError) as refused:
        cluster.submit(_refused).result(LONG)
    assert [violation.field for violation in refused.value.violations] == ["alpha"]


def test_an_error_that_cannot_travel_is_told_in_words(cluster: DaskExecutor) -> None:
    with pytest.raises(RuntimeError, match="StubbornError: two parts"):
        cluster.submit(_stubborn).result(LONG)


def test_a_worker_with_other_versions_refuses_and_says_which(cluster: DaskExecutor) -> None:
    executor = cluster._executor
    assert executor is not None
    job = cloudpickle.dumps(_alive)
    outcome = pickle.loads(executor.submit(perform, job, {**versions(), "numpy": "0.1"}).result(LONG))
    assert outcome.error.code is Code.INTERNAL
    assert outcome.error.message == "the cluster cannot run this call"
    assert f"numpy {versions()['numpy']} and not 0.1; install the same on both sides" in outcome.error.reason


def test_a_job_that_a_worker_cannot_read_is_an_error_and_the_worker_stays_whole(cluster: DaskExecutor) -> None:
    ghost = types.ModuleType("a_module_of_the_server_alone")
    exec("def job(cancel): return 1", ghost.__dict__)
    sys.modules[ghost.__name__] = ghost
    try:
        for _ in range(cluster.slots + 1):
            with pytest.raises(ModuleNotFoundError, match="a_module_of_the_server_alone"):
                cluster.submit(ghost.job).result(LONG)
    finally:
        del sys.modules[ghost.__name__]
    assert cluster.submit(_alive).result(LONG) == "alive"


def test_a_job_that_cannot_be_sent_is_an_error_of_its_own(cluster: DaskExecutor) -> None:
    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"the job cannot be sent to the cluster: cannot pickle '_thread\.lock'"):
        cluster.submit(partial(_hold, lock)).result(LONG)


def test_a_result_that_cannot_come_back_is_an_error_too(cluster: DaskExecutor) -> None:
    with pytest.raises(TypeError, match="cannot pickle"):
        cluster.submit(_lock).result(LONG)


def test_nobody_else_can_use_the_cluster(cluster: DaskExecutor) -> None:
    import ssl

    connected = cluster._connected
    assert connected is not None
    assert connected.cluster is not None
    host, _, port = connected.cluster.scheduler_address.removeprefix("tls://").rpartition(":")
    assert host == "127.0.0.1"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as encrypted:
                encrypted.sendall(b"x" * 64)  # TLS 1.3 tells of a missing certificate with the first bytes
                answer = encrypted.recv(1)
        except (ssl.SSLError, ConnectionError):
            answer = b""
    assert answer == b""


def test_the_pages_of_the_scheduler_are_empty(cluster: DaskExecutor) -> None:
    import urllib.error
    import urllib.request

    connected = cluster._connected
    assert connected is not None
    assert connected.cluster is not None
    port = connected.cluster.scheduler.http_server.port
    for page in ("", "status", "info/main/workers.html", "metrics", "json/counts.json"):
        with pytest.raises(urllib.error.HTTPError) as missing:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10)
        assert missing.value.code == 404
        missing.value.close()


def _refused(cancel: CancelToken) -> None:
    mycelium_spec(alpha=0.9)


class StubbornError(Exception):
    """Cannot be unpickled: its constructor takes two arguments and keeps none."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def _stubborn(cancel: CancelToken) -> None:
    raise StubbornError("two", "parts")


def _hold(lock: object, cancel: CancelToken) -> None:
    """Never called: its argument cannot travel."""


def _lock(cancel: CancelToken) -> object:
    return threading.Lock()


def _alive(cancel: CancelToken) -> str:
    return "alive"
