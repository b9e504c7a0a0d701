"""What a command ends with, as the page about operations says it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mfn_e2e.commands import mfn
from mfn_e2e.processes import cpu_seconds
from mfn_signing import append_key, generate_key

OPERATIONS = Path(__file__).parents[2] / "docs" / "guide" / "operations.md"

CASES: dict[tuple[str, int], tuple[str, ...]] = {
    ("mfn check", 2): ("check", "-c", "wrong.toml"),
    ("mfn serve", 2): ("serve", "-c", "wrong.toml"),
    ("mfn config", 2): ("config", "show", "-c", "wrong.toml"),
    ("mfn config init", 1): ("config", "init", "wrong.toml"),
    ("mfn audit verify", 0): ("audit", "verify", "empty.jsonl"),
    ("mfn audit verify", 1): ("audit", "verify", "broken.jsonl"),
    ("mfn audit verify", 2): ("audit", "verify", "nothing.jsonl"),
    ("mfn simulate", 1): ("simulate", "--grid", "4", "--save", "nowhere/field.npy"),
    ("mfn simulate", 2): ("simulate", "--grid", "0"),
    ("mfn call", 1): ("call", "HealthCheck", "--address", "127.0.0.1:1"),
    ("mfn call", 2): ("call", "HealthCheck", "--address", "192.0.2.1:1"),
    ("mfn keys", 1): ("keys", "rotate", "nobody", "-f", "keys.toml"),
    ("mfn sign", 1): ("sign", "/a.B/C", "-k", "keys.toml", "--key-id", "nobody"),
    ("mfn new", 1): ("new", "plugin", "spore"),
    ("mfn new", 2): ("new", "plugin", "a spore"),
    ("any", 2): ("plugins", "--nonsense"),
}
"""Command as the page names it and its status, with words that lead to it."""


AT_WORK = 1.5
"""CPU seconds after which a command no longer starts."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands are told of."""
    (tmp_path / "wrong.toml").write_text("[server]\nworkres = 2\n")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "broken.jsonl").write_text("{}\n")
    (tmp_path / "mfn-middleware-spore").mkdir()
    append_key(tmp_path / "keys.toml", generate_key(key_id="ada", principal="ada", roles={"write"}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("command", "status"), CASES, ids=lambda value: str(value).replace(" ", "-"))
def test_a_command_ends_as_it_is_documented(place: Path, command: str, status: int) -> None:
    rows = [line.split(" | ") for line in OPERATIONS.read_text("utf-8").splitlines() if line.startswith("| ")]
    documented = {
        (name.strip("`"), int(number))
        for row in rows
        if row[0].lstrip("| ").replace(", ", "").isdigit()
        for number in row[0].lstrip("| ").split(", ")
        for name in row[1].split(", ")
    }
    assert (command, status) in documented
    mfn(*CASES[command, status], status=status)


def test_an_interrupted_command_says_so_by_its_status(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mfn_core", "simulate", "--grid", "512", "--steps", "1000000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        while process.poll() is None and cpu_seconds(process.pid) < AT_WORK:
            time.sleep(0.01)  # another process: it can only be looked at
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    # Python dies of the signal itself, with the same words, where it came amid text that it was evaluating, as the
    # making of a named tuple is while modules load. Shells call both 130.
    assert process.returncode in {130, -signal.SIGINT}
    assert said.strip() == b"interrupted"
