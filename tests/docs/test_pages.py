"""The pages say what is so: links lead somewhere, names exist, and what can be run cheaply runs as it is shown.

The info string of a fenced block says what is done with it. `python run` and `sh run` are run in the order of the page,
in one folder of their own. `text output` after one is its output, in which a line `…` stands for any lines. A block
with `file=NAME` is written to that file.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from mfn_core.registry import PluginRegistry

ROOT = Path(__file__).parents[2]

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?P<text>[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\((?P<target>[^)\s]+)\)")
CODE_NAME = re.compile(r"`(?P<name>[A-Za-z_][\w.]*)`$")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def slug(heading: str) -> str:
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def absent_plugin(path: Path) -> bool:
    """Whether a path lies in the folder of a plugin that this checkout does without."""
    parts = path.relative_to(ROOT).parts
    return len(parts) > 1 and parts[0] == "mfn_plugins" and not (ROOT / parts[0] / parts[1]).exists()


def links(page: Path) -> Iterator[tuple[str, Path, str]]:
    """Text, file and fragment of every link into this repository."""
    for found in LINK.finditer(prose(page)):
        target = found["target"]
        if "://" in target or target.startswith("mailto:"):
            continue
        file, _, fragment = target.partition("#")
        yield found["text"], (page.parent / file).resolve() if file else page, fragment


def defined(path: Path) -> set[str]:
    """Qualified names of what a module defines."""
    names: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.ClassDef():
                    names.add(prefix + node.name)
                    visit(node.body, f"{prefix}{node.name}.")
                case ast.FunctionDef() | ast.AsyncFunctionDef():
                    names.add(prefix + node.name)
                case ast.Assign():
                    names.update(prefix + each.id for each in node.targets if isinstance(each, ast.Name))
                case ast.AnnAssign(target=ast.Name(id=each)):
                    names.add(prefix + each)
                case _:
                    pass

    visit(ast.parse(path.read_text("utf-8")).body, "")
    return names


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    wrong = []
    for _, path, fragment in links(page):
        if not path.exists():
            if not absent_plugin(path):
                wrong.append(f"{path}: no such file")
        elif fragment and path.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
            if fragment not in map(slug, headings):
                wrong.append(f"{path}: no heading #{fragment}")
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_linked_names_stand_in_the_files_that_they_link_to(page: Path) -> None:
    wrong = []
    for text, path, _ in links(page):
        named = CODE_NAME.match(text)
        if path.suffix != ".py" or named is None or named["name"] == path.name or not path.exists():
            continue
        if named["name"] not in defined(path):
            wrong.append(f"{named['name']} is not in {path.relative_to(ROOT)}")
    assert wrong == []


def test_the_call_path_leads_through_at_most_six_files() -> None:
    page = ROOT / "docs" / "guide" / "call-path.md"
    text = page.read_text("utf-8").partition("## The way in")[2].partition("## The way back")[0]
    files = {found["target"] for found in LINK.finditer(text)}
    assert len(files) == 6
    assert all(file.endswith(".py") for file in files)


def test_every_page_of_the_guide_is_reached_from_the_readme() -> None:
    linked = {path for _, path, _ in links(ROOT / "README.md")}
    assert sorted((ROOT / "docs" / "guide").glob("*.md")) == sorted(
        path for path in linked if path.parent == ROOT / "docs" / "guide"
    )


def test_every_decision_is_listed_and_has_its_three_parts() -> None:
    folder = ROOT / "docs" / "adr"
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert {path for _, path, _ in links(folder / "README.md")} == set(decisions)
    for number, page in enumerate(decisions, 1):
        title, *_ = page.read_text("utf-8").splitlines()
        assert page.name.startswith(f"{number:04d}-"), page.name
        assert title.startswith(f"# {number}. "), page.name
        headings = re.findall(r"^## (.*)$", page.read_text("utf-8"), re.MULTILINE)
        assert headings == ["Context", "Decision", "Consequences"], page.name


@frozen(kw_only=True)
class Block:
    """A fenced block."""

    kind: str
    words: tuple[str, ...]
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for fence in FENCE.finditer(text):
        kind, *words = fence["info"].split() or [""]
        found.append(
            Block(kind=kind, words=tuple(words), text=fence["text"], line=text.count("\n", 0, fence.start()) + 1)
        )
    return found


RUNNABLE = [page for page in PAGES if any("run" in block.words for block in blocks(page))]


def matches(shown: str, printed: str) -> bool:
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else re.escape(line.rstrip()) + r"[ ]*\n" for line in shown.splitlines()
    )
    return re.fullmatch(pattern, printed if printed.endswith("\n") or not printed else printed + "\n") is not None


@pytest.mark.parametrize("page", RUNNABLE, ids=name_of)
def test_what_a_page_runs_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    named = {
        plugin
        for block in blocks(page)
        if block.kind == "toml" and any(word.startswith("file=") for word in block.words)
        for plugin in tomllib.loads(block.text)["server"]["plugins"]
        if not {".", ":"} & set(plugin)
    }
    if missing := named - {plugin.name for plugin in PluginRegistry.installed()}:
        pytest.skip(f"{', '.join(sorted(missing))} is not installed")
    before, printed = "", None
    for block in blocks(page):
        for word in block.words:
            if word.startswith("file="):
                (tmp_path / word.removeprefix("file=")).write_text(block.text, "utf-8")
        if block.kind == "text" and "output" in block.words:
            assert printed is not None, f"{page.name}:{block.line}: output of what?"
            assert matches(block.text, printed), f"{page.name}:{block.line}: it prints\n{printed}"
            printed = None
        if "run" not in block.words:
            continue
        # What an earlier block of Python defined is there for a later one; what it printed is not printed again.
        quiet = (
            f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n exec({before!r}, globals())\n"
        )
        command = {"sh": ["bash", "-eu", "-c", block.text], "python": [sys.executable, "-c", quiet + block.text]}
        ran = subprocess.run(
            command[block.kind],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=110,
            errors="replace",
        )
        printed = ran.stdout
        assert ran.returncode == 0, f"{page.name}:{block.line}:\n{printed}"
        if block.kind == "python":
            before += block.text
