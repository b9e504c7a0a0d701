"""The engines of a server: which one runs a spec, and how fast each is."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

from attrs import frozen

from mfn_core.compute import Backend, SupportsBatch, SupportsSpeed
from mfn_core.errors import FieldViolation, MfnError
from mfn_model import BoundViolation, FieldSpec, SpecError

__all__ = ["Engine", "Engines", "choose_backend", "spec_error"]

REMEMBERED = 1024
"""Kinds of spec for which the fastest engine is remembered; beyond it all are forgotten."""


@frozen(kw_only=True)
class Engine:
    """One backend, and what is known of it."""

    name: str
    backend: Backend
    batched: SupportsBatch | None
    """The backend again, where it does several runs in one call."""
    estimate: Callable[[FieldSpec], float] | None
    """The backend's own estimate of its speed."""
    factor: float = 1.0
    """What a measurement found the estimate to be off by."""
    measured: float | None = None
    """Cell-steps a second that a measurement found; None before there was one."""

    @classmethod
    def of(cls, name: str, backend: Backend) -> Engine:
        """A backend of which nothing was measured yet."""
        return cls(
            name=name,
            backend=backend,
            batched=backend if isinstance(backend, SupportsBatch) else None,
            estimate=backend.speed if isinstance(backend, SupportsSpeed) else None,
        )

    def speed(self, spec: FieldSpec) -> float | None:
        """Cell-steps a second on one thread for this spec; None where nobody knows."""
        return self.measured if self.estimate is None else self.estimate(spec) * self.factor

    def usual_speed(self, spec: FieldSpec) -> float | None:
        """The same by the measurement alone where there was one: not for this spec, and found without asking."""
        return self.speed(spec) if self.measured is None else self.measured


class Engines:
    """Every engine of a server by name."""

    def __init__(self, backends: Mapping[str, Backend], preferred: str = "auto") -> None:
        """Use `preferred`, or with `auto` the fastest that supports what is asked."""
        self._engines = {name: Engine.of(name, backend) for name, backend in sorted(backends.items())}
        self._preferred = preferred
        self._choices: dict[Hashable, str] = {}

    def __iter__(self) -> Iterator[Engine]:
        """By name."""
        return iter(tuple(self._engines.values()))

    def replace(self, engine: Engine) -> None:
        """Take what was found of an engine in place of what was known."""
        self._engines[engine.name] = engine
        self._choices.clear()

    def choose(self, spec: FieldSpec, name: str | None = None) -> Engine:
        """The engine of that name, or the preferred one.

        Raises:
            mfn_model.SpecError: there is none, or it does not support the spec.
        """
        name = name or self._preferred
        known = ", ".join(self._engines) or "none"
        if name != "auto":
            engine = self._engines.get(name)
            if engine is None:
                raise _refused(
                    "engine", name, f"one of: {known}", f"no engine {name!r} is installed; there is: {known}"
                )
            if not engine.backend.supports(spec):
                raise _refused(
                    "model",
                    spec.model,
                    f"a model of engine {name!r}",
                    f"engine {name!r} does not support {spec.model!r}",
                )
            return engine
        able = [engine for engine in self._engines.values() if engine.backend.supports(spec)]
        if not able:
            raise _refused(
                "model",
                spec.model,
                "a model of an installed engine",
                f"no engine supports {spec.model!r}; there is: {known}",
            )
        return able[0] if len(able) == 1 else self._fastest(spec, able)

    def _fastest(self, spec: FieldSpec, able: Sequence[Engine]) -> Engine:
        # Every call asks, and an estimate may take the engine a while: it is the same for every seed.
        kind = (spec.model, spec.grid_size, spec.boundary, spec.parameters, *(engine.name for engine in able))
        name = self._choices.get(kind)
        if name is None:
            if len(self._choices) >= REMEMBERED:
                self._choices.clear()
            name = self._choices[kind] = max(able, key=lambda engine: engine.speed(spec) or 1.0).name
        return self._engines[name]


def choose_backend(backends: Mapping[str, Backend], spec: FieldSpec, engine: str) -> tuple[str, Backend]:
    """The named backend, or with `auto` the fastest that supports the spec, by the backends' own estimates.

    Raises:
        mfn_model.SpecError: there is none.
    """
    chosen = Engines(backends).choose(spec, engine)
    return chosen.name, chosen.backend


def spec_error(error: SpecError) -> MfnError:
    """A model's refusal of a spec as the caller's error."""
    return MfnError.invalid(
        FieldViolation(field=violation.field, description=violation.message) for violation in error.violations
    )


def _refused(field: str, value: object, bound: str, message: str) -> SpecError:
    return SpecError([BoundViolation(field=field, value=value, bound=bound, message=message)])
