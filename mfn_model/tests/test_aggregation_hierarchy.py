"""Hierarchical Krum: the numbers of earlier results, and the balanced variant that keeps its guarantee."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from mfn_model.aggregation import GradientAccumulator, balanced_hierarchical_krum, hierarchical_krum, most_borne

RECORDED = json.loads((Path(__file__).parent / "data" / "hierarchical_krum.json").read_text())["aggregations"]

Matrix = npt.NDArray[np.float64]


def gradients_of(row: dict[str, Any]) -> Matrix:
    gradients = np.random.default_rng(row["seed"]).normal(0.0, 1.0, (row["clients"], row["dimension"]))
    gradients[: row["outliers"]] += 1000.0
    return gradients


def plain_choice(gradients: Matrix, fraction: float) -> int:
    count = len(gradients)
    if count == 1:
        return 0
    wrong = max(1, int(count * fraction))
    scores = [math.fsum(sorted(row)[1:][: max(1, count - wrong - 2)]) for row in cdist(gradients, gradients)]
    return scores.index(min(scores))


def plain_hierarchy(gradients: Matrix, clusters: int, fraction: float, generator: np.random.Generator) -> Matrix:
    assigned = generator.integers(0, min(clusters, len(gradients)), size=len(gradients))
    representatives = []
    for cluster in range(clusters):
        members = gradients[assigned == cluster]
        if len(members):
            representatives.append(members[plain_choice(members, fraction)])
    chosen = np.array(representatives)
    lower_median = np.sort(chosen, axis=0)[(len(chosen) - 1) // 2]
    return np.asarray(0.7 * chosen[plain_choice(chosen, fraction)] + 0.3 * lower_median)


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: f"{row['clients']} clients")
def test_recorded_aggregates_are_reproduced(row: dict[str, Any]) -> None:
    result = hierarchical_krum(
        gradients_of(row), num_clusters=row["num_clusters"], byzantine_fraction=row["byzantine_fraction"]
    )
    assert result.gradient.dtype == np.float64
    assert np.abs(result.gradient - np.array(row["aggregated"])).max() <= 1e-12


def test_published_examples_are_reproduced_in_both_precisions() -> None:
    squares = [[float(i), float(i * i)] for i in range(6)]
    assert hierarchical_krum(squares, num_clusters=3).gradient.tolist() == [0.3, 0.3]
    single = hierarchical_krum(squares, num_clusters=3, dtype=np.float32).gradient
    assert single.dtype == np.float32
    assert single.tolist() == [0.30000001192092896, 0.30000001192092896]
    three = [[1.0, 2.0, 3.0], [1.1, 2.1, 2.9], [0.9, 1.9, 3.1]]
    assert hierarchical_krum(three, num_clusters=10).gradient.tolist() == pytest.approx([1.0, 2.0, 3.0], abs=1e-12)


@given(
    count=st.integers(1, 60),
    dimension=st.integers(2, 6),  # on a line sums of distances tie, and rounding decides
    clusters=st.integers(1, 12),
    fraction=st.sampled_from([0.0, 0.1, 0.2, 0.49]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=150, deadline=None)
def test_it_equals_a_plain_evaluation(count: int, dimension: int, clusters: int, fraction: float, seed: int) -> None:
    gradients = np.random.default_rng(seed).normal(0.0, 1.0, (count, dimension))
    got = hierarchical_krum(
        gradients, num_clusters=clusters, byzantine_fraction=fraction, generator=np.random.default_rng(seed)
    )
    expected = plain_hierarchy(gradients, clusters, fraction, np.random.default_rng(seed))
    assert got.gradient == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_ten_outliers_among_forty_hardly_move_the_result(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gradients = generator.normal(1.0, 0.01, (50, 8))
    wrong = generator.choice(50, size=10, replace=False)
    gradients[wrong] = generator.normal(1000.0, 1.0, (10, 8))
    honest_mean = np.delete(gradients, wrong, axis=0).mean(axis=0)
    legacy = hierarchical_krum(gradients, num_clusters=10, byzantine_fraction=0.2)
    assert np.abs(legacy.gradient - honest_mean).max() < 0.05


def test_counts_say_what_became_of_every_gradient() -> None:
    result = hierarchical_krum(gradients_of(RECORDED[2]), num_clusters=20, byzantine_fraction=0.1)
    assert len(result.sampled_out) == 1080
    assert len(result.accepted) == len(result.representatives) == 20
    everyone = sorted((*result.accepted, *result.outvoted, *result.sampled_out))
    assert everyone == list(range(1200))
    assert result.rejected == tuple(sorted(set(range(1200)) - set(result.accepted)))
    assert set(result.selected) < set(result.accepted) == set(result.representatives)


def test_the_result_is_made_of_the_representatives_and_nothing_else() -> None:
    gradients = gradients_of(RECORDED[1])
    result = hierarchical_krum(gradients, num_clusters=10)
    others = gradients.copy()
    others[list(result.outvoted)] = gradients[list(result.outvoted)] + np.random.default_rng(0).normal(
        0.0, 1e-6, (len(result.outvoted), 8)
    )
    assert hierarchical_krum(others, num_clusters=10).gradient.tolist() == result.gradient.tolist()
    chosen = gradients[list(result.representatives)]
    lower_median = np.sort(chosen, axis=0)[(len(chosen) - 1) // 2]
    assert result.gradient == pytest.approx(0.7 * gradients[result.selected[0]] + 0.3 * lower_median, abs=1e-12)


def test_the_generator_decides_who_shares_a_cluster_and_42_is_the_default() -> None:
    gradients = np.random.default_rng(3).normal(0.0, 1.0, (60, 4))
    default = hierarchical_krum(gradients, num_clusters=7)
    again = hierarchical_krum(gradients, num_clusters=7, generator=np.random.default_rng(42))
    other = hierarchical_krum(gradients, num_clusters=7, generator=np.random.default_rng(43))
    assert default.representatives == again.representatives
    assert default.gradient.tobytes() == again.gradient.tobytes()
    assert default.representatives != other.representatives


def test_sampling_begins_above_a_thousand_gradients() -> None:
    gradients = np.random.default_rng(5).normal(0.0, 1.0, (1001, 2))
    assert hierarchical_krum(gradients[:1000]).sampled_out == ()
    assert len(hierarchical_krum(gradients).sampled_out) == 901
    assert hierarchical_krum(gradients, sample_fraction=1.0).sampled_out == ()
    with pytest.raises(ValueError, match=r"sample_fraction 0\.0005 keeps none of 1001 gradients"):
        hierarchical_krum(gradients, sample_fraction=0.0005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_clusters": 0}, "num_clusters must be at least 1, got 0"),
        ({"num_clusters": 2.5}, "num_clusters must be an integer"),
        ({"byzantine_fraction": 0.5}, "byzantine_fraction must be at least 0 and below 0.5, got 0.5"),
        ({"byzantine_fraction": -0.1}, "byzantine_fraction must be"),
        ({"byzantine_fraction": math.nan}, "byzantine_fraction must be"),
        ({"sample_fraction": 0.0}, "sample_fraction must be above 0 and at most 1, got 0.0"),
        ({"sample_fraction": 1.5}, "sample_fraction must be"),
        ({"dtype": np.int64}, "dtype must be float64 or float32, got int64"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hierarchical_krum([[1.0], [2.0], [3.0]], **arguments)


def test_all_wrong_arguments_are_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"num_clusters .*; byzantine_fraction .*; sample_fraction"):
        hierarchical_krum([[1.0]], num_clusters=0, byzantine_fraction=0.7, sample_fraction=2.0)


def test_a_hundred_thousand_small_gradients_take_little_memory() -> None:
    gradients = np.random.default_rng(1).normal(0.0, 1.0, (100_000, 10))
    tracemalloc.start()
    try:
        result = hierarchical_krum(gradients)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(result.sampled_out) == 90_000
    assert peak < 32 * 2**20


def test_gradients_from_an_accumulator_give_the_same_result() -> None:
    gradients = gradients_of(RECORDED[0])
    collected = GradientAccumulator(max_bytes=1_000_000)
    for first in (0, 2, 4):
        for client, gradient in enumerate(gradients):
            collected.add(client, gradient[first : first + 2], last=first == 4)
    whole = hierarchical_krum(gradients, num_clusters=4)
    pieces = hierarchical_krum(collected.gradients(), num_clusters=4)
    assert pieces.gradient.tobytes() == whole.gradient.tobytes()


MEASURED = """
import resource
import numpy as np
from mfn_model.aggregation import hierarchical_krum
gradients = np.random.default_rng(0).normal(0.0, 1.0, (1000, 100_000))
gradients[:100] += 1000.0
for clusters in (1, 10, 100):
    hierarchical_krum(gradients, num_clusters=clusters)
    hierarchical_krum(list(gradients), num_clusters=clusters)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_thousand_gradients_of_a_hundred_thousand_values_fit_into_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, check=True, text=True)
    assert int(done.stdout) < 1.2e9  # 0.8e9 of them are the gradients


@given(seed=st.integers(0, 2**32), shape=st.sampled_from([(50, 7, 8), (60, 6, 7), (33, 11, 4), (9, 3, 0), (90, 9, 15)]))
@settings(max_examples=60, deadline=None)
def test_the_balanced_variant_bears_what_it_promises_wherever_the_wrong_gradients_are(
    seed: int, shape: tuple[int, int, int]
) -> None:
    count, clusters, wrong = shape
    generator = np.random.default_rng(seed)
    gradients = generator.normal(1.0, 0.01, (count, 5))
    liars = generator.choice(count, size=wrong, replace=False)
    gradients[liars] = 1000.0  # all alike, which is how they win a cluster most easily
    result = balanced_hierarchical_krum(gradients, byzantine=wrong, num_clusters=clusters, generator=generator)
    assert np.abs(result.gradient - 1.0).max() < 0.1
    assert not set(result.accepted) & set(liars.tolist())
    assert sorted((*result.accepted, *result.outvoted)) == list(range(count))
    assert set(result.accepted) <= set(result.representatives)


def test_the_balanced_variant_bears_wrong_gradients_that_all_meet_in_as_few_clusters_as_they_need() -> None:
    class Unshuffled(np.random.Generator):
        def permutation(self, x: Any, axis: int = 0) -> Any:
            return np.arange(x)

    gradients = np.random.default_rng(0).normal(1.0, 0.01, (49, 3))  # 7 clusters of 7, which bear 2 each
    gradients[:8] = -500.0  # the worst placement of 8: two clusters lost, and two more in a third
    generator = Unshuffled(np.random.PCG64(0))
    result = balanced_hierarchical_krum(gradients, byzantine=8, num_clusters=7, generator=generator)
    assert sum(client < 8 for client in result.representatives) == 1
    assert np.abs(result.gradient - 1.0).max() < 0.05
    gradients[[7, 8, 9]] = -500.0
    with pytest.raises(ValueError, match="num_clusters 7 of 49 gradients does not bear byzantine 9"):
        balanced_hierarchical_krum(gradients, byzantine=9, num_clusters=7, generator=generator)


@pytest.mark.parametrize(
    ("count", "arguments", "message"),
    [
        (50, {"byzantine": 10, "num_clusters": 10}, "num_clusters 7 bears most, byzantine 8"),
        (50, {"byzantine": 0, "num_clusters": 2}, "num_clusters 2 of 50 gradients does not bear byzantine 0"),
        (50, {"byzantine": 0, "num_clusters": 17}, "num_clusters 17 of 50 gradients does not bear byzantine 0"),
        (8, {"byzantine": 0, "num_clusters": 3}, "at least 9 are needed"),
        (50, {"byzantine": -1, "num_clusters": 0}, "num_clusters must be at least 1, got 0; byzantine must be"),
    ],
)
def test_the_balanced_variant_refuses_what_it_cannot_bear(count: int, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        balanced_hierarchical_krum(np.ones((count, 2)), generator=np.random.default_rng(0), **arguments)


def test_the_balanced_variant_depends_on_its_generator_only() -> None:
    gradients = np.random.default_rng(0).normal(0.0, 1.0, (60, 3))
    first, second, other = (
        balanced_hierarchical_krum(
            gradients, byzantine=5, num_clusters=6, generator=np.random.default_rng(seed)
        ).gradient.tobytes()
        for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize(("clients", "clusters"), [(9, 3), (24, 8), (100, 10), (30, 30), (5, 2)])
def test_the_most_that_is_borne_is_taken_and_one_more_is_refused(clients: int, clusters: int) -> None:
    gradients = np.random.default_rng(1).normal(size=(clients, 2))
    most = most_borne(clients, clusters)
    if most >= 0:
        balanced_hierarchical_krum(gradients, byzantine=most, num_clusters=clusters, generator=np.random.default_rng(2))
    with pytest.raises(ValueError, match="does not bear byzantine"):
        balanced_hierarchical_krum(
            gradients, byzantine=most + 1, num_clusters=clusters, generator=np.random.default_rng(2)
        )
