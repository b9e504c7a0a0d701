"""The table, and what may not stand in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfn_core.assembly import plan
from mfn_core.config import ConfigError, Document, decode
from mfn_core.testing.plugin import PluginSuite
from mfn_executor_dask import DaskSettings

TLS = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}


class TestPlugin(PluginSuite):
    """The suite of every plugin."""

    plugin = "executor_dask"


def settings(**table: Any) -> DaskSettings:
    return decode(DaskSettings, table, "executors.dask", Path("/etc/mfn"))


def test_without_settings_it_is_a_cluster_of_this_machine() -> None:
    found = settings()
    assert (found.scheduler, found.local.workers, found.tls) == ("", 0, None)


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:8786", "tls://scheduler.internal:8786", "tcp://[::1]:1"])
def test_an_address_is_taken(address: str) -> None:
    assert settings(scheduler=address).scheduler == address


@pytest.mark.parametrize(
    "address",
    ["localhost:8786", "http://x:1", "tcp://x", "tcp://:8786", "tcp://x:0", "tcp://x:99999", "tcp://x:1/y", "ws://x:1"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="must be tcp://host:port or tls://host:port, not "):
        settings(scheduler=address)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"connect_seconds": 0.0}, "connect_seconds: must be between 0.1 and 600"),
        ({"connect_seconds": float("nan")}, "connect_seconds"),
        ({"retry_seconds": -1.0}, "retry_seconds: must be between"),
        ({"local": {"workers": -1}}, "local.workers: must be between 0 and 1024"),
        ({"local": {"threads": 0}}, "local.threads: must be between 1 and 256"),
        ({"tls": {"ca": "ca.pem"}}, "certificate"),
        ({"shceduler": "tcp://x:1"}, "did you mean 'scheduler'"),
    ],
)
def test_a_bad_value_is_rejected(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        settings(**table)


def problems(table: dict[str, Any], *, allow: tuple[str, ...] = ()) -> str:
    """What is wrong with a whole server that has this table."""
    tables = {
        "server": {
            "plugins": ["engine_numpy", "service_mfn", "transport_grpc", "executor_dask"],
            "allow": ["anonymous", *allow],
        },
        "executors": {"dask": table},
    }
    pytest.importorskip("mfn_service", reason="a whole server needs a service")
    pytest.importorskip("mfn_transport_grpc", reason="a whole server needs a transport")
    try:
        plan(Document(tables=tables, base_dir=Path("/etc/mfn"), source="test"))
    except ConfigError as wrong:
        return str(wrong)
    return ""


def test_jobs_do_not_go_through_an_open_network_in_the_clear() -> None:
    open_address = {"scheduler": "tcp://10.0.0.1:8786"}
    assert "tcp://10.0.0.1:8786 is on another machine, without TLS" in problems(open_address)
    assert problems(open_address, allow=("plaintext-beyond-loopback",)) == ""
    assert problems({"scheduler": "tcp://127.0.0.1:8786"}) == ""
    assert problems({"scheduler": "tls://10.0.0.1:8786", "tls": TLS}) == ""


def test_certificates_and_the_address_fit_together() -> None:
    assert "tls://10.0.0.1:8786 is encrypted, and there are no certificates" in problems(
        {"scheduler": "tls://10.0.0.1:8786"}
    )
    assert "tcp://127.0.0.1:8786 is not encrypted" in problems({"scheduler": "tcp://127.0.0.1:8786", "tls": TLS})
