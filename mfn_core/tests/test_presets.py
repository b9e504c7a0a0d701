"""Presets: configurations that distributions offer by name."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mfn_core.cli import main
from mfn_core.config import ConfigError, load_preset

SOURCE = """
from mfn_core.config import Preset

odd = Preset(
    summary="For odd jobs.",
    tables={
        "server": {"plugins": ["mfn_toy.parts"], "max_grid": 77},
        "transports": {"line": {"listen": "127.0.0.1:7777"}},
        "audit": {"file": {"path": "audit.jsonl"}},
    },
    needs=("count to three",),
)
"""


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def offer(install: Callable[..., None], distribution: str, module: str) -> None:
    install(
        distribution,
        files={f"{module}.py": SOURCE},
        entry_points={"mfn.presets.v1": {"odd": f"{module}:odd"}},
    )


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_what_a_preset_sets_is_in_force_and_the_rest_is_told(install: Callable[..., None], tmp_path: Path) -> None:
    offer(install, "odd-presets", "odd_presets")
    file = tmp_path / "mfn.toml"
    done = run("config", "init", "--preset", "odd", file)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["before it can be checked and served:", "  count to three"]
    text = file.read_text()
    assert text.startswith("# For odd jobs.\n")
    settings = tomllib.loads(text)
    assert settings["server"] == {"plugins": ["mfn_toy.parts"], "max_grid": 77}
    assert settings["transports"]["line"] == {"listen": "127.0.0.1:7777"}
    assert "# max_steps = 10000" in text
    assert "# most steps that one call may ask for (steps)" in text
    assert run("check", "-c", file).exit_code == 0


def test_two_distributions_that_offer_one_name_are_both_named(install: Callable[..., None]) -> None:
    offer(install, "odd-presets", "odd_presets")
    offer(install, "more-presets", "more_presets")
    with pytest.raises(ConfigError, match="preset 'odd' is offered by more_presets:odd and odd_presets:odd"):
        load_preset("odd")


def test_an_unknown_name_is_answered_with_the_nearest(install: Callable[..., None]) -> None:
    offer(install, "odd-presets", "odd_presets")
    with pytest.raises(ConfigError, match="there is no preset 'oddd'") as unknown:
        load_preset("oddd")
    assert "'odd'" in unknown.value.problems[0].remedy
