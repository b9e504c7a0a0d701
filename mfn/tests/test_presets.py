"""`mfn config init --preset`: every preset is a whole, commented file that is a server."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mfn_core.cli import main
from mfn_core.config import ServerSettings, read_document
from mfn_core.registry import PluginRegistry
from mfn_core.server import assemble

NEEDED = {"service_mfn", "transport_grpc", "auth_hmac", "ratelimit", "audit_jsonl"}
pytestmark = pytest.mark.skipif(
    not {plugin.name for plugin in PluginRegistry.installed()} >= NEEDED,
    reason="the presets are made of the plugins of a server, an extra",
)

STAGES = {"dev": 1000, "staging": 500, "prod": 500}
SIZES = ("small", "medium", "large")
PRESETS = (*STAGES, *SIZES)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where what a preset needs beside it is."""
    import trustme

    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    (tmp_path / "tls").mkdir()
    issued.private_key_pem.write_to_path(tmp_path / "tls" / "server.key")
    for pem in issued.cert_chain_pems:
        pem.write_to_path(tmp_path / "tls" / "server.pem", append=True)
    done = run("keys", "new", "--file", tmp_path / "keys.toml", "--principal", "ada", "--role", "write")
    assert done.exit_code == 0, done.output
    return tmp_path


def written(preset: str, directory: Path) -> Path:
    file = directory / f"{preset}.toml"
    done = run("config", "init", "--preset", preset, file)
    assert done.exit_code == 0, done.stderr
    return file


def test_there_are_six() -> None:
    assert {point.name for point in entry_points(group="mfn.presets.v1")} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_passes_mfn_check_and_can_be_assembled(preset: str, directory: Path) -> None:
    file = written(preset, directory)
    checked = run("check", "-c", file, "--json")
    assert checked.exit_code == 0, checked.stderr
    assert json.loads(checked.stdout)["server"]["max_grid"] == tomllib.loads(file.read_text())["server"]["max_grid"]
    server = assemble(read_document(file, ["transports.grpc.listen=127.0.0.1:0", "transports.grpc.reflection=off"]))
    server.preflight()
    server.compute.shutdown()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_names_every_setting_and_says_what_it_means(preset: str, directory: Path) -> None:
    import attrs

    text = written(preset, directory).read_text()
    lines = text.splitlines()
    assert lines[0].startswith("# For ")
    for attribute in attrs.fields(ServerSettings):
        at = [i for i, line in enumerate(lines) if line.removeprefix("# ").startswith(f"{attribute.name} ")]
        assert at, attribute.name
        assert attribute.name == "plugins" or attribute.metadata["help"] in lines[at[0] - 1]
    for section in tomllib.loads(text):
        assert f"[{section}" in text


@pytest.mark.parametrize(("preset", "steps"), STAGES.items())
def test_a_stage_has_its_limits(preset: str, steps: int, directory: Path) -> None:
    settings = tomllib.loads(written(preset, directory).read_text())
    assert settings["server"]["max_grid"] == 256
    assert settings["server"]["max_steps"] == steps
    seconds = {"dev": 300, "staging": 120, "prod": 60}[preset]
    assert settings["services"]["mfn"]["upload_seconds"] == seconds


def test_production_is_closed(directory: Path) -> None:
    settings = tomllib.loads(written("prod", directory).read_text())
    assert "allow" not in settings["server"]
    assert settings["transports"]["grpc"]["tls"] == {"certificate": "tls/server.pem", "key": "tls/server.key"}
    assert settings["transports"]["grpc"]["reflection"] == "off"
    assert settings["audit"]["jsonl"]["fsync"] == "always"
    assert settings["audit"]["jsonl"]["on_error"] == "refuse"
    assert {"auth_hmac", "ratelimit", "audit_jsonl"} <= set(settings["server"]["plugins"])
    assert settings["limits"]["token_bucket"]["cell_steps_per_second"] > 0


def test_development_is_open_on_this_machine_alone(directory: Path) -> None:
    settings = tomllib.loads(written("dev", directory).read_text())
    assert settings["server"]["allow"] == ["anonymous"]
    assert settings["transports"]["grpc"]["listen"].startswith("127.0.0.1:")


def test_sizes_grow(directory: Path) -> None:
    found = [tomllib.loads(written(size, directory).read_text()) for size in SIZES]

    def rises(*path: str) -> bool:
        values: list[Any] = list(found)
        for key in path:
            values = [value[key] for value in values]
        return values == sorted(values) and len(set(values)) == len(SIZES)

    assert rises("server", "max_grid")
    assert rises("server", "max_cell_steps")
    assert rises("server", "compute_queue")
    assert rises("cache", "max_bytes")
    assert rises("services", "mfn", "sessions")
    assert rises("limits", "token_bucket", "rate")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("max_grid", "-1", "server.max_grid"),
        ("max_steps", '"many"', "server.max_steps"),
        ("max_grid", "2\nmax_gird = 3", "max_gird"),
    ],
)
def test_a_bad_value_in_a_preset_is_rejected(preset: str, setting: str, value: str, said: str, directory: Path) -> None:
    file = written(preset, directory)
    lines = [
        f"{setting} = {value}" if line.startswith(f"{setting} = ") else line for line in file.read_text().splitlines()
    ]
    file.write_text("\n".join(lines))
    done = run("check", "-c", file)
    assert done.exit_code == 2
    assert said in done.stderr


def test_an_unknown_preset_names_those_that_there_are(tmp_path: Path) -> None:
    done = run("config", "init", "--preset", "prdo", tmp_path / "mfn.toml")
    assert done.exit_code == 2
    assert "there is no preset 'prdo'" in done.stderr
    assert "did you mean 'prod'" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_preset_has_its_own_plugins(tmp_path: Path) -> None:
    done = run("config", "init", "--preset", "dev", "--plugin", "engine_numpy", tmp_path / "mfn.toml")
    assert done.exit_code == 2
    assert "--preset names its plugins" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mfn.toml").write_text("mine")
    done = run("config", "init", "--preset", "dev", tmp_path / "mfn.toml")
    assert done.exit_code == 1
    assert (tmp_path / "mfn.toml").read_text() == "mine"


def test_what_must_be_done_first_is_said(directory: Path) -> None:
    told = run("config", "init", "--preset", "prod", directory / "mfn.toml").stdout
    assert "before it can be checked and served:" in told
    assert "mfn keys new --principal NAME" in told
    assert "tls/server.pem" in told
    assert "before it can be checked" not in run("config", "init", "--preset", "dev", directory / "dev.toml").stdout


def test_production_without_its_certificate_does_not_start(directory: Path) -> None:
    file = written("prod", directory)
    (directory / "tls" / "server.pem").unlink()
    for command in ("serve", "check"):
        done = subprocess.run(
            [sys.executable, "-m", "mfn_core", command, "-c", str(file), "--set", "transports.grpc.listen=127.0.0.1:0"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 2
        assert "transports.grpc.tls.certificate: " in done.stderr
        assert "server.pem" in done.stderr
