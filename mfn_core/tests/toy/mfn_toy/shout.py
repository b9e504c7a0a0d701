"""A middleware in a plugin of its own."""

from __future__ import annotations

from mfn_core import ComponentSpec, hookimpl
from mfn_toy.parts import FailingSettings, Shout


@hookimpl
def mfn_middlewares() -> list[ComponentSpec]:
    return [ComponentSpec(name="shout", config=FailingSettings, factory=Shout, summary="adds a trailer")]
