"""The server that runs without a configuration file."""

from __future__ import annotations

import stat
import sysconfig
import tomllib
from pathlib import Path

import pytest

from mfn import defaults
from mfn_core.config import ConfigError
from mfn_core.registry import InstalledPlugin, PluginRegistry
from mfn_signing import Credentials, load_keys


def installed(*names: str) -> tuple[InstalledPlugin, ...]:
    return tuple(InstalledPlugin(name=name, distribution=name, version="1", summary="", target=name) for name in names)


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> None:
    found = installed(*defaults.STANDARD_PLUGINS, "engine_other", "stranger")
    monkeypatch.setattr(PluginRegistry, "installed", staticmethod(lambda: found))


@pytest.mark.usefixtures("everything")
def test_it_is_the_standard_plugins_with_a_key_and_an_audit_in_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1)
    document = defaults.document(tmp_path)
    assert document.tables["server"]["plugins"] == list(defaults.STANDARD_PLUGINS)
    assert document.tables["auth"]["hmac"]["keys_file"] == str(tmp_path / "mfn-local-keys.toml")
    assert document.tables["audit"]["jsonl"]["path"] == str(tmp_path / "mfn-local-audit.jsonl")
    assert document.base_dir == tmp_path


@pytest.mark.usefixtures("everything")
def test_the_key_is_fresh_usable_and_for_its_owner_alone(tmp_path: Path) -> None:
    secrets = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        path = Path(str(defaults.document(tmp_path / name).tables["auth"]["hmac"]["keys_file"]))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        (key,) = load_keys(path)
        assert (key.id, key.principal, key.roles) == (defaults.KEY_ID, "local", {"write"})
        secrets.add(Credentials.from_keys_file(path, "local").secret)
    assert len(secrets) == 2


@pytest.mark.usefixtures("everything")
def test_the_secret_is_in_the_file_and_nowhere_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = defaults.document(tmp_path)
    text = (tmp_path / "mfn-local-keys.toml").read_text()
    secret = tomllib.loads(text)["keys"][0]["secret"]
    assert len(secret) >= 43
    said = capfd.readouterr()
    assert secret not in said.out + said.err
    assert secret not in repr(document)
    assert secret not in document.to_json()


@pytest.mark.usefixtures("everything")
def test_without_a_shared_libpython_the_transport_that_needs_it_is_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 0)
    plugins = defaults.document(tmp_path).tables["server"]["plugins"]
    # And with it the token of the page that it serves.
    left_out = {"transport_asgi", "auth_loopback"}
    assert plugins == [name for name in defaults.STANDARD_PLUGINS if name not in left_out]
    assert capsys.readouterr().err == "transport_asgi is left out: this Python has no shared libpython\n"


def test_plugins_that_are_not_installed_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = installed("engine_numpy", "service_mfn", "transport_grpc")
    monkeypatch.setattr(PluginRegistry, "installed", staticmethod(lambda: few))
    document = defaults.document(tmp_path)
    assert document.tables["server"]["plugins"] == ["engine_numpy", "service_mfn", "transport_grpc"]
    assert document.tables.keys() == {"server"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("found", [("engine_numpy",), ("engine_numpy", "service_mfn"), ("transport_grpc",)])
def test_without_a_service_and_a_transport_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: tuple[str, ...]
) -> None:
    monkeypatch.setattr(PluginRegistry, "installed", staticmethod(lambda: installed(*found)))
    with pytest.raises(ConfigError, match=r'pip install "mycelium-fractal-net\[server\]"'):
        defaults.document(tmp_path)


@pytest.mark.usefixtures("everything")
def test_a_directory_that_cannot_be_written_is_a_problem_of_the_keys_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        defaults.document(tmp_path / "none")
    (problem,) = caught.value.problems
    assert problem.path == "auth.hmac.keys_file"
    assert str(tmp_path / "none") in problem.message
    assert problem.remedy
