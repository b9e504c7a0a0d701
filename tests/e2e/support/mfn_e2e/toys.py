"""Small plugins, named by import path: a limiter, and plugins that are wrong."""

from __future__ import annotations

from attrs import frozen

from mfn_core import Call, Code, ComponentContext, ComponentSpec, Lease, MfnError, hookimpl, setting

__all__ = ["mfn_limiters"]


@frozen(kw_only=True)
class SlotSettings:
    """The `[limits.slots]` table."""

    concurrent: int = setting(default=1000, help="calls in flight for each principal")
    cell_steps: float = setting(default=1e15, help="cell-steps that each principal may use in all")


class Slots:
    """Calls in flight, and cell-steps used, by principal."""

    def __init__(self, settings: SlotSettings, context: ComponentContext) -> None:
        self._settings = settings
        self._running: dict[str, int] = {}
        self._used: dict[str, float] = {}

    async def admit(self, call: Call) -> Lease:
        """Take a slot."""
        assert call.principal is not None
        name = call.principal.name
        if self._running.get(name, 0) >= self._settings.concurrent:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"{name} has {self._settings.concurrent} calls in flight",
                retry_after=0.25,
                details={"limit": "slots.concurrent"},
            )
        self._running[name] = self._running.get(name, 0) + 1
        return _Slot(self._running, name)

    async def charge(self, call: Call, cost: float) -> None:
        """Use up cell-steps."""
        assert call.principal is not None
        name = call.principal.name
        if self._used.get(name, 0.0) + cost > self._settings.cell_steps:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "no cell-steps are left", details={"limit": "slots.cell_steps"})
        self._used[name] = self._used.get(name, 0.0) + cost


@frozen
class _Slot:
    running: dict[str, int]
    name: str

    def release(self) -> None:
        """Give the slot back."""
        self.running[self.name] -= 1


@hookimpl
def mfn_limiters() -> list[ComponentSpec]:
    """The limiter `slots`."""
    return [ComponentSpec(name="slots", config=SlotSettings, factory=Slots, summary="calls in flight")]
