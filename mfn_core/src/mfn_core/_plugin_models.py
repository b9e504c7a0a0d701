"""The field models and steps that plugins bring: collected from their hooks, and added to those of this process.

`mfn_model` is imported only where there is such a model: a plugin that declares one has imported it already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from attrs import frozen

from mfn_core.config import Problem

if TYPE_CHECKING:
    from mfn_model import FieldModel, OwnStep

__all__ = ["BroughtStep", "DeclaredModel", "collect_models", "collect_steps", "register_models", "register_steps"]


@frozen(kw_only=True)
class DeclaredModel:
    """A field model, and where it is from."""

    model: FieldModel
    plugin: str
    """Name of its plugin in `server.plugins`."""
    origin: str
    """The plugin and its distribution in words: `plugin 'model_heat' (mfn-model-heat 0.1.0)`."""


@frozen(kw_only=True)
class BroughtStep:
    """A step of a model for an engine, and where it is from."""

    step: OwnStep
    plugin: str
    """Name of its plugin in `server.plugins`."""
    origin: str
    """The plugin and its distribution in words."""


def collect_models(
    found: Iterable[object], plugin: str, origin: str, known: dict[str, DeclaredModel]
) -> Iterator[Problem]:
    """Add what a plugin declares to `known`, by name; every reason why something of it is left out."""
    from mfn_model import FieldModel

    for model in found:
        if not isinstance(model, FieldModel):
            yield Problem(
                path="",
                message=f"mfn_models() of {origin} declares a {type(model).__name__}, which is no FieldModel",
                remedy="report it to the author of the plugin",
            )
            continue
        first = known.setdefault(model.name, DeclaredModel(model=model, plugin=plugin, origin=origin))
        if first.model != model:
            yield Problem(
                path="",
                message=f"model {model.name!r} is declared by {first.origin} and by {origin}",
                remedy="name only one of them in server.plugins",
            )


def register_models(declared: Iterable[DeclaredModel]) -> list[Problem]:
    """Add models to the catalogue of this process; a problem for each whose name is taken there by another one."""
    problems = []
    for each in declared:
        from mfn_model import register_model

        try:
            register_model(each.model, origin=each.origin)
        except ValueError as taken:
            remedy = f"leave {each.plugin!r} out of server.plugins, or rename its model"
            problems.append(Problem(path="server.plugins", message=str(taken), remedy=remedy))
    return problems


def collect_steps(
    found: Iterable[object], plugin: str, origin: str, known: dict[tuple[str, str], BroughtStep]
) -> Iterator[Problem]:
    """Add what a plugin brings to `known`, by model and engine; every reason why something of it is left out."""
    from mfn_model import OwnStep

    for step in found:
        if not isinstance(step, OwnStep):
            yield Problem(
                path="",
                message=f"mfn_steps() of {origin} brings a {type(step).__name__}, which is no OwnStep",
                remedy="report it to the author of the plugin",
            )
            continue
        first = known.setdefault((step.model, step.engine), BroughtStep(step=step, plugin=plugin, origin=origin))
        if first.step != step:
            yield Problem(
                path="",
                message=f"a step of model {step.model!r} for engine {step.engine!r} is brought by {first.origin} "
                f"and by {origin}",
                remedy="name only one of them in server.plugins",
            )


def register_steps(brought: Iterable[BroughtStep]) -> list[Problem]:
    """Add steps to those of this process; a problem for each of an unknown model, and each that is a second one."""
    problems = []
    for each in brought:
        from mfn_model import MODELS, register_step

        remedy = f"leave {each.plugin!r} out of server.plugins"
        if each.step.model not in MODELS:
            message = f"{each.origin} brings a step of model {each.step.model!r}, which nobody declares"
            problems.append(Problem(path="server.plugins", message=message, remedy=remedy))
            continue
        try:
            register_step(each.step, origin=each.origin)
        except ValueError as taken:
            problems.append(Problem(path="server.plugins", message=str(taken), remedy=remedy))
    return problems
