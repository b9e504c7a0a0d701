"""A plugin whose parts cannot be made."""

from __future__ import annotations

from typing import Any

from mfn_core import ComponentContext, ComponentSpec, hookimpl


def refuse(config: Any, context: ComponentContext) -> None:
    raise ValueError(f"{context.name} cannot be made: the moon is full")


def defect(config: Any, context: ComponentContext) -> None:
    raise ZeroDivisionError("oops")


@hookimpl
def mfn_limiters() -> list[ComponentSpec]:
    return [
        ComponentSpec(name="refused", factory=refuse, summary="refuses"),
        ComponentSpec(name="defective", factory=defect, summary="fails"),
    ]
