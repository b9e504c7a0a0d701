"""A trajectory of one of the mycelium models, advanced in place."""

from __future__ import annotations

import math
import operator
from numbers import Integral, Real
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mfn_core.compute import CancelToken
from mfn_engine_numpy._equations import EQUATIONS, Coefficients, Kinetics
from mfn_engine_numpy._guard import (
    LONGEST_QUIET,
    Extremes,
    potential_is_inside,
    steps_above_zero,
    steps_below,
)
from mfn_engine_numpy._lattice import FloatArray, PaddedLattice
from mfn_engine_numpy._program import compile_step
from mfn_model import BoundViolation, Checkpoint, FieldSpec, FieldState, SpecError, require_finite
from mfn_model.mycelium import (
    CONCENTRATION_RANGE,
    POTENTIAL_RANGE,
    SPIKE_MEAN,
    SPIKE_STD,
    TURING_KICK,
    draw_initial_fields,
)

__all__ = ["CELL_STEPS_PER_SLICE", "MyceliumSession"]

CELL_STEPS_PER_SLICE: Final = 200_000
"""Work between two looks at the cancel token: one to five milliseconds."""

_NOISE_CELLS: Final = 8_192
"""Noise is drawn into a buffer of so many numbers at most, which then still lies in the cache when it is added."""

_FEWEST_QUIET: Final = 4
"""A shorter prospect of quiet costs more to establish than clipping does."""
_LONGEST_WATCH: Final = 16
"""Steps after which a state that was not quiet is examined again at the latest."""

_LOWEST, _HIGHEST = POTENTIAL_RANGE
_LEAST, _MOST = CONCENTRATION_RANGE


class MyceliumSession:
    """One trajectory of a mycelium model; also supports steering and checkpoints.

    Advancing allocates nothing. An exception out of the middle of a step leaves the session unusable, and it says so:
    an interrupt, or `mfn_model.NumericalInstabilityError` for numbers that are no longer finite. No specification
    leads to such numbers; they are looked for whenever extremes are measured, at most `LONGEST_QUIET` steps apart.
    """

    def __init__(self, spec: FieldSpec, *, block_cells: int | None = None) -> None:
        """A session at step 0. `block_cells` overrides how a large grid is divided, which changes no number."""
        bits = np.random.PCG64(spec.seed)
        self._open(spec, np.random.Generator(bits), block_cells)
        draw_initial_fields(self._generator, self._species)
        if not self._reacting and EQUATIONS[spec.model].draws_absent_species:
            bits.advance(2 * self._side * self._side)  # each uniform number of either species takes one draw

    @classmethod
    def restored(cls, checkpoint: Checkpoint) -> MyceliumSession:
        """A session that goes on from a checkpoint; raises `ValueError` when the checkpoint contradicts itself."""
        spec, state = checkpoint.spec, checkpoint.state
        names = ["activator", "inhibitor"] if spec.switch("turing_enabled") else []
        if sorted(state.species) != names:
            raise ValueError(f"the checkpoint carries the species {sorted(state.species)}, its spec needs {names}")
        if not np.isfinite(state.field).all():
            raise ValueError("the checkpoint's field holds values that are not finite")
        for name in names:
            if not ((state.species[name] >= _LEAST) & (state.species[name] <= _MOST)).all():
                raise ValueError(f"the checkpoint's {name} holds values outside [{_LEAST:g}, {_MOST:g}]")
        bits = np.random.PCG64()
        generator_state: Any = dict(checkpoint.generator)
        try:
            bits.state = generator_state
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(f"the checkpoint's generator is not the state of a PCG64: {error}") from error
        session = cls.__new__(cls)
        session._open(spec, np.random.Generator(bits), None)
        session._potential[...] = state.field
        for values, name in zip(session._species[1:], names, strict=True):
            values[...] = state.species[name]
        session._step = state.step
        session._growth_events = state.growth_events
        session._turing_activations = state.counters.get("turing_activations", 0)
        session._clamping_events = state.counters.get("clamping_events", 0)
        return session

    def _open(self, spec: FieldSpec, generator: np.random.Generator, block_cells: int | None) -> None:
        side = spec.grid_size
        self._reacting = spec.switch("turing_enabled")
        self._side = side
        self._generator = generator
        self._coefficients = Coefficients()
        lattice, self._program = compile_step(
            side,
            3 if self._reacting else 1,
            self._coefficients,
            sequential=EQUATIONS[spec.model].sequential,
            boundary=spec.boundary,
            block_cells=block_cells,
        )
        self._lattice: PaddedLattice | None = lattice
        self._species = [lattice.interior(s) for s in range(lattice.species)]
        self._runs = [lattice.run(s, 0, side) for s in range(lattice.species)]
        self._potential = self._species[0]
        # A mask over a run covers padding too; the view of its true cells is what is counted.
        mask = np.zeros((side, lattice.pitch), dtype=np.bool_)
        self._mask: npt.NDArray[np.bool_] = mask.reshape(-1)[: self._runs[0].size]
        self._mask_cells: npt.NDArray[np.bool_] = mask[:, :side]
        self._noise: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
        self._slice = max(1, CELL_STEPS_PER_SLICE // (side * side))
        self._step = self._growth_events = self._turing_activations = self._clamping_events = 0
        self._torn = False
        self._adopt(spec)

    def _adopt(self, spec: FieldSpec) -> None:
        """Takes over the parameters of `spec` from the next step on."""
        self._spec = spec
        self._kinetics = Kinetics.of(spec)
        self._coefficients.adopt(spec.number("alpha"), self._kinetics)
        self._usable().outside[0] = spec.parameters.get("boundary_potential", 0.0)
        self._spike_probability = spec.number("spike_probability")
        self._threshold = spec.number("turing_threshold")
        self._noise_std = math.sqrt(spec.number("jitter_variance"))
        self._jitter = spec.switch("jitter")
        if self._jitter and not self._noise:
            self._noise = self._noise_runs()
        self._watch_span = 1
        self._forget_prospect()

    def _forget_prospect(self) -> None:
        """What was known about the coming steps no longer holds; the next one examines the state."""
        self._quiet = 0
        """Coming steps that need neither examination nor kicks nor clipping."""
        self._watch = 0
        """Coming steps, after those, that need the treatment below but no examination."""
        self._may_sink = self._may_rise = self._may_leave = True
        """Whether a concentration may become negative, rise beyond its bounds, and the potential leave its range."""

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
        draw, probability = self._generator.random, self._spike_probability
        halo, program = lattice.halo, self._program
        for done in range(count):
            if draw() < probability:
                self._spike()
            for target, source in halo:
                target[...] = source
            if self._quiet == 0:
                self._examine(lattice, self._step + done)
            for operation, left, right, out in program:
                operation(left, right, out)
            if self._quiet:
                self._quiet -= 1
            else:
                self._confine()
        self._step += count
        self._torn = False

    def _spike(self) -> None:
        generator, side = self._generator, self._side
        row, column = int(generator.integers(0, side)), int(generator.integers(0, side))
        value = float(self._potential[row, column]) + generator.normal(SPIKE_MEAN, SPIKE_STD)
        self._potential[row, column] = value
        self._growth_events += 1
        if not potential_is_inside(value, value):
            self._forget_prospect()

    def _examine(self, lattice: PaddedLattice, step: int) -> None:
        """Finds out which treatment the coming steps need; the halo is fresh, so that runs hold true values alone."""
        if self._watch:
            return
        extremes = [self._extremes(lattice, number) for number in range(len(self._runs))]
        if not all(math.isfinite(least) and math.isfinite(largest) for least, largest in extremes):
            names = (species.name for species in self._spec.declaration.species)
            require_finite(step, dict(zip(names, self._species, strict=False)))
        self._may_leave = self._jitter or not potential_is_inside(*extremes[0])
        self._may_sink = self._may_rise = False
        quiet = LONGEST_QUIET
        if self._reacting:
            activator, inhibitor = extremes[1:]
            concentrations = Extremes(
                activator_minimum=activator[0],
                activator_maximum=activator[1],
                inhibitor_minimum=inhibitor[0],
                inhibitor_maximum=inhibitor[1],
            )
            above = steps_above_zero(concentrations, self._kinetics)
            below = steps_below(self._threshold, concentrations, self._kinetics)
            quiet = min(above, below)
            self._may_sink = above < self._watch_span or quiet < _FEWEST_QUIET
            self._may_rise = below < self._watch_span
        if quiet >= _FEWEST_QUIET and not self._may_leave:
            self._quiet, self._watch_span = quiet, 1
        else:
            self._watch = self._watch_span
            self._watch_span = min(_LONGEST_WATCH, 2 * self._watch_span)
            self._may_leave = self._may_leave or self._may_rise

    def _extremes(self, lattice: PaddedLattice, number: int) -> tuple[float, float]:
        """Least and largest value of a species, with what lies beyond a constant boundary."""
        run = self._runs[number]
        least, largest = float(np.minimum.reduce(run)), float(np.maximum.reduce(run))
        if lattice.boundary != "dirichlet":
            return least, largest
        beyond = float(lattice.outside[number])
        return min(least, beyond), max(largest, beyond)

    def _confine(self) -> None:
        """Kicks, noise and clipping after a step that may need them, in the order of the model."""
        self._watch -= 1
        runs, mask = self._runs, self._mask
        if self._may_rise:
            np.greater(runs[1], self._threshold, out=mask)
            kicked = int(np.count_nonzero(self._mask_cells))
            if kicked:
                np.add(runs[0], TURING_KICK, out=runs[0], where=mask)
                self._turing_activations += kicked
            np.minimum(runs[1], _MOST, out=runs[1])
            np.minimum(runs[2], _MOST, out=runs[2])
        if self._may_sink:
            np.maximum(runs[1], _LEAST, out=runs[1])
            np.maximum(runs[2], _LEAST, out=runs[2])
        if self._jitter:
            self._add_noise()
        if self._may_leave:
            np.less(runs[0], _LOWEST, out=mask)
            outside = int(np.count_nonzero(self._mask_cells))
            np.greater(runs[0], _HIGHEST, out=mask)
            outside += int(np.count_nonzero(self._mask_cells))
            if outside:
                np.maximum(runs[0], _LOWEST, out=runs[0])
                np.minimum(runs[0], _HIGHEST, out=runs[0])
                self._clamping_events += outside

    def _noise_runs(self) -> list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
        """For a few rows at a time: where noise is drawn, its place between padding, that as a run, and its target."""
        lattice = self._usable()
        side, pitch = lattice.side, lattice.pitch
        rows = min(side, max(1, _NOISE_CELLS // side))
        drawn = np.empty((rows, side))
        padded = np.zeros((rows, pitch))
        chunks = []
        for first in range(0, side, rows):
            count = min(rows, side - first)
            target = lattice.run(0, first, first + count)
            chunks.append((drawn[:count], padded[:count, :side], padded.reshape(-1)[: target.size], target))
        return chunks

    def _add_noise(self) -> None:
        for drawn, placed, noise, target in self._noise:
            self._generator.standard_normal(out=drawn)
            np.multiply(drawn, self._noise_std, out=drawn)
            placed[...] = drawn
            np.add(target, noise, out=target)

    def state(self) -> FieldState:
        """A snapshot of every species; see `mfn_core.compute.Session`."""
        self._usable()
        names = [species.name for species in self._spec.declaration.species]
        arrays = [values.copy() for values in self._species]
        return FieldState(
            step=self._step,
            field=arrays[0],
            species=dict(zip(names[1:], arrays[1:], strict=False)),
            growth_events=self._growth_events,
            counters={
                "turing_activations": self._turing_activations,
                "clamping_events": self._clamping_events,
            },
        )

    def close(self) -> None:
        """Gives the arrays back; safe to call twice."""
        self._lattice = None
        self._program = ()
        self._runs = []
        self._noise = []
        self._species = []
        self._potential = np.empty((0, 0))
        self._mask = self._mask_cells = np.empty(0, dtype=np.bool_)

    def set_parameter(self, name: str, value: float) -> None:
        """Changes one parameter from the next step on; see `mfn_core.compute.SupportsSteering`.

        A switch takes true or false, or 1 or 0. `turing_enabled` cannot change: it decides which species there are.
        """
        self._usable()
        kinds = {parameter.name: parameter.kind for parameter in self._spec.declaration.parameters}
        wanted = bool(value) if kinds.get(name) == "bool" and value in (0, 1) else value
        changed = self._spec.with_parameters(**{name: wanted})
        if changed.switch("turing_enabled") != self._reacting:
            message = (
                f"turing_enabled cannot change in a running session, got {value!r}; "
                "open a session with a specification that says so"
            )
            raise SpecError(
                [BoundViolation(field=name, value=value, bound=f"turing_enabled is {self._reacting}", message=message)]
            )
        self._adopt(changed)

    def inject(self, row: int, column: int, amplitude: float) -> None:
        """Adds `amplitude` V at a cell now, clamped; see `mfn_core.compute.SupportsSteering`."""
        self._usable()
        violations = []
        for name, index in (("row", row), ("column", column)):
            bound = f"0 <= {name} < {self._side}"
            if isinstance(index, bool) or not isinstance(index, Integral) or not 0 <= int(index) < self._side:
                message = f"{name} must be an index of the grid, got {index!r}; the bound is {bound}"
                violations.append(BoundViolation(field=name, value=index, bound=bound, message=message))
        if isinstance(amplitude, bool) or not isinstance(amplitude, Real) or not math.isfinite(amplitude):
            message = f"amplitude must be a finite number of volts, got {amplitude!r}"
            violations.append(
                BoundViolation(field="amplitude", value=amplitude, bound="amplitude is finite", message=message)
            )
        if violations:
            raise SpecError(violations)
        value = float(self._potential[row, column]) + float(amplitude)
        confined = min(max(value, _LOWEST), _HIGHEST)
        self._potential[row, column] = confined
        self._growth_events += 1
        self._clamping_events += confined != value
        self._forget_prospect()

    def checkpoint(self) -> Checkpoint:
        """All that `NumpyBackend.restore` needs to go on bit for bit; see `mfn_core.compute.SupportsCheckpoint`."""
        return Checkpoint(spec=self._spec, state=self.state(), generator=self._generator.bit_generator.state)
