"""`mfn new`: what it writes, what it calls it, and what it refuses."""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from mfn_core.cli import _scaffold, main
from mfn_core.cli._scaffold import KINDS, require_free, require_name, write_package

Install = Callable[..., None]

FILES = {
    "README.md",
    "pyproject.toml",
    "src/mfn_{plugin}/__init__.py",
    "src/mfn_{plugin}/plugin.py",
    "src/mfn_{plugin}/py.typed",
    "tests/test_{plugin}.py",
}


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["new", *map(str, arguments)], prog_name="mfn", catch_exceptions=False)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("words", "plugin"),
    [
        (("backend", "lichen"), "engine_lichen"),
        (("model", "lichen"), "model_lichen"),
        (("plugin", "lichen"), "middleware_lichen"),
        (("plugin", "lichen", "--kind", "authenticator"), "auth_lichen"),
        (("plugin", "lichen", "--kind", "audit-sink"), "audit_lichen"),
        (("plugin", "lichen", "--kind", "limiter"), "limiter_lichen"),
        (("plugin", "lichen", "--kind", "middleware"), "middleware_lichen"),
        (("plugin", "lichen", "--kind", "service"), "service_lichen"),
    ],
)
def test_a_package_of_each_kind_is_whole(tmp_path: Path, words: tuple[str, ...], plugin: str) -> None:
    done = run(*words, "--directory", tmp_path)
    assert done.exit_code == 0, done.output
    folder = tmp_path / f"mfn-{plugin.replace('_', '-')}"
    assert files(folder) == {name.format(plugin=plugin) for name in FILES}
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == folder.name
    assert project["entry-points"] == {"mfn.plugins.v1": {plugin: f"mfn_{plugin}.plugin"}}
    assert "license" not in project
    assert "mfn-core>=0.1,<0.2" in project["dependencies"]
    further = ["mycelium-fractal-net>=0.1,<0.2", "numpy>=1.26,<3"] if words[0] == "model" else []
    assert project["optional-dependencies"]["test"] == ["mfn-core[testing]>=0.1,<0.2", *further]
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text("utf-8")
            assert "${" not in text
            assert "$name" not in text
            if path.suffix == ".py":
                ast.parse(text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_requires_what_it_imports(kind: str) -> None:
    rendered = require_name(KINDS[kind], "lichen").rendered()
    imported = set()
    for path, text in rendered.items():
        if path.startswith("src/") and path.endswith(".py"):
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ImportFrom) and node.module:
                    imported.add(node.module.partition(".")[0])
                elif isinstance(node, ast.Import):
                    imported.update(alias.name.partition(".")[0] for alias in node.names)
    required = {
        requirement.partition(">")[0].replace("-", "_").replace("protobuf", "google")
        for requirement in tomllib.loads(rendered["pyproject.toml"])["project"]["dependencies"]
    }
    assert imported & {"attrs", "google", "mfn_core", "mfn_model", "numpy"} == required


def test_the_next_steps_are_printed(tmp_path: Path) -> None:
    done = run("backend", "lichen", "--directory", tmp_path)
    assert f"cd {tmp_path / 'mfn-engine-lichen'}" in done.output
    (tmp_path / "my work").mkdir()
    spaced = run("backend", "moss", "--directory", str(tmp_path / "my work"))
    assert f"cd '{tmp_path / 'my work' / 'mfn-engine-moss'}'" in spaced.output
    assert 'python -m pip install -e ".[test]"' in done.output
    assert "python -m pytest" in done.output


def test_it_is_made_in_the_current_directory_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("backend", "lichen")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "mfn-engine-lichen" / "pyproject.toml").is_file()
    assert "cd mfn-engine-lichen" in done.output


# What is refused.


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Slime", "write 'slime'"),
        ("slime-mould", "write 'slime_mould'"),
        ("slime mould", "write 'slime_mould'"),
        ("slime__mould", "write 'slime_mould'"),
        ("slime_", "write 'slime'"),
        ("2slimes", "write 'slimes'"),
        ("../slime", "write 'slime'"),
        ("schleimpilz-ä", "write 'schleimpilz'"),
        ("s" * 33, f"write '{'s' * 32}'"),
        ("", "1 to 32 of a-z"),
        ("_", "1 to 32 of a-z"),
        ("engine_slime", "write 'slime'"),
        ("mfn_engine_slime", "write 'slime'"),
        ("mfn_slime", "write 'slime'"),
        ("auto", "means something else in [engines]"),
        ("class", "means something else in Python"),
    ],
)
def test_a_name_that_cannot_be_is_refused_with_one_that_can(tmp_path: Path, name: str, says: str) -> None:
    done = run("backend", "--directory", tmp_path, "--", name)
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("slime-mould", "cannot be the name of a model, which has 1 to 32 of a-z, 0-9 and _"),
        ("model_slime", "write 'slime'"),
        ("lambda", "means something else in Python"),
        ("gray_scott", "model 'gray_scott' is of mfn-model"),
    ],
)
def test_a_name_that_no_new_model_can_have_is_refused(tmp_path: Path, name: str, says: str) -> None:
    done = run("model", name, "--directory", tmp_path)
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_the_model_of_a_plugin_has_is_refused(install_plugin: Install, tmp_path: Path) -> None:
    install_plugin(
        "other",
        """
        from mfn_model import FieldModel, Species

        @hookimpl
        def mfn_models():
            only = Species(name="u", unit="1", description="stays")
            return [
                FieldModel(name="lichen", summary="s", species=(only,), parameters=(), boundary="periodic", source="s")
            ]
        """,
    )
    (tmp_path / "new").mkdir()
    done = run("model", "lichen", "--directory", tmp_path / "new")
    assert done.exit_code == 2
    assert "model 'lichen' is of dist-other 1.2.3" in " ".join(done.output.split())


def test_what_is_not_installed_is_required_in_the_versions_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def installed(distribution: str) -> str:
        if distribution == "mfn-core":
            return "0.4.1"
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr(_scaffold, "version", installed)
    project = tomllib.loads(require_name(KINDS["model"], "lichen").rendered()["pyproject.toml"])["project"]
    assert project["optional-dependencies"]["test"][1] == "mycelium-fractal-net>=0.4,<0.5"


@pytest.mark.parametrize("name", ["audit", "auth", "limit", "telemetry"])
def test_a_middleware_is_not_called_as_a_stage_of_the_chain(tmp_path: Path, name: str) -> None:
    done = run("plugin", name, "--directory", tmp_path)
    assert done.exit_code == 2
    assert "means something else in [middlewares]" in done.output


PLUGIN = """
@hookimpl
def mfn_backends():
    return [ComponentSpec(name="lichen", factory=lambda config, context: object(), summary="an engine")]
"""


@pytest.mark.parametrize(
    ("installed", "distribution", "says"),
    [
        ("engine_lichen", "other", "plugin 'engine_lichen' is of other 1.2.3"),
        ("other", "MFN_Engine.Lichen", "distribution 'mfn-engine-lichen' is of MFN_Engine.Lichen 1.2.3"),
        ("other", "other", "component [engines.lichen] is of other 1.2.3"),
    ],
)
def test_a_name_that_something_installed_has_is_refused(
    install_plugin: Install, tmp_path: Path, installed: str, distribution: str, says: str
) -> None:
    install_plugin(installed, PLUGIN, distribution=distribution)
    (tmp_path / "new").mkdir()
    done = run("backend", "lichen", "--directory", tmp_path / "new")
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())
    assert list((tmp_path / "new").iterdir()) == []


def test_a_module_on_the_path_has_its_name(site: Path) -> None:
    (site / "mfn_engine_lichen.py").write_text("raise RuntimeError('this module must not be imported')")
    with pytest.raises(click.BadParameter, match=r"module 'mfn_engine_lichen' is of .*site"):
        require_free(require_name(KINDS["backend"], "lichen"))


def test_a_component_of_another_kind_and_a_broken_plugin_are_in_nobody_s_way(
    install_plugin: Install, tmp_path: Path
) -> None:
    install_plugin("other", PLUGIN)
    install_plugin("broken", "raise RuntimeError('broken')")
    (tmp_path / "new").mkdir()
    done = run("plugin", "lichen", "--kind", "limiter", "--directory", tmp_path / "new")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_what_exists_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    folder = tmp_path / "mfn-engine-lichen"
    if what == "folder":
        folder.mkdir()
        (folder / "pyproject.toml").write_text("mine")
    elif what == "file":
        folder.write_text("mine")
    else:
        folder.symlink_to(tmp_path / "nowhere")
    before = files(tmp_path)
    done = run("backend", "lichen", "--directory", tmp_path)
    assert done.exit_code == 1
    assert "exists; choose another name" in done.output
    assert files(tmp_path) == before
    assert all(path.read_text() == "mine" for path in tmp_path.rglob("*") if path.is_file())


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = run("backend", "lichen", "--directory", tmp_path / "absent")
    assert done.exit_code == 2
    assert "absent" in done.output


def test_a_package_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, text: str, encoding: str) -> int:
        if self.name == "plugin.py":
            raise OSError(28, os.strerror(28))
        return self.write_bytes(text.encode(encoding))

    monkeypatch.setattr(Path, "write_text", full)
    done = run("backend", "lichen", "--directory", tmp_path)
    assert done.exit_code == 1
    assert "No space left on device" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "wanted"),
    [("0.1.0", ">=0.1,<0.2"), ("0.3.2.dev1", ">=0.3,<0.4"), ("1.0.0", ">=1.0,<2"), ("2.3.1", ">=2.3,<3")],
)
def test_requirements_are_the_range_of_the_version_that_wrote_them(
    monkeypatch: pytest.MonkeyPatch, version: str, wanted: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(_scaffold, "version", lambda distribution: version)
    write_package(require_name(KINDS["backend"], "lichen"), tmp_path / "new")
    project = tomllib.loads((tmp_path / "new" / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["dependencies"][:2] == [f"mfn-core{wanted}", f"mfn-model{wanted}"]
