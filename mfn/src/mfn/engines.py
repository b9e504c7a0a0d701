"""The compute engines that are installed, found without a server.

An engine is a backend of a plugin whose entry point in `mfn.plugins.v1` starts with `engine_`: `engine_numpy`
brings `numpy`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mfn_core import Backend, ComponentContext
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, ServerSettings, decode
from mfn_core.execution import ComputePool, choose_backend
from mfn_core.operation import Catalogue
from mfn_core.registry import PluginRegistry
from mfn_model import BoundViolation, FieldSpec, SpecError

__all__ = ["available_engines", "engine_for"]

PREFIX = "engine_"

_log = logging.getLogger(__name__)


def available_engines() -> tuple[str, ...]:
    """Names of the installed engines, as `simulate(engine=…)` takes them; none of them is imported."""
    return tuple(
        sorted(plugin.name.removeprefix(PREFIX) for plugin in PluginRegistry.installed() if _is_engine(plugin.name))
    )


def engine_for(spec: FieldSpec, engine: str = "auto") -> tuple[str, Backend]:
    """The named engine, or with `auto` the fastest installed one that supports the spec, with its name.

    A named engine is the only one that is imported; `auto` imports all.

    Raises:
        mfn_model.SpecError: there is no such engine, it does not work here, or none supports the spec.
    """
    names = tuple(name for name in available_engines() if engine in ("auto", name))
    found: dict[str, Backend] = {}
    for name in names:
        # One by one: an engine that does not work must not keep the others from being used.
        backends, problem = _load(name)
        if problem and engine != "auto":
            message = f"engine {engine!r} does not work here: {problem}"
            raise SpecError([BoundViolation(field="engine", value=engine, bound="a working engine", message=message)])
        if problem:
            _log.warning("engine %s is left out: %s", name, problem)
        found.update(backends)
    if engine != "auto" and not names:
        known = ", ".join(available_engines()) or "none"
        message = f"no engine {engine!r} is installed; there is: {known}"
        raise SpecError([BoundViolation(field="engine", value=engine, bound=f"one of: {known}", message=message)])
    return choose_backend(found, spec, engine)


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
