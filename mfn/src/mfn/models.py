"""The field models that there are: those of `mfn_model`, and those of installed plugins, found without a server.

A model plugin is one whose entry point in `mfn.plugins.v1` starts with `model_`; what it declares by the hook
`mfn_models` is known from then on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from attrs import field, frozen

from mfn_core.config import ConfigError
from mfn_core.registry import DeclaredModel, PluginRegistry
from mfn_model import MODELS, BoundViolation, FieldModel, SpecError

__all__ = ["ModelPlugins", "available_models", "find_model", "model_plugins"]

PREFIX = "model_"

_log = logging.getLogger(__name__)


_clashes: dict[str, str] = {}
"""Names that plugins declare more than once, and by whom."""


@frozen(kw_only=True)
class ModelPlugins:
    """What the installed model plugins brought."""

    origins: Mapping[str, str] = field(factory=dict)
    """The plugin, in words, of each model that they added to the catalogue."""
    problems: tuple[str, ...] = ()
    """What is wrong with them, and with models of theirs that were left out, one line each."""


def available_models() -> Mapping[str, FieldModel]:
    """Every field model by name, in alphabetic order; imports every model plugin."""
    model_plugins()
    return dict(sorted(MODELS.items()))


def find_model(name: object) -> None:
    """Make the model of that name known, if a plugin declares it; what is known already costs nothing.

    Imports every model plugin at the first name that is not known; a plugin that fails is left out, with a warning.
    A name that nobody declares is left to the specification, which refuses it.

    Raises:
        mfn_model.SpecError: several plugins declare different models of this name.
    """
    if not isinstance(name, str):
        return
    if name not in MODELS:
        model_plugins()
    if name in _clashes:
        raise SpecError(
            [BoundViolation(field="model", value=name, bound="a model declared once", message=_clashes[name])]
        )


def model_plugins() -> ModelPlugins:
    """Import every installed model plugin, once, and register what it declares."""
    return _loaded(tuple(plugin.name for plugin in PluginRegistry.installed() if plugin.name.startswith(PREFIX)))


@cache
def _loaded(plugins: tuple[str, ...]) -> ModelPlugins:
    origins: dict[str, str] = {}
    problems: list[str] = []
    declared: dict[str, DeclaredModel] = {}
    for name in dict.fromkeys(plugins):
        # One by one: a plugin that does not work must not keep the others from being used.
        try:
            registry = PluginRegistry([name])
        except ConfigError as broken:
            problems += (f"model plugin {name} is left out: {problem.message}" for problem in broken.problems)
            continue
        for each in registry.models.values():
            first = declared.setdefault(each.model.name, each)
            if first.model != each.model:
                clash = f"model {each.model.name!r} is declared by {first.origin} and by {each.origin}"
                _clashes[each.model.name] = f"{clash}; uninstall one of them"
        problems += (problem.message for problem in registry.register_models())
        origins |= {key: each.origin for key, each in registry.models.items() if MODELS[key] == each.model}
    for problem in problems:
        _log.warning("%s", problem)
    return ModelPlugins(origins=origins, problems=tuple(problems))
