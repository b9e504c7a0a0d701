"""The models known to this process, by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mfn_model._declaration import FieldModel
from mfn_model._parameter import abbreviated, nearest

__all__ = ["MODELS", "UnknownModelError", "get_model", "register_model", "register_own_model"]

_models: dict[str, FieldModel] = {}
_origins: dict[str, str] = {}

MODELS: Mapping[str, FieldModel] = MappingProxyType(_models)
"""Every registered model by name; a live, read-only view."""


class UnknownModelError(LookupError):
    """No model of that name is registered."""

    def __init__(self, name: object) -> None:
        self.name = name
        super().__init__(f"no model {abbreviated(name)} is known; {nearest(str(name), _models)}")

    def __reduce__(self) -> tuple[type[UnknownModelError], tuple[object]]:
        return type(self), (self.name,)


def register_model(model: FieldModel, *, origin: str = "") -> FieldModel:
    """Adds `model` to the catalogue and returns it; registering the very same declaration again changes nothing.

    Called when the module that declares the model is imported, or for the models that a plugin declares, so a
    specification that travels to another process is valid there once that has happened there too. `origin` says in
    words who declares it. Raises `ValueError`, with both origins as far as they are known, when the name is already
    taken by a different declaration.
    """
    known = _models.setdefault(model.name, model)
    if known != model:
        first, second = (f" by {each}" if each else "" for each in (_origins.get(model.name, ""), origin))
        raise ValueError(
            f"a different model {model.name!r} is already registered{first}, and cannot be a second time{second}; "
            "give one of them another name"
        )
    if origin:
        _origins.setdefault(model.name, origin)
    return model


def register_own_model(model: FieldModel) -> FieldModel:
    """The same, for the models of this package."""
    return register_model(model, origin="mfn_model")


def get_model(name: object) -> FieldModel:
    """The declaration of the model called `name`; raises `UnknownModelError` with the nearest known name."""
    model = _models.get(name) if isinstance(name, str) else None
    if model is None:
        raise UnknownModelError(name)
    return model
