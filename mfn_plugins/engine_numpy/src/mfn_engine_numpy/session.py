"""A trajectory of any declared model, advanced in place."""

from __future__ import annotations

import math
import operator
from numbers import Integral, Real
from typing import Any, Final

import numpy as np

from mfn_core.compute import CancelToken
from mfn_engine_numpy._confinement import Confinement
from mfn_engine_numpy._finiteness import stays_finite
from mfn_engine_numpy._lattice import FloatArray, PaddedLattice
from mfn_engine_numpy._own_step import HandWritten, step_of
from mfn_engine_numpy._program import Operation, Program, Table, compile_step, passes
from mfn_model import BoundViolation, Checkpoint, FieldSpec, FieldState, SpecError, require_finite
from mfn_model.dynamics import Dynamics
from mfn_model.initial import draw_initial_state

__all__ = ["PASSES_PER_SLICE", "NumpySession"]

PASSES_PER_SLICE: Final = 6_000_000
"""Work between two looks at the cancel token, in passes over a cell: one to five milliseconds."""


class NumpySession:
    """One trajectory; also supports steering and checkpoints.

    Advancing allocates nothing. An exception out of the middle of a step leaves the session unusable, and it says so:
    an interrupt, or `mfn_model.NumericalInstabilityError` after a step that left numbers which are not finite. Most
    models cannot do that, by their ranges; the others are looked at after every step.
    """

    def __init__(self, spec: FieldSpec, *, block_cells: int | None = None) -> None:
        """A session at step 0. `block_cells` overrides how a large grid is divided, which changes no number."""
        self._open(spec, np.random.default_rng(spec.seed), block_cells)
        draw_initial_state(spec, self._generator, self._species)

    @classmethod
    def restored(cls, checkpoint: Checkpoint) -> NumpySession:
        """A session that goes on from a checkpoint; raises `ValueError` when the checkpoint contradicts itself."""
        checkpoint.require_restorable()
        spec, state = checkpoint.spec, checkpoint.state
        names = [species.name for species in spec.declaration.present(spec.parameters)]
        arrays = {names[0]: state.field, **state.species}
        bits = np.random.PCG64()
        generator_state: Any = dict(checkpoint.generator)
        bits.state = generator_state
        session = cls.__new__(cls)
        session._open(spec, np.random.Generator(bits), None)
        for values, name in zip(session._species, names, strict=True):
            values[...] = arrays[name]
        session._step = state.step
        session._growth_events = state.growth_events
        session._counters.update({name: state.counters.get(name, 0) for name in session._counters})
        return session

    def _open(self, spec: FieldSpec, generator: np.random.Generator, block_cells: int | None) -> None:
        side = spec.grid_size
        dynamics = spec.declaration.dynamics.switched(spec.parameters)
        self._dynamics = dynamics
        self._side = side
        self._boundary = spec.boundary
        self._own = step_of(spec)
        self._written: HandWritten | None = None
        self._block_cells = block_cells
        self._generator = generator
        self._names = [terms.name for terms in dynamics.species]
        self._lattice: PaddedLattice | None = None
        self._species: list[FloatArray] = []
        self._counters = dict.fromkeys(dynamics.counters, 0)
        self._step = self._growth_events = 0
        self._torn = False
        self._adopt(spec)

    def _adopt(self, spec: FieldSpec) -> None:
        """Takes over the parameters of `spec` from the next step on."""
        dynamics = spec.declaration.dynamics.switched(spec.parameters)
        values = dynamics.values(spec.parameters)
        if self._lattice is None or dynamics != self._dynamics:
            # Only what happens at random can be switched while a session runs: the species are the same.
            self._dynamics = dynamics
            self._table = Table(dynamics)
            self._confinement = Confinement(dynamics, self._generator, self._counters, trusted=self._own is None)
            program = self._compiled(spec, dynamics)
            kept = self._species
            self._lattice = program.lattice
            self._program: tuple[Operation, ...] = program.operations
            self._species = [program.lattice.interior(s) for s in range(program.lattice.species)]
            for new, old in zip(self._species, kept, strict=False):
                new[...] = old
            work = passes(dynamics) * self._side * self._side
            self._slice = max(1, PASSES_PER_SLICE // work)
        self._spec = spec
        if self._written is not None:
            self._written.adopt(spec)
        self._table.adopt(values)
        self._confinement.adopt(values)
        self._lattice.outside[...] = [values[terms.outside] for terms in dynamics.species]
        places = {name: place for place, name in enumerate(self._names)}
        self._spikes = [
            (places[spike.species], values[spike.probability], values[spike.mean], values[spike.deviation])
            for spike in dynamics.spikes
        ]
        # Of what somebody else computes nothing is proved.
        self._proved = self._written is None and stays_finite(dynamics, values)
        self._doubts()

    def _compiled(self, spec: FieldSpec, dynamics: Dynamics) -> Program:
        """The operations of a step: of the declaration, or of what was brought for this engine in its place."""
        settle = self._confinement.place
        if self._own is not None:
            self._written, program = HandWritten.program(
                self._own, self._side, len(dynamics.species), self._boundary, settle
            )
            return program
        return compile_step(
            dynamics,
            self._table,
            self._side,
            boundary=self._boundary,
            block_cells=self._block_cells,
            settle=settle,
        )

    def _doubts(self) -> None:
        """The state may lie outside its ranges, from which nothing was proved: the coming step is looked at."""
        self._doubtful = True

    def _usable(self) -> PaddedLattice:
        if self._lattice is None:
            raise RuntimeError("the session is closed; open another one")
        if self._torn:
            raise RuntimeError("the session was interrupted in the middle of a step; open another one")
        return self._lattice

    def step(self, n: int, cancel: CancelToken) -> int:
        """Advances by at most `n` steps; see `mfn_core.compute.Session`."""
        lattice = self._usable()
        n = operator.index(n)
        if n < 0:
            raise ValueError(f"n must be at least 0, got {n}")
        done = 0
        slice_steps = self._slice
        while done < n and not cancel.is_set():
            count = min(slice_steps, n - done)
            self._advance(lattice, count)
            done += count
        return done

    def _advance(self, lattice: PaddedLattice, count: int) -> None:
        self._torn = True
        draw, spikes = self._generator.random, self._spikes
        halo, program, finish = lattice.halo, self._program, self._confinement.finish
        with np.errstate(all="ignore"):  # what is not finite is looked for, and padding means nothing
            for _ in range(count):
                for place, probability, mean, deviation in spikes:
                    if draw() < probability:
                        self._spike(place, mean, deviation)
                for target, source in halo:
                    target[...] = source
                for operation, left, right, out in program:
                    operation(left, right, out)
                finish()
                self._step += 1
                if self._doubtful:
                    self._look()
        self._torn = False

    def _spike(self, place: int, mean: float, deviation: float) -> None:
        generator, side, values = self._generator, self._side, self._species[place]
        row, column = int(generator.integers(0, side)), int(generator.integers(0, side))
        value = float(values[row, column]) + generator.normal(mean, deviation)
        values[row, column] = value
        self._growth_events += 1
        self._confinement.disturb(place, value)

    def _look(self) -> None:
        """Whether the step that has ended left finite numbers alone."""
        self._doubtful = not self._proved
        for values in self._species:
            # A finite sum has finite terms; one that overflows is looked at term by term.
            if not math.isfinite(float(np.add.reduce(values, axis=None))):
                require_finite(self._step, dict(zip(self._names, self._species, strict=True)))

    def state(self) -> FieldState:
        """A snapshot of every species; see `mfn_core.compute.Session`."""
        self._usable()
        arrays = [values.copy() for values in self._species]
        return FieldState(
            step=self._step,
            field=arrays[0],
            species=dict(zip(self._names[1:], arrays[1:], strict=True)),
            growth_events=self._growth_events,
            counters=dict(self._counters),
        )

    def close(self) -> None:
        """Gives the arrays back; safe to call twice."""
        self._lattice = None
        self._program = ()
        self._written = None
        self._species = []
        self._confinement = Confinement(self._dynamics, self._generator, self._counters)
        self._table = Table(self._dynamics)

    def set_parameter(self, name: str, value: float) -> None:
        """Changes one parameter from the next step on; see `mfn_core.compute.SupportsSteering`.

        A switch takes true or false, or 1 or 0. One that decides which species there are cannot change.
        """
        self._usable()
        kinds = {parameter.name: parameter.kind for parameter in self._spec.declaration.parameters}
        wanted = bool(value) if kinds.get(name) == "bool" and value in (0, 1) else value
        changed = self._spec.with_parameters(**{name: wanted})
        if [species.name for species in changed.declaration.present(changed.parameters)] != self._names:
            message = (
                f"{name} cannot change in a running session, got {value!r}; "
                "open a session with a specification that says so"
            )
            bound = f"{name} is {self._spec[name]}"
            raise SpecError([BoundViolation(field=name, value=value, bound=bound, message=message)])
        self._adopt(changed)

    def inject(self, row: int, column: int, amplitude: float) -> None:
        """Adds `amplitude` to the field at a cell now, clamped; see `mfn_core.compute.SupportsSteering`."""
        self._usable()
        violations = []
        for name, index in (("row", row), ("column", column)):
            bound = f"0 <= {name} < {self._side}"
            if isinstance(index, bool) or not isinstance(index, Integral) or not 0 <= int(index) < self._side:
                message = f"{name} must be an index of the grid, got {index!r}; the bound is {bound}"
                violations.append(BoundViolation(field=name, value=index, bound=bound, message=message))
        if isinstance(amplitude, bool) or not isinstance(amplitude, Real) or not math.isfinite(amplitude):
            unit = {"V": "of volts", "1": ""}.get(self._spec.declaration.species[0].unit, "")
            message = f"amplitude must be a finite number {unit}".rstrip() + f", got {amplitude!r}"
            violations.append(
                BoundViolation(field="amplitude", value=amplitude, bound="amplitude is finite", message=message)
            )
        if violations:
            raise SpecError(violations)
        field, terms = self._species[0], self._dynamics.species[0]
        value = float(field[row, column]) + float(amplitude)
        confined = min(max(value, terms.minimum), terms.maximum)
        field[row, column] = confined
        self._growth_events += 1
        if terms.counts_clamping:
            self._counters["clamping_events"] += confined != value
        self._confinement.disturb(0, confined)
        self._doubts()

    def checkpoint(self) -> Checkpoint:
        """All that `NumpyBackend.restore` needs to go on bit for bit; see `mfn_core.compute.SupportsCheckpoint`."""
        return Checkpoint(spec=self._spec, state=self.state(), generator=self._generator.bit_generator.state)
