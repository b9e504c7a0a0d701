"""`mfn config`, the environment, and the short flags of `mfn serve`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from mfn_core.assembly import plan
from mfn_core.cli import main
from mfn_core.cli._flags import Flags
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Document, EnvironmentName, Problem, apply_environment, read_document
from mfn_core.config.environment import boolean, file_path, megabytes, milliseconds, port
from mfn_core.testing.process import toml_text

TOY = Path(__file__).parent / "toy"


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    for name in [name for name in os.environ if name.startswith(("GRPC_", "MFN_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mfn.toml"
    path.write_text(
        toml_text(
            {
                "server": {"plugins": ["mfn_toy.parts"], "max_grid": 128},
                "audit": {"file": {"path": "audit.jsonl"}},
                "transports": {"line": {}, "line/second": {"listen": "127.0.0.1:7002"}},
            }
        )
    )
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), catch_exceptions=False)


def shown(config: Path, *more: str) -> dict[str, Any]:
    done = run("config", "show", "-c", str(config), "--json", *more)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert isinstance(found, dict)
    return found


def test_show_says_where_each_value_comes_from(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MFN_LOG_LEVEL", "WARN")
    found = shown(config, "--set", "server.max_steps=7", "--set", 'transports."line/second".listen=127.0.0.1:7003')
    assert found["server.max_grid"] == {"value": 128, "from": str(config)}
    assert found["server.max_steps"] == {"value": 7, "from": "flag"}
    assert found["server.log_level"] == {"value": "warning", "from": "environment MFN_LOG_LEVEL"}
    assert found["server.min_grid"] == {"value": 4, "from": "default"}
    assert found['transports."line/second".listen'] == {"value": "127.0.0.1:7003", "from": "flag"}


def test_a_flag_wins_over_the_environment_and_that_over_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text(config.read_text().replace("[server]", '[server]\nlog_level = "error"'))
    assert shown(config)["server.log_level"]["value"] == "error"
    monkeypatch.setenv("MFN_LOG_LEVEL", "debug")
    assert shown(config)["server.log_level"]["value"] == "debug"
    assert shown(config, "--set", "server.log_level=info")["server.log_level"]["value"] == "info"


def test_a_variable_that_cannot_be_used_is_named_without_its_value(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_MAX_WORKERS", "s3cret")
    done = run("check", "-c", str(config))
    assert done.exit_code == 2
    assert "GRPC_MAX_WORKERS" in done.output
    assert "server.compute_threads" in done.output
    assert "s3cret" not in done.output


def test_authentication_turned_off_by_the_environment_is_an_allowance_by_name(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPC_AUTH_ENABLED", "false")
    assert shown(config)["server.allow"] == {"value": ["anonymous"], "from": "environment GRPC_AUTH_ENABLED"}
    monkeypatch.setenv("GRPC_AUTH_ENABLED", "true")
    assert shown(config)["server.allow"]["value"] == []


def test_what_the_supervisor_has_applied_the_worker_does_not_apply_again(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MFN_LOG_LEVEL", "debug")
    planned = plan(read_document(config))
    monkeypatch.setenv("MFN_LOG_LEVEL", "error")
    again = plan(Document.from_json(planned.document.to_json()))
    assert again.server.log_level == "debug"


NAMES = [
    EnvironmentName(name="T_PORT", setting=("listen",), convert=port("127.0.0.1:1")),
    EnvironmentName(name="T_SIZE", setting=("bytes",), convert=megabytes),
    EnvironmentName(name="T_WAIT", setting=("keepalive", "seconds"), convert=milliseconds),
    EnvironmentName(name="T_CERT", setting=("tls", "certificate"), convert=file_path),
    EnvironmentName(
        name="T_TLS", setting=("tls",), convert=lambda given, present: (present or {}) if boolean(given) else None
    ),
]


def applied(tables: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    problems: list[Problem] = []
    document = Document(tables=tables, base_dir=Path("/"), source="test")
    done = apply_environment(document, [(("transports", "t"), name) for name in NAMES], problems, environ)
    return dict(done.tables), problems


@pytest.mark.parametrize(
    ("tables", "environ", "expected"),
    [
        ({}, {}, {}),
        ({}, {"T_PORT": "7"}, {"transports": {"t": {"listen": "127.0.0.1:7"}}}),
        (
            {"transports": {"t": {"listen": "0.0.0.0:1"}}},
            {"T_PORT": "7"},
            {"transports": {"t": {"listen": "0.0.0.0:7"}}},
        ),
        ({}, {"T_SIZE": "10"}, {"transports": {"t": {"bytes": 10 * 1024 * 1024}}}),
        ({}, {"T_WAIT": "1500"}, {"transports": {"t": {"keepalive": {"seconds": 1.5}}}}),
        ({}, {"T_CERT": "c.pem", "T_TLS": "true"}, {"transports": {"t": {"tls": {"certificate": "c.pem"}}}}),
        ({}, {"T_CERT": "c.pem", "T_TLS": "false"}, {"transports": {"t": {}}}),
        ({}, {"T_TLS": "true"}, {"transports": {"t": {"tls": {}}}}),
        ({}, {"T_TLS": "off"}, {}),
    ],
)
def test_variables_become_settings(
    tables: Mapping[str, Any], environ: Mapping[str, str], expected: Mapping[str, Any]
) -> None:
    done, problems = applied(tables, environ)
    assert problems == []
    assert done == expected


@pytest.mark.parametrize("environ", [{"T_PORT": "70000"}, {"T_PORT": "x"}, {"T_WAIT": ""}, {"T_TLS": "maybe"}])
def test_a_malformed_variable_changes_nothing(environ: Mapping[str, str]) -> None:
    done, problems = applied({"transports": {"t": {"listen": "127.0.0.1:1"}}}, environ)
    assert done == {"transports": {"t": {"listen": "127.0.0.1:1"}}}
    assert [problem.path for problem in problems] == [f"environment {next(iter(environ))}"]


def test_the_schema_of_a_configuration_describes_its_sections(config: Path) -> None:
    schema = json.loads(run("config", "schema", "-c", str(config)).output)
    assert schema["properties"]["server"]["properties"]["max_grid"]["default"] == 1024
    (pattern,) = schema["properties"]["transports"]["patternProperties"]
    assert pattern == "^line(/[^/]+)?$"
    assert schema["additionalProperties"] is False


def test_init_writes_every_setting_once_and_overwrites_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new.toml"
    assert run("config", "init", str(path), "--plugin", "mfn_toy.parts").exit_code == 0
    text = path.read_text()
    assert tomllib.loads(text)["server"]["plugins"] == ["mfn_toy.parts"]
    assert "# max_grid = 1024" in text
    assert "[limits.slots]  # calls in flight" in text
    assert "# path = …  # needed" in text
    # What is commented out is the default, and valid TOML.
    settings = [line[2:] for line in text.splitlines() if line.startswith("# ") and " = " in line and "…" not in line]
    for line in settings:
        tomllib.loads(line)
    again = run("config", "init", str(path), "--plugin", "mfn_toy.parts")
    assert again.exit_code == 1
    assert "exists" in again.output
    assert path.read_text() == text


# --port and --no-auth.


def test_a_port_is_of_the_first_transport_or_of_the_one_that_is_named(config: Path) -> None:
    document = Flags(ports=("7100", "line/second=7101"), no_auth=False).applied(read_document(config))
    listens = {each.name: each.config.listen for each in plan(document).of(ComponentKind.TRANSPORT)}
    assert listens == {"line": "127.0.0.1:7100", "line/second": "127.0.0.1:7101"}


@pytest.mark.parametrize("given", ["x", "70000", "lime=1", "=", "line="])
def test_a_port_that_is_none_is_refused_with_the_transports_there_are(config: Path, given: str) -> None:
    with pytest.raises(ConfigError, match="line/second"):
        Flags(ports=(given,), no_auth=False).applied(read_document(config))


def test_without_authentication_the_server_says_so_loudly(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = Flags(ports=(), no_auth=True).applied(read_document(config))
    assert plan(document).anonymous
    assert "AUTHENTICATION IS OFF" in capsys.readouterr().err


def test_without_authentication_nothing_is_served_beyond_loopback_whatever_is_allowed(config: Path) -> None:
    document = read_document(
        config,
        [
            "transports.line.listen=0.0.0.0:7000",
            'server.allow=["plaintext-beyond-loopback", "anonymous-beyond-loopback"]',
        ],
    )
    with pytest.raises(ConfigError, match="no-auth"):
        Flags(ports=(), no_auth=True).applied(document)


def test_without_flags_a_document_is_as_it_was(config: Path) -> None:
    document = read_document(config)
    assert Flags(ports=(), no_auth=False).applied(document) is document
    assert evolve(document, source="x").source == "x"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_MFN_COMPLETE" in done.output


def test_completion_completes_commands_of_the_kernel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core"],
        env={**os.environ, "_MFN_COMPLETE": "bash_complete", "COMP_WORDS": "mfn con", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert "config" in done.stdout
