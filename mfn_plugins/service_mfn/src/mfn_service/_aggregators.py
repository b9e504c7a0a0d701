"""The methods that combine gradients: what each needs, what it costs, and how it is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from mfn_core import CancelToken, Code, MfnError
from mfn_model.aggregation import (
    LARGEST_VALUE,
    Aggregate,
    Check,
    HierarchicalAggregate,
    NotConvergedError,
    balanced_hierarchical_krum,
    bulyan,
    coordinate_median,
    coordinate_trimmed_mean,
    geometric_median,
    hierarchical_krum,
    krum,
    most_borne,
    multi_krum,
)
from mfn_proto.defaults import effective
from mfn_proto.v1 import aggregation_pb2 as pb
from mfn_service._limits import Breach

__all__ = [
    "METHODS",
    "AbortedError",
    "Combined",
    "Method",
    "aborting",
    "hierarchical_cost",
    "rows_breaches",
]

Matrix = npt.NDArray[np.floating[Any]]

MAX_ITERATIONS = 1000
"""Of the geometric median."""

_VALUE = 3.0
"""What it costs to read a value of a gradient, check it and use it once or twice, in cell-steps."""
_PAIR_VALUE = 0.01
"""What a coordinate of a pair of gradients costs in a matrix product."""
_DIRECT_PAIR_VALUE = 0.1
"""What it costs by itself."""
_PAIR = 4.0
"""What a pair costs beside, to sort the distances."""

_LOOKED_AT_AT_ONCE = 2**18
_BREACHES = 8
"""Gradients at fault that one error names."""


class AbortedError(Exception):
    """The call is not wanted any more; nobody sees this."""


@frozen(kw_only=True, eq=False)
class Combined:
    """What came of an aggregation."""

    gradient: Matrix
    accepted: tuple[int, ...]
    rejected: tuple[int, ...]
    sampled_out: int = 0


@frozen(kw_only=True)
class Method:
    """One method."""

    title: str
    """What errors call it."""
    combine: Callable[[Matrix, pb.AggregateGradientsHeader, Check], Combined]
    cost: Callable[[int, int, pb.AggregateGradientsHeader], float]
    """Of clients, coordinates and header, in cell-steps."""
    options: frozenset[str] = frozenset()
    """Optional fields of the header that mean something to it."""
    factor: int | None = None
    """It needs `factor` f + `offset` gradients for f wrong ones; None: f means nothing to it."""
    offset: int = 0

    def breaches(self, header: pb.AggregateGradientsHeader) -> Iterator[Breach]:
        """What is wrong with a header that keeps the rules of its definition."""
        for name in ("keep", "num_clusters", "byzantine_fraction", "sample_fraction", "seed", "tolerance"):
            if header.HasField(name) and name not in self.options:
                yield Breach(
                    field=f"header.{name}",
                    description=f"got {getattr(header, name)}, which means nothing to {self.title}; leave it unset",
                )
        n, f = header.clients, header.byzantine
        if self.factor is None:
            if f:
                yield Breach(
                    field="header.byzantine",
                    description=f"got {f}, which means nothing to {self.title}; leave it unset",
                )
        elif n < self.factor * f + self.offset:
            most = (n - self.offset) // self.factor
            remedy = f"ask for at most {most}" if most >= 0 else f"send at least {self.offset} gradients"
            yield Breach(
                field="header.byzantine",
                description=f"got {f}, for which {self.title} needs {self.factor * f + self.offset} gradients, and "
                f"there are {n}; {remedy}",
            )
        elif header.HasField("keep") and "keep" in self.options and header.keep > n - f - 2:
            yield Breach(
                field="header.keep",
                description=f"got {header.keep}, {self.title} of {n} gradients with {f} wrong ones keeps at most "
                f"{n - f - 2}; ask for no more",
            )
        if "sample_fraction" in self.options and n > 1000 and int(n * effective(header, "sample_fraction")) == 0:
            yield Breach(
                field="header.sample_fraction",
                description=f"got {header.sample_fraction}, which keeps none of {n} gradients; send a greater share",
            )
        if self.title == "balanced_hierarchical_krum":
            yield from _balanced_breaches(header)


def _balanced_breaches(header: pb.AggregateGradientsHeader) -> Iterator[Breach]:
    n, f, clusters = header.clients, header.byzantine, int(effective(header, "num_clusters"))
    most = most_borne(n, clusters)
    if f > most:
        bears = f"bear at most {most} wrong ones" if most >= 0 else "are too few or too many for any guarantee"
        yield Breach(
            field="header.byzantine",
            description=f"got {f}, and {clusters} clusters of {n} gradients {bears}; change num_clusters, or "
            "send more gradients",
        )


def rows_breaches(matrix: Matrix, cancel: CancelToken) -> Iterator[Breach]:
    """The gradients that hold what no aggregation takes, the first few of them.

    Raises:
        AbortedError: the call is not wanted any more.
    """
    named = 0
    at_once = max(1, _LOOKED_AT_AT_ONCE // matrix.shape[1])
    for first in range(0, len(matrix), at_once):
        if cancel.is_set():
            raise AbortedError
        rows = matrix[first : first + at_once]
        # In float32 the bound is infinite: what is left is to be finite.
        good = np.isfinite(rows) if rows.dtype.itemsize == 4 else np.abs(rows) <= LARGEST_VALUE
        for row in np.flatnonzero(~good.all(axis=1)).tolist():
            position = int(np.argmin(good[row]))
            yield Breach(
                field=f"gradients[{first + row}]",
                description=f"got {float(rows[row, position])!r} at position {position}, values must be finite and "
                f"within ±{LARGEST_VALUE:g}; send such values, or leave the gradient out",
            )
            named += 1
            if named == _BREACHES:
                return


def aborting(cancel: CancelToken) -> Check:
    """A check that ends an aggregation once its call is not wanted any more."""

    def check() -> None:
        if cancel.is_set():
            raise AbortedError

    return check


def hierarchical_cost(clients: int, coordinates: int, clusters: int, sample_fraction: float) -> float:
    """What hierarchical Krum costs, in cell-steps."""
    looked_at = int(clients * sample_fraction) if clients > 1000 else clients
    groups = max(1, min(clusters, looked_at))
    pairs = looked_at * looked_at / groups + groups * groups
    return _VALUE * clients * coordinates + pairs * (_PAIR_VALUE * coordinates + _PAIR)


def _krum_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return _VALUE * n * d + n * n * (_PAIR_VALUE * d + _PAIR)


def _bulyan_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return _VALUE * n * d + n * n * (_DIRECT_PAIR_VALUE * d + _PAIR) + n**3 / 2.0


def _coordinate_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return _VALUE * n * d * (1.0 + math.log2(n) / 10.0)


def _geometric_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return 4.0 * _VALUE * n * d


def _hierarchical_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return hierarchical_cost(n, d, int(effective(header, "num_clusters")), float(effective(header, "sample_fraction")))


def _balanced_cost(n: int, d: int, header: pb.AggregateGradientsHeader) -> float:
    return hierarchical_cost(n, d, int(effective(header, "num_clusters")), 1.0)


def _chosen(found: Aggregate | HierarchicalAggregate) -> Combined:
    return Combined(
        gradient=found.gradient,
        accepted=found.accepted,
        rejected=found.rejected,
        sampled_out=len(found.sampled_out) if isinstance(found, HierarchicalAggregate) else 0,
    )


def _all(matrix: Matrix, gradient: Matrix) -> Combined:
    """An aggregate that rejects values and no clients."""
    return Combined(gradient=gradient, accepted=tuple(range(len(matrix))), rejected=())


def _generator(header: pb.AggregateGradientsHeader) -> np.random.Generator:
    return np.random.default_rng(int(effective(header, "seed")))


def _hierarchical(matrix: Matrix, header: pb.AggregateGradientsHeader, check: Check) -> Combined:
    return _chosen(
        hierarchical_krum(
            matrix,
            num_clusters=int(effective(header, "num_clusters")),
            byzantine_fraction=float(effective(header, "byzantine_fraction")),
            sample_fraction=float(effective(header, "sample_fraction")),
            generator=_generator(header),
            dtype=matrix.dtype,
            check=check,
        )
    )


def _balanced(matrix: Matrix, header: pb.AggregateGradientsHeader, check: Check) -> Combined:
    return _chosen(
        balanced_hierarchical_krum(
            matrix,
            byzantine=header.byzantine,
            num_clusters=int(effective(header, "num_clusters")),
            generator=_generator(header),
            check=check,
        )
    )


def _multi_krum(matrix: Matrix, header: pb.AggregateGradientsHeader, check: Check) -> Combined:
    keep = header.keep if header.HasField("keep") else None
    return _chosen(multi_krum(matrix, byzantine=header.byzantine, keep=keep, check=check))


def _geometric(matrix: Matrix, header: pb.AggregateGradientsHeader, check: Check) -> Combined:
    tolerance = float(effective(header, "tolerance"))
    try:
        found = geometric_median(matrix, tolerance=tolerance, max_iterations=MAX_ITERATIONS, check=check)
    except NotConvergedError as late:
        raise MfnError(
            Code.FAILED_PRECONDITION,
            f"{late}",
            reason="the median did not converge",
            details={"reason": "not_converged", "excess": f"{late.excess:.3g}"},
        ) from late
    return _all(matrix, found.gradient)


_CLUSTERED = frozenset({"num_clusters", "seed"})

METHODS: Mapping[int, Method] = {
    pb.AGGREGATION_METHOD_HIERARCHICAL_KRUM: Method(
        title="hierarchical_krum",
        combine=_hierarchical,
        cost=_hierarchical_cost,
        options=_CLUSTERED | {"byzantine_fraction", "sample_fraction"},
    ),
    pb.AGGREGATION_METHOD_BALANCED_HIERARCHICAL_KRUM: Method(
        title="balanced_hierarchical_krum", combine=_balanced, cost=_balanced_cost, options=_CLUSTERED, factor=0
    ),
    pb.AGGREGATION_METHOD_KRUM: Method(
        title="krum",
        combine=lambda matrix, header, check: _chosen(krum(matrix, byzantine=header.byzantine, check=check)),
        cost=_krum_cost,
        factor=2,
        offset=3,
    ),
    pb.AGGREGATION_METHOD_MULTI_KRUM: Method(
        title="multi_krum", combine=_multi_krum, cost=_krum_cost, options=frozenset({"keep"}), factor=2, offset=3
    ),
    pb.AGGREGATION_METHOD_BULYAN: Method(
        title="bulyan",
        combine=lambda matrix, header, check: _chosen(bulyan(matrix, byzantine=header.byzantine, check=check)),
        cost=_bulyan_cost,
        factor=4,
        offset=3,
    ),
    pb.AGGREGATION_METHOD_TRIMMED_MEAN: Method(
        title="trimmed_mean",
        combine=lambda matrix, header, check: _all(
            matrix, coordinate_trimmed_mean(matrix, byzantine=header.byzantine, check=check)
        ),
        cost=_coordinate_cost,
        factor=2,
        offset=1,
    ),
    pb.AGGREGATION_METHOD_COORDINATE_MEDIAN: Method(
        title="coordinate_median",
        combine=lambda matrix, header, check: _all(matrix, coordinate_median(matrix, check=check)),
        cost=_coordinate_cost,
    ),
    pb.AGGREGATION_METHOD_GEOMETRIC_MEDIAN: Method(
        title="geometric_median", combine=_geometric, cost=_geometric_cost, options=frozenset({"tolerance"})
    ),
}
"""Every method by its number in the definition."""
