"""A compute backend: the mycelium model without activator, inhibitor and noise."""

import numpy as np

from mfn_core import CancelToken, ComponentSpec, hookimpl, require_supported
from mfn_model import MYCELIUM, FieldSpec, FieldState
from mfn_model.mycelium import SPIKE_MEAN, SPIKE_STD, draw_initial_fields, periodic_laplacian


class ToySession:
    def __init__(self, spec: FieldSpec) -> None:
        self.spec, self.random = spec, np.random.default_rng(spec.seed)
        draw_initial_fields(self.random, [v := np.empty((spec.grid_size, spec.grid_size))])
        self.now: FieldState | None = FieldState(step=0, field=v, counters=dict.fromkeys(MYCELIUM.dynamics.counters, 0))

    def step(self, n: int, cancel: CancelToken) -> int:
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        first, draw = self.state().step, self.random
        while (now := self.state()).step < first + n and not cancel.is_set():
            field, spikes = now.field.copy(), int(draw.random() < self.spec.number("spike_probability"))
            if spikes:
                field[draw.integers(len(field)), draw.integers(len(field))] += draw.normal(SPIKE_MEAN, SPIKE_STD)
            free, counters = field + self.spec.number("alpha") * periodic_laplacian(field), dict(now.counters)
            field, grown = np.clip(free, *MYCELIUM.clamp), now.growth_events + spikes
            counters["clamping_events"] += int((field != free).sum())
            self.now = FieldState(step=now.step + 1, field=field, growth_events=grown, counters=counters)
        return now.step - first

    def state(self) -> FieldState:
        if self.now is None:
            raise RuntimeError("the session is closed")
        return self.now

    def close(self) -> None:
        self.now = None


class ToyBackend:
    def supports(self, spec: FieldSpec) -> bool:
        return spec.model == MYCELIUM.name and not (spec.switch("turing_enabled") or spec.switch("jitter"))

    def open(self, spec: FieldSpec) -> ToySession:
        require_supported(self, spec)
        return ToySession(spec)


@hookimpl
def mfn_backends() -> list[ComponentSpec]:
    return [ComponentSpec(name="toy", factory=lambda config, context: ToyBackend(), summary="diffusion and spikes")]
