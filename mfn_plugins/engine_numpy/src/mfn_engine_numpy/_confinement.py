"""What follows the update of a step: kicks, noise, and the ranges of species, in the order of `mfn_model.dynamics`.

Most steps kick nothing and leave every range respected. Whether one did is seen from the extremes of a run, which cost
less than masks; only then are true cells told from the padding between them, and counted. A species that nothing but
diffusion changes need not even be measured again: with a coefficient of at most 1/4 diffusion makes every value a
weighted mean of its neighbourhood, so that extremes stay within those that were seen, but for rounding, which the
margin absorbs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mfn_engine_numpy._lattice import FloatArray, PaddedLattice
from mfn_engine_numpy._program import Block, Operation, constant
from mfn_model.dynamics import Dynamics, KickTerms, NoiseTerms, SpeciesTerms

__all__ = ["Confinement"]

MaskArray = npt.NDArray[np.bool_]

_MARGIN: Final = 1e-9
"""Relative to the range; rounding is below 1e-14 a step."""
_LONGEST_CALM: Final = 65_536
"""Steps after which a state is measured again, before rounding could use the margin up."""
_NOISE_CELLS: Final = 8_192
"""Noise is drawn into a buffer of so many numbers at most, which then still lies in the cache when it is added."""

_lowest, _highest = np.minimum.reduce, np.maximum.reduce


def _clip(values: FloatArray, bounds: tuple[FloatArray, FloatArray], out: FloatArray) -> None:
    # In one pass, and faster than `numpy.maximum` with a scalar, which NumPy does not vectorise.
    np.clip(values, bounds[0], bounds[1], out=out)


class _Range:
    """The interval of a species, and whether its state is known to stay inside."""

    __slots__ = ("_inner", "calm", "counts", "inside", "maximum", "minimum", "only_diffuses", "place")

    def __init__(self, place: int, terms: SpeciesTerms, *, trusted: bool) -> None:
        self.place = place
        self.minimum, self.maximum = terms.minimum, terms.maximum
        self.counts = terms.counts_clamping
        width = self.maximum - self.minimum
        margin = _MARGIN * (width if math.isfinite(width) else 1.0)
        self._inner = (self.minimum + margin, self.maximum - margin)
        self.only_diffuses = trusted and terms.reaction is None
        self.calm = False
        """Whether diffusion alone cannot take it out of the range."""
        self.inside = True
        """Whether everything that this step measured lay well inside."""

    def holds(self, low: float, high: float) -> bool:
        """Whether values between these lie inside by a margin; NaN does not."""
        return self._inner[0] < low and high < self._inner[1]


class _BlockRange:
    """The part of a species in a block, kept in its range and counted."""

    __slots__ = ("_cells", "_mask", "_maximum", "_minimum", "_run", "range")

    def __init__(self, lattice: PaddedLattice, block: Block, bounds: _Range, mask: MaskArray, cells: MaskArray) -> None:
        self.range = bounds
        self._run = lattice.run(bounds.place, block.first, block.last)
        self._mask, self._cells = mask, cells
        self._minimum, self._maximum = constant(bounds.minimum), constant(bounds.maximum)

    def confine(self) -> int:
        """Confine it; the number of cells that this changed."""
        low, high = float(_lowest(self._run)), float(_highest(self._run))
        if not self.range.holds(low, high):
            self.range.inside = False
            if not (self.range.minimum <= low and high <= self.range.maximum):
                return self._clip()
        return 0

    def _clip(self) -> int:
        mask, cells = self._mask, self._cells
        np.less(self._run, self._minimum, out=mask)
        outside = int(np.count_nonzero(cells))
        np.greater(self._run, self._maximum, out=mask)
        outside += int(np.count_nonzero(cells))
        _clip(self._run, (self._minimum, self._maximum), self._run)
        return outside


class _BlockKick:
    """One kind of kick in a block."""

    __slots__ = ("_cells", "_mask", "_source", "_target", "target")

    def __init__(
        self, lattice: PaddedLattice, block: Block, places: tuple[int, int], mask: MaskArray, cells: MaskArray
    ) -> None:
        source, self.target = places
        self._source = lattice.run(source, block.first, block.last)
        self._target = lattice.run(self.target, block.first, block.last)
        self._mask, self._cells = mask, cells

    def apply(self, above: float, amount: float) -> int:
        """Kick; the number of cells that gained."""
        if float(_highest(self._source)) <= above:
            return 0
        np.greater(self._source, above, out=self._mask)
        kicked = int(np.count_nonzero(self._cells))
        if kicked:
            np.add(self._target, amount, out=self._target, where=self._mask)
        return kicked


class _LatticeNoise:
    """Noise of one species, a few rows at a time."""

    __slots__ = ("_chunks", "place")

    def __init__(self, lattice: PaddedLattice, place: int) -> None:
        self.place = place
        side, pitch = lattice.side, lattice.pitch
        rows = min(side, max(1, _NOISE_CELLS // side))
        drawn = np.empty((rows, side))
        padded = np.zeros((rows, pitch))
        self._chunks: list[tuple[FloatArray, FloatArray, FloatArray, FloatArray]] = []
        for first in range(0, side, rows):
            count = min(rows, side - first)
            target = lattice.run(place, first, first + count)
            self._chunks.append((drawn[:count], padded[:count, :side], padded.reshape(-1)[: target.size], target))

    def add(self, generator: np.random.Generator, deviation: float) -> None:
        """Draw one number for every cell, and add it."""
        for drawn, placed, noise, target in self._chunks:
            generator.standard_normal(out=drawn)
            np.multiply(drawn, deviation, out=drawn)
            placed[...] = drawn
            np.add(target, noise, out=target)


class Confinement:
    """Kicks, noise and ranges of one session's species."""

    def __init__(
        self, dynamics: Dynamics, generator: np.random.Generator, counters: dict[str, int], *, trusted: bool = True
    ) -> None:
        """Count into `counters`, draw noise from `generator`; `dynamics` is `Dynamics.switched`.

        `trusted`: whether the update is compiled from it, so that diffusion can be believed to be what it says.
        """
        self._generator = generator
        self._counters = counters
        self._species = dynamics.species
        self._places = {terms.name: place for place, terms in enumerate(dynamics.species)}
        self._ranges = [_Range(place, terms, trusted=trusted) for place, terms in enumerate(dynamics.species)]
        self._kicks: tuple[KickTerms, ...] = dynamics.kicks
        self._noises: tuple[NoiseTerms, ...] = dynamics.noises
        self._noise: list[_LatticeNoise] = []
        self._late: list[Operation] = []
        """What waits for the noise."""
        self._age = 0
        self._levels: list[tuple[float, float]] = []
        self._deviations: list[float] = []
        self._outside: list[float] = []
        self._dirichlet = False

    def place(self, lattice: PaddedLattice, block: Block) -> list[Operation]:
        """Know a block of the lattice; what to run as soon as its update is complete."""
        self._dirichlet = lattice.boundary == "dirichlet"
        if self._noises and not self._noise:
            self._noise = [_LatticeNoise(lattice, self._places[noise.species]) for noise in self._noises]
        rows, side = block.last - block.first, lattice.side
        # A mask over a run covers padding too; the view of its true cells is what is counted.
        whole = np.zeros((rows, lattice.pitch), dtype=np.bool_)
        mask: MaskArray = whole.reshape(-1)[: lattice.run(0, block.first, block.last).size]
        cells: MaskArray = whole[:, :side]
        kicks: list[Operation] = []
        for index, kick in enumerate(self._kicks):
            places = self._places[kick.species], self._places[kick.target]
            kicks.append((self._kick, _BlockKick(lattice, block, places, mask, cells), index, None))
        confining = self._clips(lattice, block)
        for bounds, terms in zip(self._ranges, self._species, strict=True):
            if terms.bounded and terms.counts_clamping:
                confining.append((self._confine, _BlockRange(lattice, block, bounds, mask, cells), None, None))
        if not self._noises:
            return kicks + confining
        self._late += confining
        return kicks

    def _clips(self, lattice: PaddedLattice, block: Block) -> list[Operation]:
        """Operations that confine the species whose changes nobody counts, neighbours of one range together."""
        operations: list[Operation] = []
        places = [s for s, terms in enumerate(self._species) if terms.bounded and not terms.counts_clamping]
        whole = block.first == 0 and block.last == lattice.side
        done = -1
        for s in places:
            if s <= done:
                continue
            terms, done = self._species[s], s
            while whole and done + 1 in places and self._same_range(s, done + 1):
                done += 1
            run = lattice.run(s, block.first, block.last, count=done - s + 1)
            operations.append((_clip, run, (constant(terms.minimum), constant(terms.maximum)), run))
        return operations

    def adopt(self, values: Sequence[float]) -> None:
        """Take the numbers of these coefficients from the next step on."""
        self._levels = [(values[kick.above], values[kick.amount]) for kick in self._kicks]
        self._deviations = [values[noise.deviation] for noise in self._noises]
        self._outside = [values[terms.outside] for terms in self._species]
        self.disturb_all()

    def disturb(self, place: int, value: float) -> None:
        """A cell of a species was set to this value from outside."""
        bounds = self._ranges[place]
        if bounds.calm and not bounds.holds(value, value):
            bounds.calm = False

    def disturb_all(self) -> None:
        """Nothing is known of the state any more."""
        self._age = 0
        for bounds in self._ranges:
            bounds.calm = False

    def finish(self) -> None:
        """End a step: noise, and what waits for it."""
        for noise, deviation in zip(self._noise, self._deviations, strict=True):
            noise.add(self._generator, deviation)
            self._ranges[noise.place].calm = False
        for operation, left, right, out in self._late:
            operation(left, right, out)
        self._age += 1
        if self._age > _LONGEST_CALM:
            self.disturb_all()
        for bounds in self._ranges:
            if not bounds.calm:
                outside = self._outside[bounds.place]
                held = not self._dirichlet or bounds.holds(outside, outside)
                bounds.calm = bounds.only_diffuses and bounds.inside and held
            bounds.inside = True

    def _same_range(self, one: int, other: int) -> bool:
        first, second = self._species[one], self._species[other]
        return (first.minimum, first.maximum) == (second.minimum, second.maximum)

    def _kick(self, part: _BlockKick, index: int, _: Any) -> None:
        kicked = part.apply(*self._levels[index])
        if kicked:
            self._counters[self._kicks[index].counter] += kicked
            self._ranges[part.target].calm = False

    def _confine(self, part: _BlockRange, *_: Any) -> None:
        if not part.range.calm:
            outside = part.confine()
            if outside:
                self._counters["clamping_events"] += outside
