"""`mfn check`, `mfn plugins` and `mfn serve`: what they print, and how a wrong configuration reads."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mfn_core.cli import main
from mfn_core.config import ConfigError, Document, Problem

Install = Callable[..., None]

PLUGIN = """
from mfn_core import Secret
from mfn_core.config import listen_address

@frozen(kw_only=True)
class Listener:
    listen: str = setting(default="127.0.0.1:0", help="address", validator=listen_address)
    encrypted: bool = setting(default=False, help="TLS")

@frozen(kw_only=True)
class Token:
    secret: Secret = setting(help="token")

class Part:
    services = addresses = ()

    async def start(self, *_):
        raise AssertionError("a check starts nothing")

def make(config, context):
    return Part()

def make_listener(config, context):
    if config.listen.startswith("192.0.2."):
        raise ValueError(f"the certificate for {config.listen} is missing")
    return Part()

@hookimpl
def mfn_transports():
    return [ComponentSpec(name="wire", config=Listener, factory=make_listener, summary="a transport", scope="shared")]

@hookimpl
def mfn_services():
    return [ComponentSpec(name="spores", factory=make, summary="a service")]

@hookimpl
def mfn_authenticators():
    return [ComponentSpec(name="token", config=Token, factory=make, summary="a token", stability="stable")]

@hookimpl
def mfn_middlewares():
    return [ComponentSpec(name="stamp", factory=make, summary="a middleware")]
"""

CONFIGURATION = """
[server]
plugins = ["slime"]
allow = ["anonymous"]
[auth.token]
secret = "hunter2"
[transports.wire]
[transports."wire/second"]
listen = "[::1]:0"
[pipeline]
order = ["audit", "telemetry", "stamp", "auth", "limit"]
"""


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, arguments, prog_name="mfn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def file(tmp_path: Path, install_plugin: Install) -> Path:
    install_plugin("slime", PLUGIN)
    path = tmp_path / "mfn.toml"
    path.write_text(CONFIGURATION)
    return path


def test_check_prints_what_would_run(file: Path) -> None:
    code, out, err = run("check", "-c", str(file))
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert f"plugins of {file}" in lines
    assert "slime dist-slime 1.2.3" in lines
    assert 'transport transports."wire/second" slime experimental shared' in lines
    assert "authenticator auth.token slime stable process" in lines
    chain = lines.index("chain around every call, outermost first")
    assert lines[chain + 1 : chain + 7] == [
        "audit none",
        "telemetry none",
        "stamp stamp",
        "auth token, anonymous",
        "limit none",
        "handler",
    ]
    assert "transports.wire 127.0.0.1:0 none" in lines
    assert 'transports."wire/second" [::1]:0 none' in lines
    assert "max_grid 1024" in lines
    assert "hunter2" not in out


def test_check_gives_json_without_secrets(file: Path) -> None:
    code, out, _ = run("check", "-c", str(file), "--set", "server.workers=2", "--json")
    assert code == 2
    code, out, _ = run("check", "-c", str(file), "--set", "server.max_grid=512", "--json")
    assert code == 0
    described = json.loads(out)
    assert described["server"]["max_grid"] == 512
    assert described["plugins"] == [{"name": "slime", "distribution": "dist-slime 1.2.3"}]
    assert described["chain"][3] == {"stage": "auth", "components": ["token", "anonymous"]}
    components = {component["section"]: component for component in described["components"]}
    assert components["auth.token"]["settings"] == {"secret": "[REDACTED]"}
    assert components["transports.wire"]["settings"] == {"listen": "127.0.0.1:0", "encrypted": False}
    assert described["listeners"][1] == {
        "section": 'transports."wire/second"',
        "listen": "[::1]:0",
        "encrypted": False,
    }


ENGINES = """
[server]
plugins = ["slime", "mfn_toy.steady"]
allow = ["anonymous"]
calibration_seconds = 0.01
max_cell_steps = 1_000_000
[auth.token]
secret = "hunter2"
[pipeline]
order = ["audit", "telemetry", "stamp", "auth", "limit"]
"""


def test_check_measures_the_engines_and_says_how_long_the_largest_call_lasts(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))
    file.write_text(ENGINES)
    code, out, err = run("check", "-c", str(file), "--json")
    assert (code, err) == (0, "")
    (engine,) = json.loads(out)["engines"]
    assert (engine["name"], engine["from"]) == ("steady", "measured")
    assert engine["max_call_seconds"] == pytest.approx(1_000_000 / engine["speed"])

    code, out, err = run("check", "-c", str(file), "--set", "server.calibration_seconds=0")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "engines, on one thread; server.engine is auto" in lines
    assert "steady 5e+08 estimated by the engine 0.002 s" in lines

    code, out, err = run("check", "-c", str(file), "--set", "engines.steady.present=false")
    assert (code, out) == (2, "")
    assert err == "1 problem in the configuration:\n  engines.steady: no such device\n"


def test_check_reports_what_cannot_be_made_as_serve_does(file: Path) -> None:
    allowed = ["anonymous", "anonymous-beyond-loopback", "plaintext-beyond-loopback"]
    settings = ["--set", "transports.wire.listen=192.0.2.1:1", "--set", f"server.allow={json.dumps(allowed)}"]
    told = [run(command, "-c", str(file), *settings) for command in ("check", "serve")]
    assert told[0] == told[1]
    code, out, err = told[0]
    assert (code, out) == (2, "")
    assert err == ("1 problem in the configuration:\n  transports.wire: the certificate for 192.0.2.1:1 is missing\n")


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_wrong_configuration_is_one_screen_and_status_2(file: Path, command: str) -> None:
    file.write_text(CONFIGURATION.replace('"hunter2"', "7") + "[cache]\nmax_byte = 1\n[cash]\n")
    code, out, err = run(command, "-c", str(file), "--set", "transports.wire.listen=nowhere")
    assert (code, out) == (2, "")
    assert err.startswith("4 problems in the configuration:\n")
    assert "  cache.max_byte: unknown setting\n    did you mean 'max_bytes'?" in err
    assert "unknown section [cash]" in err
    assert "  auth.token.secret: a secret cannot be of type int\n" in err
    assert "  transports.wire.listen: must be 'host:port', not 'nowhere'" in err
    assert "Traceback" not in err


def test_a_missing_file_and_a_malformed_override_are_reported_together(tmp_path: Path) -> None:
    code, _, err = run("check", "-c", str(tmp_path / "none.toml"), "--set", "nothing")
    assert code == 2
    assert "2 problems" in err


def test_serve_hands_the_document_to_the_host_and_ends_with_its_status(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Document] = []

    def serve(document: Document) -> int:
        served.append(document)
        return 7

    monkeypatch.setattr("mfn_core.host.serve", serve)
    code, _, err = run("serve", "-c", str(file), "--set", "server.workers=3")
    assert (code, err) == (7, "")
    assert served[0].tables["server"]["workers"] == 3
    assert served[0].base_dir == file.parent


def test_a_problem_that_the_host_finds_reads_like_any_other(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def serve(document: Document) -> int:
        raise ConfigError([Problem(path="transports.wire", message="127.0.0.1:1 is in use")])

    monkeypatch.setattr("mfn_core.host.serve", serve)
    code, _, err = run("serve", "-c", str(file))
    assert code == 2
    assert err == "1 problem in the configuration:\n  transports.wire: 127.0.0.1:1 is in use\n"


def test_without_a_file_serve_names_what_the_default_set_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    served: list[Any] = []

    def default_document(directory: Path) -> Document:
        made.append(directory)
        (directory / "keys.toml").touch(0o600)
        return Document(tables={"server": {"workers": 1}}, base_dir=directory, source="default")

    def serve(document: Document) -> int:
        served.append(document)
        return 0

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("mfn_core.host.default_document", default_document)
    monkeypatch.setattr("mfn_core.host.serve", serve)
    code, _, err = run("serve", "--set", "server.workers=2")
    assert code == 0
    assert made[0].parent == tmp_path
    assert made[0].stat().st_mode & 0o777 == 0o700
    assert f"wrote {made[0] / 'keys.toml'} (mode 0600)" in err
    assert served[0].tables == {"server": {"workers": 2}}


@pytest.mark.parametrize("wrong", ["default_document", "serve"])
def test_a_default_set_that_cannot_be_served_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    def default_document(directory: Path) -> Document:
        (directory / "keys.toml").touch(0o600)
        return Document(tables={}, base_dir=directory, source="default")

    def refuse(*_: object) -> int:
        raise ConfigError([Problem(path="", message="no default set is installed")])

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("mfn_core.host.default_document", default_document)
    monkeypatch.setattr(f"mfn_core.host.{wrong}", refuse)
    code, _, err = run("serve")
    assert code == 2
    assert "no default set is installed" in err
    assert not list(tmp_path.iterdir())


def test_check_of_the_default_set_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def default_document(directory: Path) -> Document:
        (directory / "keys.toml").touch(0o600)
        return Document(tables={"sever": {}}, base_dir=directory, source="default")

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("mfn_core.host.default_document", default_document)
    code, _, err = run("check")
    assert code == 2
    assert "unknown section [sever]" in err
    assert not list(tmp_path.iterdir())


def test_plugins_lists_components_and_the_failure_of_one_that_cannot_be_imported(install_plugin: Install) -> None:
    install_plugin("slime", PLUGIN)
    install_plugin("broken", "raise RuntimeError('no luck')")
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "slime dist-slime 1.2.3 auth.token stable a token" in lines
    assert "transports.wire experimental a transport" in lines
    (broken,) = (line for line in lines if line.startswith("broken dist-broken 1.2.3 - fails"))
    assert "RuntimeError: no luck" in broken


def test_plugins_says_which_are_made_for_another_version_of_the_plugin_api(install: Install) -> None:
    install("dist-old", files={}, entry_points={"mfn.plugins.v0": {"old": "old_module"}}, summary="an engine")
    code, out, err = run("plugins")
    assert (code, err) == (0, "")
    (line,) = (" ".join(line.split()) for line in out.splitlines() if line.strip().startswith("old "))
    assert line.startswith("old dist-old 1.2.3 - fails plugin 'old' (dist-old 1.2.3) is made for")
    assert "mfn.plugins.v0" in line
    assert 'in pyproject.toml under [project.entry-points."mfn.plugins.v1"]' in line
    (listed,) = (plugin for plugin in json.loads(run("plugins", "--json")[1])["plugins"] if plugin["name"] == "old")
    assert listed["components"] == []
    assert "install a newer release of dist-old" in listed["problems"][0]


def test_plugins_gives_json(install_plugin: Install) -> None:
    install_plugin("slime", PLUGIN)
    install_plugin("broken", "raise RuntimeError('no luck')")
    code, out, _ = run("plugins", "--json")
    assert code == 0
    plugins = {plugin["name"]: plugin for plugin in json.loads(out)["plugins"]}
    assert plugins["slime"]["version"] == "1.2.3"
    assert plugins["slime"]["problems"] == []
    assert {
        "kind": "transport",
        "section": "transports.wire",
        "summary": "a transport",
        "stability": "experimental",
        "scope": "shared",
    } in plugins["slime"]["components"]
    assert plugins["broken"]["components"] == []
    assert "no luck" in plugins["broken"]["problems"][0]


def on_a_terminal(site: Path, **environment: str) -> str:
    """What `mfn plugins` writes to a pseudo-terminal."""
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "mfn_core", "plugins"],
            stdout=terminal,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(site), "TERM": "xterm-256color", "COLUMNS": "200", **environment},
        )
        os.set_blocking(controller, False)
        return os.read(controller, 1 << 20).decode()
    finally:
        os.close(controller)
        os.close(terminal)


def test_a_terminal_gets_a_styled_table_unless_it_asks_for_none(install_plugin: Install, site: Path) -> None:
    install_plugin("slime", PLUGIN)
    environment = {"NO_COLOR": ""}
    styled = on_a_terminal(site, **environment)
    assert "\x1b[" in styled
    assert "transports.wire" in styled
    plain = on_a_terminal(site, NO_COLOR="1")
    assert "\x1b[3" not in plain.replace("\x1b[3m", "")  # italics are no colour
    assert "transports.wire" in plain


def test_rich_is_not_imported_where_output_is_no_terminal() -> None:
    code = (
        "import sys; from mfn_core.cli import main\n"
        "try: main(['plugins'], prog_name='mfn')\n"
        "except SystemExit: pass\n"
        "print('rich' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.splitlines()[-1] == "False"
