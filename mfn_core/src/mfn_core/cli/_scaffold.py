"""A new package of a plugin: what it is called, whether that name is free, and its files from the templates."""

from __future__ import annotations

import keyword
import re
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from types import MappingProxyType

import click
from attrs import field, frozen

from mfn_core.components import ComponentKind

__all__ = ["KINDS", "Kind", "Package", "require_free", "require_name", "write_package"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""As `ComponentSpec.name`."""


@frozen(kw_only=True)
class Kind:
    """A kind of plugin that can be begun."""

    label: str
    """Of the templates' folder, and of `--kind`."""
    prefix: str
    """Of the entry point, the module and the distribution: `engine` for `engine_slime`."""
    component: ComponentKind | None
    """None for a field model, which is no component."""
    summary: str
    """Of the distribution, as generated."""
    needs: tuple[str, ...]
    """Requirements beside mfn-core."""
    tests_need: tuple[str, ...] = ()
    """Requirements of its tests beside mfn-core[testing]."""
    reserved: frozenset[str] = frozenset()
    """Names that mean something else in a configuration."""

    @property
    def noun(self) -> str:
        """What has the name: a component, or a model."""
        return "model" if self.component is None else "component"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.label: kind
        for kind in (
            Kind(
                label="backend",
                prefix="engine",
                component=ComponentKind.BACKEND,
                summary="A compute backend for MFN",
                needs=("mfn-model", "numpy>=1.26,<3"),
                reserved=frozenset({"auto"}),
            ),
            Kind(
                label="authenticator",
                prefix="auth",
                component=ComponentKind.AUTHENTICATOR,
                summary="An authenticator for MFN",
                needs=("attrs>=23.2",),
                reserved=frozenset({"anonymous"}),
            ),
            Kind(
                label="audit-sink",
                prefix="audit",
                component=ComponentKind.AUDIT_SINK,
                summary="An audit sink for MFN",
                needs=("attrs>=23.2",),
            ),
            Kind(
                label="limiter",
                prefix="limiter",
                component=ComponentKind.LIMITER,
                summary="A limiter for MFN",
                needs=("attrs>=23.2",),
            ),
            Kind(
                label="middleware",
                prefix="middleware",
                component=ComponentKind.MIDDLEWARE,
                summary="A middleware for MFN",
                needs=("attrs>=23.2",),
                reserved=frozenset({"audit", "auth", "limit", "telemetry"}),  # stages of the chain by these names
            ),
            Kind(
                label="service",
                prefix="service",
                component=ComponentKind.SERVICE,
                summary="A service for MFN",
                needs=("attrs>=23.2", "mfn-model", "numpy>=1.26,<3", "protobuf>=6.33,<8"),
            ),
            Kind(
                label="model",
                prefix="model",
                component=None,
                summary="A field model for MFN",
                needs=("mfn-model",),
                tests_need=("mycelium-fractal-net", "numpy>=1.26,<3"),
            ),
        )
    }
)


@frozen(kw_only=True)
class Package:
    """A package that may be made, by its names."""

    kind: Kind
    name: str
    """Of the component or model: `slime`."""
    plugin: str = field(init=False)
    """Of the entry point: `engine_slime`."""
    module: str = field(init=False)
    """`mfn_engine_slime`."""
    distribution: str = field(init=False)
    """`mfn-engine-slime`; the package's folder as well."""

    @plugin.default
    def _plugin(self) -> str:
        return f"{self.kind.prefix}_{self.name}"

    @module.default
    def _module(self) -> str:
        return f"mfn_{self.plugin}"

    @distribution.default
    def _distribution(self) -> str:
        return self.module.replace("_", "-")

    @property
    def shown_by(self) -> str:
        """The command that shows it once it is installed."""
        return f"mfn models {self.name}" if self.kind.component is None else "mfn plugins"

    def rendered(self) -> dict[str, str]:
        """Its files by path, from the templates."""
        own = _read(self.kind.label)
        shared = _read("package")
        values = {
            "name": self.name,
            "plugin": self.plugin,
            "package": self.module,
            "distribution": self.distribution,
            "summary": self.kind.summary,
            "dependencies": _lines(_requirements("mfn-core", *self.kind.needs)),
            "test_dependencies": _lines(_requirements("mfn-core[testing]", *self.kind.tests_need)),
            "shown": self.shown_by.ljust(26)
            + f"# {'describes it' if self.kind.component is None else 'lists ' + self.plugin}",
        }
        values["body"] = _filled(own["README.md"], values)
        texts = {
            "pyproject.toml": shared["pyproject.toml"],
            "README.md": shared["README.md"],
            f"src/{self.module}/__init__.py": shared["__init__.py"],
            f"src/{self.module}/plugin.py": own["plugin.py"],
            f"src/{self.module}/py.typed": "",
            f"tests/test_{self.plugin}.py": own["tests.py"],
        }
        return {path: _filled(text, values) for path, text in texts.items()}


def require_name(kind: Kind, name: str) -> Package:
    """The package that a name gives.

    Raises:
        click.BadParameter: the name cannot be a component's, or means something else; it says what to write instead.
    """
    bare = name.removeprefix("mfn_").removeprefix(f"{kind.prefix}_")
    if bare != name and _is_name(bare):
        raise click.BadParameter(f"{name!r} would be named twice: {kind.prefix}_{name}; write {bare!r}")
    if not _is_name(name):
        close = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")[:32].strip("_")
        raise click.BadParameter(
            f"{name!r} cannot be the name of a {kind.noun}, which has 1 to 32 of a-z, 0-9 and _, begins with a letter "
            "and ends with none of _" + (f"; write {close!r}" if _is_name(close) else "")
        )
    if name in kind.reserved or keyword.iskeyword(name):
        where = "Python" if kind.component is None or keyword.iskeyword(name) else f"[{kind.component.section}]"
        raise click.BadParameter(f"{name!r} means something else in {where}; choose another name")
    return Package(kind=kind, name=name)


def _is_name(text: str) -> bool:
    # A distribution's name ends in a letter or a digit.
    return _NAME.fullmatch(text) is not None and not text.endswith("_") and "__" not in text


def require_free(package: Package) -> None:
    """Refuse a name that something installed has.

    Imports the installed plugins, to know the components of each; one that cannot be imported declares none.

    Raises:
        click.BadParameter: names what has it.
    """
    from mfn_core.config import ConfigError
    from mfn_core.registry import PluginRegistry

    if package.kind.component is None:
        from mfn_model import MODELS

        if package.name in MODELS:  # before a plugin is imported, which may add its own
            raise _taken(package, f"model {package.name!r}", f"mfn-model {version('mfn-model')}")
    for plugin in PluginRegistry.installed():
        owner = f"{plugin.distribution} {plugin.version}"
        if plugin.name == package.plugin:
            raise _taken(package, f"plugin {package.plugin!r}", owner)
        if re.sub(r"[-_.]+", "-", plugin.distribution).lower() == package.distribution:
            raise _taken(package, f"distribution {package.distribution!r}", owner)
        try:
            registry = PluginRegistry([plugin.name])
        except ConfigError:
            continue
        if package.kind.component is None:
            if package.name in registry.models:
                raise _taken(package, f"model {package.name!r}", owner)
        elif package.name in registry.components(package.kind.component):
            raise _taken(package, f"component [{package.kind.component.section}.{package.name}]", owner)
    spec = find_spec(package.module)
    if spec is not None:
        raise _taken(package, f"module {package.module!r}", str(spec.origin or "a folder on the path"))


def _taken(package: Package, what: str, owner: str) -> click.BadParameter:
    return click.BadParameter(f"{package.name!r} is taken: {what} is of {owner}; choose another name")


def write_package(package: Package, folder: Path) -> list[str]:
    """Make `folder` with the files of the package, all or none of them; their paths.

    Raises:
        FileExistsError: something of that name exists; it is left as it is.
        OSError: it cannot be written; what was written so far is removed again.
    """
    rendered = package.rendered()
    folder.mkdir()
    try:
        for path, text in rendered.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return list(rendered)


def _read(folder: str) -> dict[str, str]:
    """The templates of a folder by the names of the files that they make."""
    return {
        entry.name.removesuffix(".tmpl"): entry.read_text(encoding="utf-8")
        for entry in (files("mfn_core") / "templates" / folder).iterdir()
        if entry.name.endswith(".tmpl")
    }


def _filled(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


def _lines(requirements: Iterable[str]) -> str:
    return "\n".join(f'  "{requirement}",' for requirement in requirements)


def _requirements(*needs: str) -> list[str]:
    """Distributions with the versions that are taken: our own in the range that this one belongs to."""
    return sorted(need if "=" in need else f"{need}{_range(need.partition('[')[0])}" for need in needs)


def _range(distribution: str) -> str:
    """The versions that keep what this one has: `>=0.3,<0.4` for 0.3.2, `>=2.3,<3` for 2.3.1.

    One of ours that is not installed is taken in the version of the kernel, which all are released with.
    """
    try:
        known = version(distribution)
    except PackageNotFoundError:
        known = version("mfn-core")
    major, minor, *_ = known.split(".")
    below = f"0.{int(minor) + 1}" if major == "0" else str(int(major) + 1)
    return f">={major}.{minor},<{below}"
