"""A plugin that declares what another one has declared."""

from __future__ import annotations

from mfn_core import ComponentSpec, hookimpl
from mfn_e2e.toys import Slots, SlotSettings

__all__ = ["mfn_limiters"]


@hookimpl
def mfn_limiters() -> list[ComponentSpec]:
    """A second limiter `slots`."""
    return [ComponentSpec(name="slots", config=SlotSettings, factory=Slots, summary="calls in flight")]
