from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mfn_core.config import ConfigError, decode
from mfn_transport_grpc import GrpcSettings
from mfn_transport_grpc._transport import channel_options


def settings(table: dict[str, Any], directory: Path = Path("/etc/mfn")) -> GrpcSettings:
    return decode(GrpcSettings, table, "transports.grpc", directory)


def test_the_default_is_plain_text_on_loopback() -> None:
    default = settings({})
    assert default.listen == "127.0.0.1:50051"
    assert default.max_message_bytes == 16 * 1024 * 1024
    assert not default.encrypted


def test_a_tls_table_encrypts_and_its_paths_start_at_the_configuration() -> None:
    encrypted = settings({"tls": {"certificate": "server.pem", "key": "/run/server.key"}})
    assert encrypted.encrypted
    assert encrypted.tls is not None
    assert encrypted.tls.certificate == Path("/etc/mfn/server.pem")
    assert encrypted.tls.key == Path("/run/server.key")
    assert encrypted.tls.client_ca is None


@pytest.mark.parametrize(
    ("table", "path"),
    [
        ({"listen": "50051"}, "transports.grpc.listen"),
        ({"max_message_bytes": 0}, "transports.grpc.max_message_bytes"),
        ({"max_message_bytes": 2**31}, "transports.grpc.max_message_bytes"),
        ({"max_concurrent_streams": 0}, "transports.grpc.max_concurrent_streams"),
        ({"request_seconds": 0}, "transports.grpc.request_seconds"),
        ({"max_connection_age_seconds": -1}, "transports.grpc.max_connection_age_seconds"),
        ({"keepalive": {"interval_seconds": 0}}, "transports.grpc.keepalive.interval_seconds"),
        ({"keepalive": {"intervall_seconds": 5}}, "transports.grpc.keepalive.intervall_seconds"),
        ({"tls": {"certificate": "server.pem"}}, "transports.grpc.tls.key"),
    ],
)
def test_a_setting_out_of_bounds_is_named_by_its_path(table: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings(table)
    assert [problem.path for problem in refused.value.problems] == [path]


def test_every_setting_reaches_grpc() -> None:
    table = {
        "max_message_bytes": 2048,
        "max_concurrent_streams": 7,
        "max_connection_age_seconds": 1.5,
        "keepalive": {"interval_seconds": 2.5, "timeout_seconds": 3.5, "client_minimum_seconds": 4.5},
    }
    options = dict(channel_options(settings(table), shared=False))
    assert options["grpc.max_receive_message_length"] == 2048
    assert options["grpc.max_concurrent_streams"] == 7
    assert options["grpc.max_connection_age_ms"] == 1500
    assert options["grpc.keepalive_time_ms"] == 2500
    assert options["grpc.keepalive_timeout_ms"] == 3500
    assert options["grpc.http2.min_ping_interval_without_data_ms"] == 4500
    assert options["grpc.so_reuseport"] == 0


def test_workers_share_the_port_and_one_alone_does_not() -> None:
    assert dict(channel_options(settings({}), shared=True))["grpc.so_reuseport"] == 1


def test_connections_have_no_age_limit_unless_configured() -> None:
    assert "grpc.max_connection_age_ms" not in dict(channel_options(settings({}), shared=False))
