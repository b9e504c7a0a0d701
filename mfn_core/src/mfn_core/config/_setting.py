"""How a plugin declares one setting of its configuration class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import attrs

from mfn_core.config._validators import Validator

__all__ = ["HELP", "UNIT", "default_of", "setting"]

T = TypeVar("T")

HELP = "help"
"""Key of an attribute's metadata: one line that says what the setting does."""
UNIT = "unit"
"""Key of an attribute's metadata: the unit of its number, such as `seconds` or `bytes`."""


@overload
def setting(
    *,
    default: T,
    help: str,
    unit: str = "",
    validator: Validator | Sequence[Validator] | None = None,
    repr: bool = True,
) -> T: ...
@overload
def setting(
    *,
    factory: Callable[[], T],
    help: str,
    unit: str = "",
    validator: Validator | Sequence[Validator] | None = None,
    repr: bool = True,
) -> T: ...
@overload
def setting(
    *,
    help: str,
    unit: str = "",
    validator: Validator | Sequence[Validator] | None = None,
    repr: bool = True,
) -> Any: ...
def setting(
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    help: str,  # noqa: A002 - the word that argparse and click use for it
    unit: str = "",
    validator: Validator | Sequence[Validator] | None = None,
    repr: bool = True,  # noqa: A002 - named as in attrs.field
) -> Any:
    """An attribute of a configuration class: `attrs.field` with what `mfn check` and the JSON Schema tell of it.

    Args:
        default: the value when the key is absent; without it and without `factory` the key is required.
        factory: makes the default, for one that cannot be shared.
        help: one line, for the operator.
        unit: of a number: `seconds`, `bytes`, `calls a second`.
        validator: called with the instance, the attribute and the value; several are called in order. Raises
            ValueError with the value, the bound and the remedy.
        repr: whether the value is shown in the repr of the class.
    """
    metadata = {HELP: help, UNIT: unit} if unit else {HELP: help}
    many = list(validator) if isinstance(validator, Sequence) else validator
    if factory is not None:
        return attrs.field(factory=factory, validator=many, repr=repr, metadata=metadata)
    return attrs.field(default=default, validator=many, repr=repr, metadata=metadata)


def default_of(attribute: attrs.Attribute[Any]) -> Any:
    """The default of an attribute: a fresh one from its factory, `attrs.NOTHING` where there is none or needs self."""
    default: Any = attribute.default
    if type(default) is not attrs.Factory:
        return default
    return attrs.NOTHING if default.takes_self else default.factory()
