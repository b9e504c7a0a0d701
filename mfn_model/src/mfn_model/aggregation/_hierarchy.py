"""Hierarchical Krum: a representative of each cluster, then an aggregate of the representatives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mfn_model._bounds import integer_problems, number_problems, refuse
from mfn_model.aggregation._coordinatewise import lower_median
from mfn_model.aggregation._distances import lowest_scores
from mfn_model.aggregation._krum import mean_of
from mfn_model.aggregation._results import HierarchicalAggregate, indices, others
from mfn_model.aggregation._rows import Check, FloatArray, GradientRows, Gradients, IntArray, gradient_rows

__all__ = ["balanced_hierarchical_krum", "hierarchical_krum", "most_borne"]

_SAMPLED_ABOVE = 1000  # clients
_SELECTED_SHARE, _MEDIAN_SHARE = 0.7, 0.3
_DEFAULT_SEED = 42


def hierarchical_krum(
    gradients: Gradients,
    *,
    num_clusters: int = 100,
    byzantine_fraction: float = 0.2,
    sample_fraction: float = 0.1,
    generator: np.random.Generator | None = None,
    dtype: npt.DTypeLike = np.float64,
    check: Check | None = None,
) -> HierarchicalAggregate:
    """The hierarchical aggregate of earlier results, to 1e-12; [coordinates] of `dtype`, float64 or float32.

    Of more than 1000 gradients, [clients, coordinates], int(n · `sample_fraction`) are drawn without replacement. Each
    is put into one of at most `num_clusters` clusters at random, so that their sizes differ and some may be empty. A
    cluster of n gradients is represented by the one with the smallest sum of its m = max(1, n − f − 2) smallest
    distances to others, f = max(1, int(n · `byzantine_fraction`)); the same choice is made among the representatives.
    The result is 0.7 times that choice plus 0.3 times the lower median of each coordinate of all representatives.
    `accepted` are the representatives, since all of them enter that median. With `dtype` float32 values are rounded
    to it first and the result is computed in it; distances are always summed in float64. Of equal sums the first wins;
    sums that are equal but for rounding, as of gradients on a line, are left to rounding.

    Drawn from `generator`, in this order: the sample, the clusters. By default it is seeded with 42, so that anyone
    can tell who will share a cluster. Distances are not squared, f is at least 1 and no bound on n is checked: after
    Blanchard et al., NIPS 2017, but without their guarantee, which `balanced_hierarchical_krum` keeps.

    Time goes with the square of a cluster's size. Needs about 200 MiB at most beside the gradients, and a copy of
    these where they are not floating numbers. Raises `ValueError` for arguments out of range, and for gradients that
    are ragged, empty, NaN, infinite or beyond 1e140, with their index.

    >>> squares = [[float(i), float(i * i)] for i in range(6)]
    >>> hierarchical_krum(squares, num_clusters=3).gradient.round(12).tolist()
    [0.3, 0.3]
    """
    problems = integer_problems("num_clusters", num_clusters, 1)
    problems += number_problems("byzantine_fraction", byzantine_fraction, 0.0, 0.5, maximum_exclusive=True)
    refuse(problems + number_problems("sample_fraction", sample_fraction, 0.0, 1.0, minimum_exclusive=True))
    rows = gradient_rows(gradients, dtype, check)
    random = np.random.default_rng(_DEFAULT_SEED) if generator is None else generator
    looked_at = _sample(random, rows, sample_fraction)
    clusters = min(num_clusters, len(looked_at))
    assigned = random.integers(0, clusters, size=len(looked_at))
    by_cluster = np.argsort(assigned, kind="stable")
    ends = np.cumsum(np.bincount(assigned, minlength=clusters))[:-1]
    members = [looked_at[places] for places in np.split(by_cluster, ends) if len(places)]
    representatives = np.array([_nearest(rows, each, byzantine_fraction) for each in members], dtype=np.intp)
    selected = _nearest(rows, representatives, byzantine_fraction)
    choice: FloatArray = rows.row(selected).astype(dtype, copy=False)
    median: FloatArray = lower_median(rows, representatives).astype(dtype, copy=False)
    accepted = np.sort(representatives)
    return HierarchicalAggregate(
        gradient=_SELECTED_SHARE * choice + _MEDIAN_SHARE * median,
        accepted=indices(accepted),
        outvoted=indices(np.setdiff1d(looked_at, accepted)),
        sampled_out=others(rows.clients, looked_at),
        representatives=indices(representatives),
        selected=(selected,),
    )


def balanced_hierarchical_krum(
    gradients: Gradients,
    *,
    byzantine: int,
    num_clusters: int,
    generator: np.random.Generator,
    check: Check | None = None,
) -> HierarchicalAggregate:
    """Hierarchical Krum whose guarantee holds for any placement of f = `byzantine` wrong gradients.

    The clients are shuffled by `generator` and dealt to C = `num_clusters` clusters whose sizes differ by one at most.
    The smallest, of s = n // C gradients, bounds what a cluster tolerates: t = (s − 3) // 2 wrong ones, since Krum
    needs s >= 2 t + 3. A cluster must hold t + 1 of the wrong gradients to be represented by one of their choosing,
    so that F = f // (t + 1) representatives may be wrong, and C >= 2 F + 3 is required. Each cluster is represented
    by Krum with t, and the result is Multi-Krum with F of the representatives: the mean of C − F − 2 of them, float64
    [coordinates]. Those are `accepted`, and all that is not is `outvoted`.

    The generator need not be secret for the guarantee; an unpredictable one, `numpy.random.default_rng()`, makes it
    unlikely that wrong gradients even share clusters. Raises `ValueError` where C does not fit n and f, with how many
    wrong gradients C would bear, and for gradients that are ragged, empty, NaN, infinite or beyond 1e140.
    """
    refuse(integer_problems("num_clusters", num_clusters, 1) + integer_problems("byzantine", byzantine, 0))
    rows = gradient_rows(gradients, check=check)
    tolerated = _tolerated(rows.clients, num_clusters)
    if byzantine > most_borne(rows.clients, num_clusters):
        best = max(range(1, rows.clients + 1), key=lambda number: most_borne(rows.clients, number))
        most = most_borne(rows.clients, best)
        remedy = f"num_clusters {best} bears most, byzantine {most}" if most >= 0 else "at least 9 are needed"
        raise ValueError(
            f"num_clusters {num_clusters} of {rows.clients} gradients does not bear byzantine {byzantine}; {remedy}"
        )
    wrong = byzantine // (tolerated + 1)
    shuffled = generator.permutation(rows.clients).astype(np.intp, copy=False)
    representatives = np.empty(num_clusters, dtype=np.intp)
    for number, members in enumerate(np.array_split(shuffled, num_clusters)):
        members = np.sort(members)
        neighbours = len(members) - tolerated - 2
        representatives[number] = members[lowest_scores(rows, members, neighbours=neighbours, squared=True, keep=1)[0]]
    kept = num_clusters - wrong - 2
    accepted = np.sort(representatives[lowest_scores(rows, representatives, neighbours=kept, squared=True, keep=kept)])
    return HierarchicalAggregate(
        gradient=mean_of(rows, accepted),
        accepted=indices(accepted),
        outvoted=others(rows.clients, accepted),
        sampled_out=(),
        representatives=indices(representatives),
        selected=indices(accepted),
    )


def _tolerated(clients: int, clusters: int) -> int:
    """How many wrong gradients Krum bears in the smallest cluster; negative where it is too small for any."""
    return (clients // clusters - 3) // 2


def most_borne(clients: int, clusters: int) -> int:
    """How many wrong gradients `balanced_hierarchical_krum` bears of so many in C clusters, both at least 1.

    The greatest f that leaves at most (C − 3) // 2 representatives wrong; −1 where there is none.
    """
    tolerated = _tolerated(clients, clusters)
    return ((clusters - 3) // 2 + 1) * (tolerated + 1) - 1 if tolerated >= 0 and clusters >= 3 else -1


def _sample(random: np.random.Generator, rows: GradientRows, fraction: float) -> IntArray:
    """The clients that are looked at, in the order in which they are drawn."""
    if rows.clients <= _SAMPLED_ABOVE:
        return rows.everyone()
    size = int(rows.clients * fraction)
    if size == 0:
        raise ValueError(f"sample_fraction {fraction:g} keeps none of {rows.clients} gradients; raise it")
    return random.choice(rows.clients, size=size, replace=False).astype(np.intp, copy=False)


def _nearest(rows: GradientRows, members: IntArray, byzantine_fraction: float) -> int:
    """The client whose distances to its nearest others have the smallest sum, after the formula of the legacy."""
    count = len(members)
    if count == 1:
        return int(members[0])
    neighbours = max(1, count - max(1, int(count * byzantine_fraction)) - 2)
    return int(members[lowest_scores(rows, members, neighbours=neighbours, squared=False, keep=1)[0]])
