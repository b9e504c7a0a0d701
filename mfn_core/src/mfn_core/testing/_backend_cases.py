"""The specifications, tokens and comparisons that the suite of backends works with."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core.compute import Backend, NeverCancelled, Session, SupportsCheckpoint, SupportsRestore, SupportsSteering
from mfn_model import (
    MYCELIUM,
    MYCELIUM_RD,
    FieldSpec,
    FieldState,
    models,
    mycelium_rd_spec,
    mycelium_spec,
    reference,
    reference_mycelium,
    reference_mycelium_rd,
)

__all__ = ["NEVER", "BackendCases", "CancelledAfter", "assert_same_state"]

NEVER = NeverCancelled()

_REFERENCES: Mapping[str, Callable[[FieldSpec, int], FieldState]] = {
    MYCELIUM.name: reference_mycelium,
    MYCELIUM_RD.name: reference_mycelium_rd,
}
"""Evaluations written by hand; those of other models are interpreted from their declarations."""

_OTHERS = tuple(getattr(models, name) for name in models.__all__)
"""The models whose declaration is their only definition."""


class CancelledAfter:
    """A token that is set from the look after the first `looks` ones on, and remembers when it was looked at."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.times: list[float] = []

    def is_set(self) -> bool:
        self.times.append(time.perf_counter())
        return len(self.times) > self.looks


def assert_same_state(actual: FieldState, expected: FieldState, tolerance: float = 0.0, about: object = "") -> None:
    """Asserts that two states agree: |a − b| ≤ tolerance · max(1, |a|, |b|) in every cell of every species.

    Step, growth events and counters, with the names of these, are the same.
    """
    assert actual.step == expected.step, about
    assert actual.growth_events == expected.growth_events, about
    assert set(actual.species) == set(expected.species), about
    pairs: dict[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]] = {"field": (actual.field, expected.field)}
    pairs |= {name: (actual.species[name], expected.species[name]) for name in expected.species}
    for name, (one, other) in pairs.items():
        assert one.shape == other.shape, (name, about)
        scale = np.maximum(1.0, np.maximum(np.abs(one), np.abs(other)))
        worst = float(np.max(np.abs(one - other) / scale))
        assert worst <= tolerance, f"{name} differs by {worst:.3g}, tolerance {tolerance:.3g}: {about}"
    assert dict(actual.counters) == dict(expected.counters), about


class BackendCases:
    """What the subclass of a suite gives, and what the tests share."""

    tolerance: ClassVar[float] = 1e-12
    """Largest difference from the reference in any cell, relative to max(1, |value|)."""
    longest_slice: ClassVar[float] = 0.025
    """Seconds between two looks at the cancel token, as a median at 64 × 64 cells."""
    specs: ClassVar[Mapping[str, FieldSpec]] = {
        "defaults": mycelium_spec(grid_size=32),
        "without activator and inhibitor": mycelium_spec(seed=1, grid_size=24, turing_enabled=False),
        "a spike at every step": mycelium_spec(seed=2, grid_size=17, spike_probability=1.0, alpha=0.05),
        "no spikes": mycelium_spec(seed=3, grid_size=8, spike_probability=0.0, alpha=0.24),
        "diffusion at the stability limit": mycelium_spec(seed=4, grid_size=20, alpha=0.25),
        "noise that reaches both clamps": mycelium_spec(seed=5, grid_size=19, jitter=True),
        "kicks at every step": mycelium_spec(seed=6, grid_size=16, turing_threshold=0.0),
        "kicks that cease": mycelium_spec(seed=7, grid_size=16, turing_threshold=0.06),
        "one cell": mycelium_spec(seed=8, grid_size=1, spike_probability=0.5),
        "two cells a side": mycelium_spec(seed=9, grid_size=2, spike_probability=0.5),
        "a grid of odd size": mycelium_spec(seed=10, grid_size=201, spike_probability=0.9),
        "rd: defaults": mycelium_rd_spec(grid_size=32),
        "rd: without activator and inhibitor": mycelium_rd_spec(seed=1, grid_size=24, turing_enabled=False),
        "rd: nothing flows through the edge": mycelium_rd_spec(
            seed=2, grid_size=17, spike_probability=1.0, boundary="neumann"
        ),
        "rd: an edge held at its default": mycelium_rd_spec(seed=3, grid_size=18, alpha=0.12, boundary="dirichlet"),
        "rd: an edge held at rest, without the others": mycelium_rd_spec(
            seed=4, grid_size=13, turing_enabled=False, boundary="dirichlet", boundary_potential=-0.070
        ),
        "rd: a Turing pattern that is kicked": mycelium_rd_spec(
            seed=5,
            grid_size=8,
            turing_threshold=0.5,
            d_activator=0.01,
            d_inhibitor=0.24,
            r_activator=0.1,
            r_inhibitor=0.001,
            boundary="neumann",
        ),
        "rd: diffusion and reaction at their limits": mycelium_rd_spec(
            seed=6, grid_size=15, alpha=0.2499, d_activator=0.2499, d_inhibitor=0.2499, r_activator=0.1, r_inhibitor=0.1
        ),
        "rd: noise at a held edge": mycelium_rd_spec(
            seed=7, grid_size=16, jitter=True, jitter_variance=1e-5, boundary="dirichlet", boundary_potential=0.04
        ),
        "rd: one cell": mycelium_rd_spec(seed=8, grid_size=1, spike_probability=0.5, boundary="dirichlet"),
        "rd: two cells a side": mycelium_rd_spec(seed=9, grid_size=2, spike_probability=0.5, boundary="neumann"),
        "rd: a grid of odd size": mycelium_rd_spec(seed=10, grid_size=201, spike_probability=0.9, boundary="neumann"),
        **{
            f"{model.name}: {boundary}": FieldSpec(model=model.name, seed=11 + size, grid_size=size, boundary=boundary)
            for model in _OTHERS
            for size, boundary in enumerate(model.boundaries, 20)
        },
    }
    """Specifications by what they try; those that the backend does not support are left out."""

    @pytest.fixture
    def backend(self) -> Backend:
        """The backend under test, made anew for each test."""
        raise NotImplementedError(f"{type(self).__name__} gives no fixture `backend`: a new backend for each test")

    def reference(self, spec: FieldSpec, steps: int) -> FieldState:
        """The true state of one of `specs`, with every counter that the model declares."""
        return _REFERENCES.get(spec.model, reference)(spec, steps)

    # What the tests share.

    def supported(self, backend: Backend) -> dict[str, FieldSpec]:
        # Copies: what one test's backend does to them is not passed on to the next test.
        copies = {title: copy.deepcopy(spec) for title, spec in self.specs.items()}
        found = {title: spec for title, spec in copies.items() if backend.supports(spec)}
        assert found, "the backend supports none of the suite's specifications"
        return found

    def one_of_each_model(self, backend: Backend) -> list[FieldSpec]:
        """The first specification of every model that the backend supports."""
        first: dict[str, FieldSpec] = {}
        for spec in self.supported(backend).values():
            first.setdefault(spec.model, spec)
        return list(first.values())

    def after(self, backend: Backend, spec: FieldSpec, steps: int) -> FieldState:
        given = copy.deepcopy(spec)
        session = backend.open(spec)
        try:
            assert session.step(steps, NEVER) == steps
            assert spec == given, "the backend changed the specification that it was given"
            return session.state()
        finally:
            session.close()

    def steerable(self, session: Session) -> SupportsSteering:
        if not isinstance(session, SupportsSteering):
            pytest.skip("its sessions cannot be steered")
        return session

    def writable(self, backend: Backend, session: Session) -> tuple[SupportsRestore, SupportsCheckpoint]:
        if not isinstance(session, SupportsCheckpoint):
            pytest.skip("its sessions cannot be written down")
        assert isinstance(backend, SupportsRestore), "its sessions write checkpoints that it cannot restore"
        return backend, session
