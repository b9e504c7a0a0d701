"""The environment variables that older deployments set: they set the same things here, or are said to set nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from mfn_core.testing.process import toml_text
from mfn_e2e.deployment import tables
from mfn_signing import append_key, generate_key

OPERATIONS = Path(__file__).parents[2] / "docs" / "guide" / "operations.md"


@frozen
class Variable:
    """What an environment variable sets, and a value of each place that a setting may come from."""

    name: str
    setting: str
    file: Any
    given: str
    """In the environment."""
    value: Any
    """What that is in the configuration."""
    flag: Any


FIRST = (
    Variable("GRPC_PORT", "transports.grpc.listen", "127.0.0.1:1", "2", "127.0.0.1:2", "127.0.0.1:3"),
    Variable("GRPC_MAX_WORKERS", "server.compute_threads", 1, "2", 2, 3),
    Variable("GRPC_MAX_MESSAGE_SIZE", "transports.grpc.max_message_bytes", 2**20, "10", 10 * 2**20, 2**21),
    Variable("GRPC_MAX_CONCURRENT_STREAMS", "transports.grpc.max_concurrent_streams", 11, "100", 100, 12),
    Variable("GRPC_KEEPALIVE_TIME_MS", "transports.grpc.keepalive.interval_seconds", 11.0, "30000", 30.0, 12.0),
    Variable("GRPC_KEEPALIVE_TIMEOUT_MS", "transports.grpc.keepalive.timeout_seconds", 1.5, "10000", 10.0, 2.5),
    Variable("GRPC_TLS_CERT_PATH", "transports.grpc.tls.certificate", "/f.pem", "/e.pem", "/e.pem", "/s.pem"),
    Variable("GRPC_TLS_KEY_PATH", "transports.grpc.tls.key", "/f.key", "/e.key", "/e.key", "/s.key"),
    Variable("GRPC_AUTH_ENABLED", "server.allow", [], "false", ["anonymous"], ["plaintext-beyond-loopback"]),
    Variable("GRPC_RATE_LIMIT_RPS", "limits.token_bucket.rate", 11.0, "1000", 1000.0, 12.0),
    Variable("GRPC_RATE_LIMIT_CONCURRENT", "limits.token_bucket.concurrent", 11, "50", 50, 12),
    Variable("MFN_LOG_LEVEL", "server.log_level", "error", "INFO", "info", "debug"),
    Variable("MFN_LOG_FORMAT", "server.log_format", "json", "text", "text", "json"),
)
SECOND = (
    Variable("MFN_GRPC_PORT", "transports.grpc.listen", "127.0.0.1:1", "2", "127.0.0.1:2", "127.0.0.1:3"),
    Variable("MFN_GRPC_MAX_WORKERS", "server.compute_threads", 1, "2", 2, 3),
    Variable("MFN_GRPC_AUTH_REQUIRED", "server.allow", ["anonymous"], "true", [], ["anonymous"]),
)
"""Names of another server for the same settings."""

TABLES = {"GRPC_TLS_ENABLED"}
"""Turns a whole table on or off."""

OLDER = {
    *("GRPC_PORT", "GRPC_MAX_WORKERS", "GRPC_MAX_MESSAGE_SIZE", "GRPC_MAX_CONCURRENT_STREAMS"),
    *("GRPC_KEEPALIVE_TIME_MS", "GRPC_KEEPALIVE_TIMEOUT_MS", "GRPC_TLS_ENABLED", "GRPC_TLS_CERT_PATH"),
    *("GRPC_TLS_KEY_PATH", "GRPC_AUTH_ENABLED", "GRPC_RATE_LIMIT_RPS", "GRPC_RATE_LIMIT_CONCURRENT"),
    *("MFN_GRPC_PORT", "MFN_GRPC_MAX_WORKERS", "MFN_GRPC_AUTH_REQUIRED", "MFN_GRPC_API_KEY", "MFN_SEED"),
    *("MFN_ENV", "MFN_API_KEY_REQUIRED", "MFN_API_KEY", "MFN_API_KEYS", "MFN_RATE_LIMIT_REQUESTS"),
    *("MFN_RATE_LIMIT_WINDOW", "MFN_RATE_LIMIT_ENABLED", "MFN_LOG_LEVEL", "MFN_LOG_FORMAT", "MFN_METRICS_ENABLED"),
    *("MFN_CORS_ORIGINS", "MFN_CRYPTO_ENABLED", "MFN_CRYPTO_ALGORITHM", "MFN_CRYPTO_KEY_SIZE"),
    *("MFN_CRYPTO_SIGNATURE_ALG", "MFN_CRYPTO_AUDIT_LOG"),
}
"""Every variable that servers before this one read, or were given."""


def written(directory: Path, variables: Iterable[Variable] = ()) -> Path:
    """The configuration of a server of the parts that have variables, with their settings in the file."""
    made = tables(transports=["grpc"], plugins=["ratelimit"])
    for variable in variables:
        *path, name = variable.setting.split(".")
        node = made
        for key in path:
            node = node.setdefault(key, {})
        node[name] = variable.file
    keys, config = directory / "keys.toml", directory / "mfn.toml"
    if not keys.exists():
        append_key(keys, generate_key(key_id="ada", principal="ada", roles={"write"}))
    config.write_text(toml_text(made))
    return config


def shown(config: Path, environment: Mapping[str, str], *flags: str) -> dict[str, dict[str, Any]]:
    """What `mfn config show` says of each setting."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GRPC_", "MFN_"))}
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", "config", "show", "-c", str(config), "--json", *flags],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def flag(variable: Variable) -> str:
    """The value on the command line."""
    value = variable.flag if isinstance(variable.flag, str) else json.dumps(variable.flag)
    return f"--set={variable.setting}={value}"


@pytest.mark.parametrize("variables", [FIRST, SECOND], ids=["of-one-server", "of-another"])
def test_a_flag_wins_over_a_variable_and_that_over_the_file_and_each_is_named(
    tmp_path: Path, variables: tuple[Variable, ...]
) -> None:
    config = written(tmp_path, variables)
    environment = {variable.name: variable.given for variable in variables}
    file, variable_too, all_three = (
        shown(config, {}),
        shown(config, environment),
        shown(config, environment, *map(flag, variables)),
    )
    for each in variables:
        assert file[each.setting] == {"value": each.file, "from": str(config)}, each.name
        assert variable_too[each.setting] == {"value": each.value, "from": f"environment {each.name}"}
        assert all_three[each.setting] == {"value": each.flag, "from": "flag"}, each.name


def test_tls_that_is_turned_off_by_its_variable_is_off_whatever_the_file_says(tmp_path: Path) -> None:
    paths = [each for each in FIRST if ".tls." in each.setting]
    config = written(tmp_path, paths)
    on, off = (shown(config, {"GRPC_TLS_ENABLED": given}) for given in ("true", "false"))
    assert on["transports.grpc.tls.certificate"]["value"] == "/f.pem"
    assert off["transports.grpc.tls"] == {"value": None, "from": "environment GRPC_TLS_ENABLED"}


def test_variables_of_older_deployments_that_set_nothing_change_nothing_and_are_documented(tmp_path: Path) -> None:
    read = {each.name for each in (*FIRST, *SECOND)} | TABLES
    unread = OLDER - read
    config = written(tmp_path)
    without = shown(config, {})
    assert {each["from"] for each in without.values()} == {"default", str(config)}
    assert shown(config, dict.fromkeys(unread, "1")) == without
    section = OPERATIONS.read_text("utf-8").partition("## Variables of older deployments")[2].partition("\n## ")[0]
    documented = set(re.findall(r"`([A-Z_]+)`", section))
    assert documented & OLDER == unread
