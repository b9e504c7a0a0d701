"""The compute engines that are installed, found without a server.

An engine is a backend of a plugin whose entry point in `mfn.plugins.v1` starts with `engine_`: `engine_numpy`
brings `numpy`. A plugin may bring several, by any names.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from mfn_core import Backend, ComponentContext
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, ServerSettings, decode
from mfn_core.execution import ComputePool, choose_backend
from mfn_core.operation import Catalogue
from mfn_core.registry import PluginRegistry
from mfn_model import BoundViolation, FieldSpec, SpecError

__all__ = ["available_engines", "engine_for", "engine_for_all"]

PREFIX = "engine_"

_log = logging.getLogger(__name__)


def available_engines() -> tuple[str, ...]:
    """Names of the installed engines, by those of their plugins: `numpy` of `engine_numpy`; none of them is imported.

    `simulate(engine=…)` takes them. A plugin that has no engine of its own name is listed all the same; its engines are
    taken by their names, which `simulate` lists when it refuses that of the plugin.
    """
    return tuple(
        sorted(plugin.name.removeprefix(PREFIX) for plugin in PluginRegistry.installed() if _is_engine(plugin.name))
    )


def engine_for(spec: FieldSpec, engine: str = "auto") -> tuple[str, Backend]:
    """The named engine, or with `auto` the fastest installed one that supports the spec, with its name.

    An engine by the name of its plugin is the only one that is imported; `auto`, or another name, imports all.

    Raises:
        mfn_model.SpecError: there is no such engine, it does not work here, or none supports the spec.
    """
    return choose_backend(_installed(engine), spec, engine)


def engine_for_all(specs: Sequence[FieldSpec], engine: str = "auto") -> tuple[str, Backend]:
    """The same for several specifications, at least one, which one engine is to compute.

    Raises:
        mfn_model.SpecError: as `engine_for`, or no engine supports all of them.
    """
    installed = _installed(engine)
    able = {name: each for name, each in installed.items() if all(each.supports(spec) for spec in specs)}
    if able and engine in ("auto", *able):
        return choose_backend(able, specs[0], engine)
    for spec in specs:
        choose_backend(installed, spec, engine)
    message = (
        f"each of {len(specs)} kinds of simulations is supported by one of {', '.join(sorted(installed))}, and all "
    )
    message += "of them by none; do them apart"
    bound = "an engine that supports every simulation"
    raise SpecError([BoundViolation(field="engine", value=engine, bound=bound, message=message)])


def _installed(engine: str) -> Mapping[str, Backend]:
    """The named engine, perhaps with others, or all that work.

    Raises:
        mfn_model.SpecError: there is no such engine, or it does not work here.
    """
    plugins = available_engines()
    if engine != "auto" and engine in plugins:
        backends, problem = _load(engine)
        if problem:
            message = f"engine {engine!r} does not work here: {problem}"
            raise SpecError([BoundViolation(field="engine", value=engine, bound="a working engine", message=message)])
        if engine in backends:
            return backends
    found = _load_all(plugins)
    if engine != "auto" and engine not in found:
        known = ", ".join(sorted(found)) or "none"
        message = f"no engine {engine!r} is installed; there is: {known}"
        raise SpecError([BoundViolation(field="engine", value=engine, bound=f"one of: {known}", message=message)])
    return found


def _load_all(plugins: Sequence[str]) -> dict[str, Backend]:
    """The backends of every plugin that works."""
    found: dict[str, Backend] = {}
    for plugin in plugins:
        # One by one: an engine that does not work must not keep the others from being used.
        backends, problem = _load(plugin)
        if problem:
            _log.warning("engine %s is left out: %s", plugin, problem)
        for name, backend in backends.items():
            if found.setdefault(name, backend) is not backend:
                _log.warning("engine %s of %s%s is left out: another plugin brings %s", name, PREFIX, plugin, name)
    return found


def _is_engine(name: str) -> bool:
    return name.startswith(PREFIX)


@cache
def _load(engine: str) -> tuple[Mapping[str, Backend], str]:
    """The backends of one plugin with its default settings, or why there are none. Kept: kernels compile once."""
    found: dict[str, Backend] = {}
    try:
        registry = PluginRegistry([PREFIX + engine])
        for component in registry.components(ComponentKind.BACKEND).values():
            context = ComponentContext(
                name=component.spec.name,
                server=ServerSettings(),
                worker=0,
                compute=ComputePool({}),
                catalogue=Catalogue(),
                log=logging.getLogger(f"mfn.engines.{component.spec.name}"),
            )
            settings = decode(component.spec.config, {}, f"engines.{component.spec.name}", Path.cwd())
            found[component.spec.name] = component.spec.factory(settings, context)
    except ConfigError as broken:
        return {}, "; ".join(problem.message for problem in broken.problems)
    except Exception as broken:  # noqa: BLE001 - whatever an engine lacks, a library or a device, it is left out
        _log.debug("engine %s failed", engine, exc_info=broken)
        return {}, f"{type(broken).__name__}: {' '.join(str(broken).split())}"
    return found, ""
