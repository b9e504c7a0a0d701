"""A plugin whose component cannot be made."""

from __future__ import annotations

from typing import Any

from mfn_core import ComponentContext, ComponentSpec, hookimpl

__all__ = ["mfn_limiters"]


def _make(config: Any, context: ComponentContext) -> float:
    return 1 / 0


@hookimpl
def mfn_limiters() -> list[ComponentSpec]:
    """The limiter `defective`."""
    return [ComponentSpec(name="defective", factory=_make, summary="fails")]
