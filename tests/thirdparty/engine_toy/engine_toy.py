"""A compute backend: the potential of the model `mycelium` where it only diffuses."""

from mfn_core import CancelToken, ComponentSpec, hookimpl, require_supported
from mfn_model import MYCELIUM, FieldSpec, FieldState, reference_mycelium
from mfn_model.mycelium import periodic_laplacian


class ToySession:
    def __init__(self, alpha: float, now: FieldState | None) -> None:
        self.alpha, self.now = alpha, now

    def step(self, n: int, cancel: CancelToken) -> int:
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        first = self.state().step
        while (now := self.state()).step < first + n and not cancel.is_set():
            field = (free := now.field + self.alpha * periodic_laplacian(now.field)).clip(*MYCELIUM.clamp)
            counters = {**now.counters, "clamping_events": now.counters["clamping_events"] + int((field != free).sum())}
            self.now = FieldState(step=now.step + 1, field=field, counters=counters)
        return now.step - first

    def state(self) -> FieldState:
        if self.now is None:
            raise RuntimeError("the session is closed")
        return self.now

    def close(self) -> None:
        self.now = None


class ToyBackend:
    def supports(self, spec: FieldSpec) -> bool:
        return spec.model == "mycelium" and not (spec["spike_probability"] or spec["turing_enabled"] or spec["jitter"])

    def open(self, spec: FieldSpec) -> ToySession:
        require_supported(self, spec)
        return ToySession(spec.number("alpha"), reference_mycelium(spec, 0))


@hookimpl
def mfn_backends() -> list[ComponentSpec]:
    return [ComponentSpec(name="toy", factory=lambda config, context: ToyBackend(), summary="diffusion alone")]
