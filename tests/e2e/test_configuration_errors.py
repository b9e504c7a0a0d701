"""A wrong configuration: one screen that names everything, exit status 2, and nothing was touched."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from mfn_core.testing.process import toml_text
from mfn_e2e.deployment import AUDIT, SUPPORT, tables
from mfn_e2e.installed import TRANSPORTS, engines
from mfn_signing import append_key, generate_key

SCREEN = 40
"""Lines of a terminal."""


@frozen
class Finished:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str
    bound: list[str]
    """Sockets that it bound."""
    started: list[str]
    """Processes of this Python that it started; a look at the system's libraries is none."""


def run(directory: Path, configuration: dict[str, Any], command: str = "serve") -> Finished:
    """`mfn serve`, which is expected to end by itself."""
    append_key(directory / "keys.toml", generate_key(key_id="ada", principal="ada", roles={"write"}))
    config, spied = directory / "mfn.toml", directory / "spied"
    config.write_text(toml_text(configuration))
    done = subprocess.run(
        [sys.executable, "-m", "mfn_core", command, "-c", str(config)],
        cwd=directory,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SUPPORT / "spy"), str(SUPPORT)]),
            "MFN_SPY": str(spied),
            "COLUMNS": "100",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert spied.exists(), "the spy was not there"
    noted = spied.read_text().splitlines()
    return Finished(
        status=done.returncode,
        stdout=done.stdout,
        stderr=done.stderr,
        bound=[line for line in noted if line.startswith("socket.bind")],
        started=[line for line in noted if not line.startswith("socket.bind") and sys.executable in line],
    )


def assert_one_screen(done: Finished, directory: Path, *said: str) -> None:
    assert done.status == 2, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) <= SCREEN
    assert "Traceback" not in done.stderr
    for text in said:
        assert text in done.stderr, done.stderr
    assert not (directory / AUDIT).exists()


Change = Callable[[dict[str, Any]], object]


def with_plugin(name: str) -> Change:
    return lambda made: made["server"]["plugins"].append(name)


def without_authentication(made: dict[str, Any]) -> None:
    made["server"]["plugins"] = [name for name in made["server"]["plugins"] if name != "auth_hmac"]
    made["server"].pop("allow", None)
    made.pop("auth", None)


CASES: dict[str, tuple[list[Change], tuple[str, ...]]] = {
    "a misspelt key": (
        [lambda made: made["server"].update(max_gird=64)],
        ("server.max_gird", "did you mean 'max_grid'?"),
    ),
    "a misspelt section": ([lambda made: made.update(sever={})], ("[sever]", "did you mean 'server'?")),
    "a misspelt transport": (
        [lambda made: made["transports"].update({"grcp": {"listen": "127.0.0.1:0"}})],
        ("transports.grcp", "known:"),
    ),
    "a wrong type": (
        [lambda made: made["server"].update(max_grid="large")],
        ("server.max_grid", "expected an integer", '"large"'),
    ),
    "a value out of bounds": (
        [lambda made: made["server"].update(drain_seconds=-1.0)],
        ("server.drain_seconds", "-1.0", "600"),
    ),
    "a plugin that is not installed": (
        [with_plugin("transport_grcp")],
        ("server.plugins[", "no plugin 'transport_grcp' is installed", "known:"),
    ),
    "a module that does not exist": (
        [with_plugin("mfn_e2e.nothing")],
        ("server.plugins[", "mfn_e2e.nothing", "has no module"),
    ),
    "a plugin whose import fails": (
        [with_plugin("mfn_e2e.unimportable")],
        ("server.plugins[", "mfn_e2e.unimportable", "RuntimeError: the lab's driver is not connected", "install"),
    ),
    "a component that two plugins declare": (
        [with_plugin("mfn_e2e.toys"), with_plugin("mfn_e2e.more_toys")],
        ("limits.slots", "mfn_e2e.toys", "mfn_e2e.more_toys", "name only one of them"),
    ),
    "a misspelt hook": (
        [with_plugin("mfn_e2e.misspelt")],
        ("mfn_e2e.misspelt", "'mfn_limitters'", "does not exist", "did you mean 'mfn_limiters'?"),
    ),
    "no authentication before what needs a principal": (
        [without_authentication, with_plugin("mfn_e2e.toys")],
        ("auth", "need a principal", "limits", "auth_hmac"),
    ),
    "limits before authentication": (
        [
            with_plugin("mfn_e2e.toys"),
            lambda made: made.update(pipeline={"order": ["audit", "telemetry", "limit", "auth"]}),
        ],
        ("pipeline.order", "limit stands before auth", "move 'auth' before 'limit'"),
    ),
    "no transport": (
        [
            lambda made: made["server"].update(plugins=[*engines(), "service_mfn"], allow=["anonymous"]),
            lambda made: [made.pop(section, None) for section in ("transports", "auth", "audit")],
        ],
        ("server.plugins", "no plugin provides a transport"),
    ),
    "a listener that others can reach, without encryption": (
        [lambda made: made["transports"][TRANSPORTS[0]].update(listen="0.0.0.0:0")],
        (f"transports.{TRANSPORTS[0]}.listen", "without TLS", "plaintext-beyond-loopback"),
    ),
}


ALONE = (
    "a misspelt transport",
    "no authentication before what needs a principal",
    "limits before authentication",
    "no transport",
    "a listener that others can reach, without encryption",
)
"""What is looked at once every plugin is loaded and every section is right."""


def changed(*names: str) -> tuple[dict[str, Any], list[str]]:
    """A configuration that is wrong in these ways, and what must be said of it."""
    made = tables()
    said: list[str] = []
    for name in names:
        changes, texts = CASES[name]
        for change in changes:
            change(made)
        said.extend(texts)
    return made, said


@pytest.mark.parametrize("command", ["serve", "check"])
def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path, command: str) -> None:
    names = [name for name in CASES if name not in ALONE]
    made, said = changed(*names)
    done = run(tmp_path, made, command)
    assert_one_screen(done, tmp_path, f"{len(names)} problems in the configuration:", *said)
    assert (done.bound, done.started) == ([], [])


@pytest.mark.parametrize("name", [*ALONE, "a plugin whose import fails"])
def test_a_server_does_not_start_with(tmp_path: Path, name: str) -> None:
    made, said = changed(name)
    done = run(tmp_path, made)
    assert_one_screen(done, tmp_path, "1 problem in the configuration:", *said)
    assert (done.bound, done.started) == ([], [])


def test_parts_that_cannot_be_made_are_named_together(tmp_path: Path) -> None:
    done = run(tmp_path, tables(plugins=["mfn_e2e.defective"], auth={"hmac": {"keys_file": "no-such-keys.toml"}}))
    said = ["limits.defective", "ZeroDivisionError", "report it", "auth.hmac", "no-such-keys.toml"]
    assert_one_screen(done, tmp_path, *said)
    assert (done.bound, done.started) == ([], [])


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_port_that_is_in_use_is_named(tmp_path: Path, transport: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        made = tables()
        made["transports"][transport]["listen"] = f"127.0.0.1:{port}"
        done = run(tmp_path, made)
        assert_one_screen(done, tmp_path, f"transports.{transport}", f"127.0.0.1:{port}", "in use")
        # It tried the addresses; no worker was started that could have served on another.
        assert done.started == []


def test_two_listeners_on_one_port_are_found_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = tables(transports=TRANSPORTS[:1])
    made["transports"] = {TRANSPORTS[0]: {"listen": f"127.0.0.1:{port}"}}
    second = TRANSPORTS[-1] if len(TRANSPORTS) > 1 else f"{TRANSPORTS[0]}/second"
    if len(TRANSPORTS) > 1:
        made["server"]["plugins"].append(f"transport_{second}")
    made["transports"][second] = {"listen": f"127.0.0.1:{port}"}
    done = run(tmp_path, made)
    assert_one_screen(done, tmp_path, f"127.0.0.1:{port}", *made["transports"])
    assert done.started == []
