"""The command line: found without imports, run with them, and clear about what fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import mfn_core
from mfn_core.cli import main
from mfn_core.cli._summary import summary_of

Install = Callable[..., None]

COMMAND = '''
"""Commands about spores."""
import click

@click.command()
@click.option("--size", help="the size of a spore")
def spore(size):
    """Grow a spore.

    And more.
    """
    click.echo(f"grown: {size}")
'''


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, arguments, prog_name="mfn")
    return result.exit_code, result.stdout, result.stderr


def modules_after(code: str, site: Path | None = None) -> set[str]:
    """Names of the modules that a fresh interpreter has after running `code`."""
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(site or "")},
    )
    return set(json.loads(ran.stdout.splitlines()[-1]))


HEAVY = {"grpc", "google", "numpy", "scipy", "pluggy", "cattrs", "click", "rich", "attr", "asyncio"}


def test_importing_the_kernel_imports_nothing_that_is_heavy() -> None:
    assert not {name.partition(".")[0] for name in modules_after("import mfn_core")} & HEAVY


def test_a_public_name_imports_its_own_module_when_it_is_used() -> None:
    modules = modules_after("import mfn_core; mfn_core.MfnError")
    assert "mfn_core.errors" in modules
    assert not {"mfn_core.config", "mfn_core.hookspecs", "pluggy", "numpy"} & modules


def test_the_exported_names_are_these() -> None:
    assert mfn_core.__all__ == [
        "Allowance",
        "AuditRecord",
        "AuditSink",
        "Authenticator",
        "Backend",
        "Call",
        "CancelToken",
        "Code",
        "ComponentContext",
        "ComponentKind",
        "ComponentSpec",
        "ConfigError",
        "Dispatcher",
        "FieldViolation",
        "Lease",
        "Limiter",
        "Metadata",
        "MfnError",
        "Middleware",
        "Next",
        "NoSettings",
        "Operation",
        "Outcome",
        "Page",
        "Peer",
        "Principal",
        "Problem",
        "RemoteExecutor",
        "Request",
        "Run",
        "Secret",
        "Service",
        "ServiceProvider",
        "Session",
        "Shape",
        "SupportsBatch",
        "SupportsCheckpoint",
        "SupportsPages",
        "SupportsRestore",
        "SupportsSpeed",
        "SupportsSteering",
        "Transport",
        "hookimpl",
        "require_supported",
        "setting",
        "unauthenticated",
    ]


@pytest.mark.parametrize("name", mfn_core.__all__)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(mfn_core, name) is not None
    assert name in dir(mfn_core)


def test_a_name_that_is_not_exported_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = mfn_core.nothing


def test_help_imports_no_command_no_plugin_and_nothing_heavy(install: Install, site: Path) -> None:
    install(
        "dist-spore",
        files={"spores/__init__.py": "raise RuntimeError", "spores/commands.py": COMMAND},
        entry_points={"mfn.commands.v1": {"spore": "spores.commands:spore"}},
    )
    code = "import sys; from mfn_core.cli import main\ntry: main(['--help'], prog_name='mfn')\nexcept SystemExit: pass"
    modules = modules_after(code, site)
    assert "mfn_core.cli" in modules
    assert not {"spores", "mfn_core.cli.serve", "mfn_core.cli.check", "mfn_core.config", "mfn_core.registry"} & modules
    assert not {name.partition(".")[0] for name in modules} & (HEAVY - {"click"})


def test_help_lists_the_built_in_commands_and_those_of_distributions(install: Install) -> None:
    install(
        "dist-spore",
        files={"spores/__init__.py": "raise RuntimeError", "spores/commands.py": COMMAND},
        entry_points={"mfn.commands.v1": {"spore": "spores.commands:spore"}},
    )
    code, out, _ = run("--help")
    assert code == 0
    listed = {line.split()[0]: line.strip() for line in out.partition("Commands:")[2].splitlines() if line.strip()}
    assert listed["spore"].endswith("Grow a spore.")
    assert list(listed)[:3] == ["serve", "check", "config"]
    assert "spores" not in sys.modules


def test_a_command_of_a_distribution_runs(install: Install) -> None:
    install(
        "dist-spore",
        files={"spore_commands.py": COMMAND},
        entry_points={"mfn.commands.v1": {"spore": "spore_commands:spore"}},
    )
    assert run("spore", "--size", "3") == (0, "grown: 3\n", "")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import no_such_dependency", "ModuleNotFoundError: No module named 'no_such_dependency'"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("def (", "SyntaxError"),
        ("", "AttributeError"),
        ("spore = 3", "is a int, not a click command"),
    ],
)
def test_a_command_that_cannot_be_loaded_gives_one_line(install: Install, source: str, said: str) -> None:
    install(
        "dist-spore",
        files={"spore_commands.py": source},
        entry_points={"mfn.commands.v1": {"spore": "spore_commands:spore"}},
    )
    code, out, err = run("spore")
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "command 'spore' of dist-spore 1.2.3" in err
    assert said in err
    assert run("--help")[0] == 0


def test_a_command_of_two_distributions_is_refused_and_both_are_named(install: Install) -> None:
    for number in ("one", "two"):
        install(
            f"dist-{number}",
            files={f"{number}_commands.py": COMMAND},
            entry_points={"mfn.commands.v1": {"spore": f"{number}_commands:spore"}},
        )
    code, _, err = run("spore")
    assert code == 1
    assert "dist-one 1.2.3" in err
    assert "dist-two 1.2.3" in err
    assert "provided by" in run("--help")[1]


def test_a_distribution_cannot_replace_a_built_in_command(install: Install) -> None:
    install(
        "dist-spore",
        files={"spore_commands.py": COMMAND},
        entry_points={"mfn.commands.v1": {"check": "spore_commands:spore"}},
    )
    assert "Grow a spore" not in run("check", "--help")[1]


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    code, _, err = run("sreve")
    assert code == 2
    assert "no such command 'sreve'; did you mean 'serve'?" in err


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert run("--version") == (0, f"mfn {version('mfn-core')}\n", "")


def test_the_module_runs_the_same_command_line() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "mfn_core", "--version"], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.startswith("mfn ")


@pytest.mark.parametrize(
    ("source", "summary"),
    [
        ('@command()\ndef spore():\n    """Grow.\n\n    More."""', "Grow."),
        ('@command(help="By help.")\ndef spore():\n    """Grow."""', "By help."),
        ('@command(help="Long.", short_help="Short.")\ndef spore():\n    pass', "Short."),
        ('@command()\n@click.option("--x", help="no")\ndef spore():\n    """Grow."""', "Grow."),
        ('spore = Group(help="A group.")', "A group."),
        ('"""The module.\n\nMore."""\nfrom other import spore', "The module."),
        ("from other import spore", ""),
        ("def (", ""),
    ],
)
def test_a_summary_is_read_from_source_that_is_not_run(install: Install, source: str, summary: str) -> None:
    install("dist-spore", files={"spores/__init__.py": "raise RuntimeError", "spores/commands.py": source})
    assert summary_of("spores.commands:spore") == summary
    assert "spores" not in sys.modules


@pytest.mark.parametrize("target", ["no_such_package.commands:x", "spores.no_such_module:x", "sys:x", "json.no.such:x"])
def test_without_source_there_is_no_summary(install: Install, target: str) -> None:
    install("dist-spore", files={"spores/__init__.py": "raise RuntimeError"})
    assert summary_of(target) == ""


@pytest.mark.parametrize("command", ["serve", "check", "plugins"])
def test_the_summary_in_the_list_is_that_of_the_command_itself(command: str) -> None:
    loaded = main.get_command(click.Context(main), command)
    assert loaded is not None
    assert (loaded.help or "").partition("\n")[0] == summary_of(f"mfn_core.cli.{command}:{command}")


def test_a_command_without_help_is_listed_with_the_summary_of_its_distribution(install: Install) -> None:
    install(
        "dist-spore",
        files={"spore_commands.py": "from other import spore"},
        entry_points={"mfn.commands.v1": {"spore": "spore_commands:spore"}},
        summary="all about spores",
    )
    assert "all about spores" in run("--help")[1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full")
@pytest.mark.parametrize("arguments", [("plugins", "--json"), ("config", "schema")])
def test_an_output_that_cannot_be_written_is_one_line_and_status_1(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "mfn_core", *arguments], stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"Error: the output cannot be written: no space left on device\n"
