"""The geometric median: the point whose distances to the gradients have the smallest sum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, number_problems, refuse
from mfn_model.aggregation._coordinatewise import median_of
from mfn_model.aggregation._rows import Check, GradientRows, Gradients, IntArray, column_spans, gradient_rows

__all__ = ["GeometricMedian", "NotConvergedError", "geometric_median"]

Float64Array = npt.NDArray[np.float64]

_NEAR: Final = 0.1  # of the mean distance: only nearer gradients are worth a look whether they are the median


class NotConvergedError(ArithmeticError):
    """The iterations allowed did not bring the geometric median within the tolerance."""

    def __init__(self, *, iterations: int, excess: float, tolerance: float) -> None:
        self.iterations = iterations
        """Passes that were made."""
        self.excess = excess
        """The bound that was reached, as `GeometricMedian.excess`."""
        self.tolerance = tolerance
        """The bound that was asked for."""
        super().__init__(
            f"the geometric median is known within a relative excess of {excess:.3g} after {iterations} iterations, "
            f"more than the tolerance of {tolerance:g}; allow more iterations or a greater tolerance"
        )

    def __reduce__(self) -> tuple[object, ...]:
        return _not_converged, (self.iterations, self.excess, self.tolerance)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeometricMedian:
    """A geometric median, with a proof of how good it is."""

    gradient: Float64Array
    """[coordinates]."""
    excess: float
    """The sum of distances from here exceeds the smallest possible by at most this share of itself."""
    iterations: int
    """Evaluations of that sum, each a pass over all gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The sum of distances at a point, relative to the centre, and where it falls."""

    point: Float64Array
    distances: Float64Array
    """[clients]."""
    slope: Float64Array
    """Σ (point − x) / |point − x| over the gradients that are elsewhere."""
    weight: float
    """Σ 1 / |point − x| over the same."""

    @property
    def total(self) -> float:
        return float(np.add.reduce(self.distances))

    @property
    def here(self) -> int:
        """Gradients that are this very point."""
        return int(np.count_nonzero(self.distances == 0.0))

    @property
    def steepness(self) -> float:
        """The smallest norm of a subgradient."""
        return max(0.0, math.sqrt(float(self.slope @ self.slope)) - self.here)

    @property
    def excess(self) -> float:
        """By convexity f − f* <= |g| |y − y*|, and |y − y*| <= 2 f / n, seen from each gradient."""
        return 2.0 * self.steepness / len(self.distances)

    def step(self) -> Float64Array:
        """The move that Weiszfeld's iteration makes from here, shortened where this point is itself a gradient."""
        share = 1.0 - self.here / math.sqrt(float(self.slope @ self.slope)) if self.here else 1.0
        return self.slope * (-share / self.weight)


def geometric_median(
    gradients: Gradients, *, tolerance: float = 1e-9, max_iterations: int = 10_000, check: Check | None = None
) -> GeometricMedian:
    """The geometric median of gradients [clients, coordinates], in float64.

    E. Weiszfeld, Tôhoku Math. J. 43 (1937) 355–386, with the step of Y. Vardi, C.-H. Zhang, PNAS 97 (2000) 1423–1426,
    where the iterate is one of the gradients, so that every step lowers the sum of distances and the iteration
    converges from anywhere; and with an extrapolation after two steps, kept only where the sum is lower still. As an
    aggregate: K. Pillutla, S. M. Kakade, Z. Harchaoui, IEEE Trans. Signal Process. 70 (2022) 1142–1154; any wrong
    gradients, as long as they are fewer than half, move it by a bounded distance only.

    It begins at the coordinate median, and ends when the sum of distances is proved to be within `tolerance`, a share
    of itself, of the smallest possible. A gradient that is the median itself is found exactly. Needs about 50 MiB
    beside the gradients; an iteration reads them twice. Distances below 1e-150 are lost to underflow.

    Raises `ValueError` for gradients that are ragged, empty, NaN, infinite or beyond 1e140, for a tolerance that is
    not positive and for fewer than one iteration; `NotConvergedError` when `max_iterations` do not suffice.

    >>> geometric_median([[0.0, 0.0], [2.0, 0.0], [1.0, 5.0], [1.0, 0.1]]).gradient.round(6).tolist()
    [1.0, 0.1]
    """
    problems = number_problems("tolerance", tolerance, 0.0, minimum_exclusive=True)
    refuse(problems + integer_problems("max_iterations", max_iterations, 1))
    rows = gradient_rows(gradients, check=check)
    search = _Search(rows, tolerance, max_iterations)
    place = search.run()
    # The centre plus the difference would not give a gradient back to the bit.
    exact = rows.row(int(np.argmin(place.distances))) if place.here else search.centre + place.point
    return GeometricMedian(gradient=exact, excess=place.excess, iterations=search.iterations)


class _Search:
    """One run of the iteration. Points are kept relative to the centre, since differences lose fewer digits there."""

    def __init__(self, rows: GradientRows, tolerance: float, max_iterations: int) -> None:
        self.rows = rows
        self.centre = median_of(rows)
        self.tolerance = tolerance
        self.max_iterations = max_iterations
        self.iterations = 0
        self._seen: set[int] = set()

    def run(self) -> _Place:
        place = self._look(np.zeros(self.rows.coordinates))
        last_move: Float64Array | None = None
        while True:
            done = self._finished(place)
            if done is not None:
                return done
            if self.iterations >= self.max_iterations:
                raise NotConvergedError(iterations=self.iterations, excess=place.excess, tolerance=self.tolerance)
            move = place.step()
            ahead = self._extrapolated(place, move, last_move)
            if ahead is not None:
                place, last_move = ahead, None
            else:
                place, last_move = self._look(place.point + move), move

    def _finished(self, place: _Place) -> _Place | None:
        """A place within the tolerance: this one, or the gradient nearest to it, which steps would never reach."""
        if place.excess <= self.tolerance:
            return place
        nearest = int(np.argmin(place.distances))
        if nearest in self._seen or not 0.0 < place.distances[nearest] < _NEAR * place.total / self.rows.clients:
            return None
        self._seen.add(nearest)
        there = self._look(self.rows.row(nearest) - self.centre)
        return there if there.excess <= self.tolerance else None

    def _extrapolated(self, place: _Place, move: Float64Array, last_move: Float64Array | None) -> _Place | None:
        """Where all further moves would lead, were each the same share of the one before; if that is an improvement."""
        square = 0.0 if last_move is None else float(last_move @ last_move)
        if last_move is None or square == 0.0:
            return None
        share = float(move @ last_move) / square
        if not 0.0 < share < 1.0:
            return None
        ahead = self._look(place.point + move / (1.0 - share))
        return ahead if self._difference(place, ahead) < 0.0 else None

    def _difference(self, place: _Place, other: _Place) -> float:
        """The sum of distances at `other` less that at `place`.

        Subtracted from each other they would lose small differences, all of them where one gradient is far away:
        |b − x| − |a − x| = (b − a) · (a + b − 2 x) / (|b − x| + |a − x|).
        """
        move, middle = other.point - place.point, (other.point + place.point) / 2.0
        projections = np.zeros(self.rows.clients)
        for start, stop in column_spans(self.rows.coordinates, self.rows.clients):
            projections += self._differences(self.rows.everyone(), middle, start, stop) @ move[start:stop]
        sums = place.distances + other.distances
        return 2.0 * float(np.add.reduce(np.divide(projections, sums, out=np.zeros_like(sums), where=sums > 0.0)))

    def _look(self, point: Float64Array) -> _Place:
        """The sum of distances at `point`; counts as an iteration."""
        everyone = self.rows.everyone()
        squares = np.zeros(self.rows.clients)
        for start, stop in column_spans(self.rows.coordinates, self.rows.clients):
            differences = self._differences(everyone, point, start, stop)
            squares += np.einsum("ij,ij->i", differences, differences)
        distances = np.sqrt(squares, out=squares)
        weights = np.divide(1.0, distances, out=np.zeros_like(distances), where=distances > 0.0)
        slope = np.empty(self.rows.coordinates)
        for start, stop in column_spans(self.rows.coordinates, self.rows.clients):
            slope[start:stop] = weights @ self._differences(everyone, point, start, stop)
        self.iterations += 1
        return _Place(point=point, distances=distances, slope=slope, weight=float(np.add.reduce(weights)))

    def _differences(self, clients: IntArray, point: Float64Array, start: int, stop: int) -> Float64Array:
        """`point` less the gradients, in a block of coordinates: [clients, stop − start]."""
        block = self.rows.block(clients, start, stop)
        block -= self.centre[start:stop]
        return np.subtract(point[start:stop], block, out=block)


def _not_converged(iterations: int, excess: float, tolerance: float) -> NotConvergedError:
    return NotConvergedError(iterations=iterations, excess=excess, tolerance=tolerance)
