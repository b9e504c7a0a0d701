"""A scheduler that is not there, goes away, and comes back."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from mfn_core import CancelToken, Code, MfnError
from mfn_core.config import ConfigError
from mfn_executor_dask import DaskExecutor, DaskSettings, TlsSettings

LONG = 60.0
SCRIPT = Path(__file__).with_name("scheduler_process.py")

cloudpickle.register_pickle_by_value(sys.modules[__name__])


@contextmanager
def scheduler(directory: Path, *, port: int = 0, certificates: tuple[Path, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Its address and its process."""
    words = [sys.executable, str(SCRIPT), str(port), str(directory), *map(str, certificates)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@contextmanager
def connected(settings: DaskSettings) -> Iterator[DaskExecutor]:
    executor = DaskExecutor(settings, log=logging.getLogger("test"))
    executor.open()
    try:
        yield executor
    finally:
        executor.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_scheduler_that_is_away_at_the_start_is_named_within_its_time(tmp_path: Path) -> None:
    settings = DaskSettings(scheduler="tcp://127.0.0.1:9", connect_seconds=1.0)
    began = time.monotonic()
    with pytest.raises(ConfigError) as failed, connected(settings):
        raise AssertionError("it was opened")
    assert time.monotonic() - began < 20.0
    (problem,) = failed.value.problems
    assert problem.path == "executors.dask.scheduler"
    assert problem.message.startswith("the scheduler at tcp://127.0.0.1:9 cannot be reached: ")
    assert "dask scheduler" in problem.remedy


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_unavailable_with_a_time_and_is_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with scheduler(tmp_path) as (address, process):
        port = int(address.rpartition(":")[2])
        settings = DaskSettings(scheduler=address, connect_seconds=2.0, retry_seconds=0.7)
        with connected(settings) as executor:
            assert executor.slots == 1
            assert executor.submit(_alive).result(LONG) == "alive"
            under_way = executor.submit(partial(_until_cancelled, tmp_path / "started"))
            until((tmp_path / "started").exists)
            process.kill()
            process.wait()
            for refused in (under_way.result, lambda: executor.submit(_alive).result(LONG)):
                with pytest.raises(MfnError) as away:
                    refused()
                assert away.value.code is Code.UNAVAILABLE
                assert away.value.retry_after == 0.7
                assert "127.0.0.1" not in away.value.message  # an address is for the operator
                assert address in away.value.reason
            # Longer than the client itself keeps trying: it gives up, and a new one is made.
            until(lambda: executor._connected is not None and executor._connected.client.status == "closed")
            with pytest.raises(MfnError):
                executor.submit(_alive)
            with scheduler(tmp_path, port=port):

                def recovered() -> bool:
                    try:
                        return executor.submit(_alive).result(LONG) == "alive"
                    except MfnError as still:
                        if still.code is not Code.UNAVAILABLE:
                            raise
                        return False

                until(recovered)
    assert "the connection to the compute cluster is lost; connecting anew" in caplog.text


@pytest.mark.slow
def test_certificates_open_an_encrypted_scheduler_and_nothing_else_does(tmp_path: Path) -> None:
    import trustme

    authority, stranger = trustme.CA(), trustme.CA()
    files = {}
    for name, issuer in (("ours", authority), ("theirs", stranger)):
        issuer.cert_pem.write_to_path(tmp_path / f"{name}.ca")
        issued = issuer.issue_cert("127.0.0.1", "localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / f"{name}.pem")
        files[name] = TlsSettings(
            ca=tmp_path / f"{name}.ca", certificate=tmp_path / f"{name}.pem", key=tmp_path / f"{name}.pem"
        )
    ours = files["ours"]
    with scheduler(tmp_path, certificates=(ours.ca, ours.certificate, ours.key)) as (address, _):
        assert address.startswith("tls://")
        with connected(DaskSettings(scheduler=address, tls=ours)) as executor:
            assert executor.submit(_alive).result(LONG) == "alive"
        wrong = DaskSettings(scheduler=address, tls=files["theirs"], connect_seconds=1.0)
        with pytest.raises(ConfigError, match="cannot be reached"), connected(wrong):
            raise AssertionError("it was opened")


def test_a_certificate_that_is_not_there_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "missing.pem"
    settings = DaskSettings(
        scheduler="tls://127.0.0.1:9",
        tls=TlsSettings(ca=nowhere, certificate=nowhere, key=nowhere),
        connect_seconds=1.0,
    )
    with pytest.raises(ConfigError, match="cannot be reached"), connected(settings):
        raise AssertionError("it was opened")


def test_before_it_is_opened_and_after_it_is_closed_it_is_unavailable() -> None:
    executor = DaskExecutor(DaskSettings(scheduler="tcp://127.0.0.1:9"), log=logging.getLogger("test"))
    executor.close()
    with pytest.raises(MfnError) as away:
        executor.submit(_alive)
    assert away.value.code is Code.UNAVAILABLE
    assert executor.slots == 0
    executor.close()


def _alive(cancel: CancelToken) -> str:
    return "alive"


def _until_cancelled(path: Path, cancel: CancelToken) -> None:
    path.touch()
    while not cancel.is_set():
        time.sleep(0.01)  # stands for a slice of work
