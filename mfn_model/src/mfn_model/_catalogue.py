"""The models known to this process, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfn_model._declaration import FieldModel, abbreviated, nearest

__all__ = ["MODELS", "UnknownModelError", "get_model", "register_model"]

_models: dict[str, FieldModel] = {}

MODELS: Mapping[str, FieldModel] = MappingProxyType(_models)
"""Every registered model by name; a live, read-only view."""


class UnknownModelError(LookupError):
    """No model of that name is registered."""

    def __init__(self, name: object) -> None:
        self.name = name
        super().__init__(f"no model {abbreviated(name)} is known; {nearest(str(name), _models)}")

    def __reduce__(self) -> tuple[type[UnknownModelError], tuple[object]]:
        return type(self), (self.name,)


def register_model(model: FieldModel) -> FieldModel:
    """Adds `model` to the catalogue and returns it; registering the very same declaration again changes nothing.

    Called when the module that declares the model is imported, so a specification that travels to another process
    is valid there once that module is imported there too. Raises `ValueError` when the name is already taken by a
    different declaration.
    """
    known = _models.setdefault(model.name, model)
    if known != model:
        raise ValueError(f"a different model {model.name!r} is already registered; give this one another name")
    return model


def get_model(name: object) -> FieldModel:
    """The declaration of the model called `name`; raises `UnknownModelError` with the nearest known name."""
    model = _models.get(name) if isinstance(name, str) else None
    if model is None:
        raise UnknownModelError(name)
    return model
