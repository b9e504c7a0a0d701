"""`mycelium.MyceliumService.AggregateFederated`."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core import Code
from mfn_model.aggregation import hierarchical_krum
from mfn_proto import mycelium_pb2 as pb
from mfn_service import _federated

AGGREGATE = "/mycelium.MyceliumService/AggregateFederated"


def request_of(gradients: Any, **fields: Any) -> pb.FederatedAggregateRequest:
    return pb.FederatedAggregateRequest(gradients=[pb.Gradient(values=values) for values in gradients], **fields)


def recorded_gradients(row: dict[str, Any]) -> npt.NDArray[np.float64]:
    gradients = np.random.default_rng(row["seed"]).normal(0.0, 1.0, (row["clients"], row["dimension"]))
    gradients[: row["outliers"]] += 1000.0
    return gradients


@pytest.mark.parametrize("number", range(3))
async def test_an_aggregate_has_the_recorded_numbers_and_counts_every_gradient_once(
    serve: Any, recorded: dict[str, Any], number: int
) -> None:
    row = recorded["aggregations"][number]
    gradients = recorded_gradients(row)
    reply = await serve().reply(
        AGGREGATE,
        request_of(gradients, num_clusters=row["num_clusters"], byzantine_fraction=row["byzantine_fraction"]),
    )
    assert list(reply.aggregated_gradient) == pytest.approx(row["aggregated"], rel=1e-12, abs=1e-14)
    expected = hierarchical_krum(
        gradients, num_clusters=row["num_clusters"], byzantine_fraction=row["byzantine_fraction"]
    )
    assert reply.num_accepted == len(expected.accepted) <= row["num_clusters"]
    assert reply.num_accepted + reply.num_rejected == row["clients"]


async def test_small_examples_are_those_that_are_known(served: Any) -> None:
    squares = await served.reply(AGGREGATE, request_of([(i, i * i) for i in range(6)], num_clusters=3))
    assert list(squares.aggregated_gradient) == pytest.approx([0.3, 0.3], rel=1e-12)
    near = [[1.0, 2.0, 3.0], [1.1, 2.1, 2.9], [0.9, 1.9, 3.1]]
    reply = await served.reply(AGGREGATE, request_of(near, num_clusters=10))
    assert list(reply.aggregated_gradient) == pytest.approx([1.0, 2.0, 3.0], rel=1e-12)
    alone = await served.reply(AGGREGATE, request_of([[5.0]]))
    assert (list(alone.aggregated_gradient), alone.num_accepted, alone.num_rejected) == ([5.0], 1, 0)


async def test_unset_means_ten_clusters_and_a_fifth(served: Any) -> None:
    gradients = np.random.default_rng(1).normal(size=(60, 3))
    unset = await served.reply(AGGREGATE, request_of(gradients))
    assert unset == await served.reply(AGGREGATE, request_of(gradients, num_clusters=10, byzantine_fraction=0.2))
    assert unset != await served.reply(AGGREGATE, request_of(gradients, num_clusters=3, byzantine_fraction=0.2))
    assert unset.num_accepted == 10


async def test_a_zero_that_is_sent_is_a_zero(served: Any) -> None:
    gradients = np.random.default_rng(2).normal(size=(60, 3))
    none_wrong = await served.reply(AGGREGATE, request_of(gradients, num_clusters=4, byzantine_fraction=0.0))
    expected = hierarchical_krum(gradients, num_clusters=4, byzantine_fraction=0.0)
    assert list(none_wrong.aggregated_gradient) == list(expected.gradient)
    outcome = await served.unary(AGGREGATE, request_of(gradients, num_clusters=0))
    assert [violation.field for violation in outcome.error.violations] == ["num_clusters"]


@pytest.mark.parametrize(
    ("gradients", "paths", "text"),
    [
        ([[1.0, 2.0], [1.0, 2.0], [3.0], [1.0, 2.0, 3.0]], ["gradients[2]", "gradients[3]"], "got 1 values"),
        ([[1.0], [], [2.0]], ["gradients[1]"], "got no values"),
        ([[]], ["gradients[0]"], "got no values"),
        ([[1.0, 2.0], [0.0, math.nan], [math.inf, 1.0]], ["gradients[1]", "gradients[2]"], "got nan at position 1"),
        ([[1.0], [-1.1e140]], ["gradients[1]"], "got -1.1e+140 at position 0"),
        (
            [[1.0, 2.0]] + [[1.0]] * 100,
            [f"gradients[{k}]" for k in range(1, 9)],
            "got 1 values, and gradients[0] has 2",
        ),
    ],
)
async def test_a_gradient_at_fault_is_named_by_its_place(
    served: Any, gradients: Any, paths: list[str], text: str
) -> None:
    outcome = await served.unary(AGGREGATE, request_of(gradients))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == paths
    assert outcome.error.violations[0].description.startswith(text)
    assert all("; " in violation.description for violation in outcome.error.violations)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"num_clusters": -1}, "num_clusters"),
        ({"byzantine_fraction": 0.5}, "byzantine_fraction"),
        ({"byzantine_fraction": -1e-300}, "byzantine_fraction"),
        ({"byzantine_fraction": math.nan}, "byzantine_fraction"),
    ],
)
async def test_a_field_out_of_its_bounds_is_refused_by_name(served: Any, fields: dict[str, Any], field: str) -> None:
    outcome = await served.unary(AGGREGATE, request_of([[1.0]], **fields))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == [field]
    assert served.charges == []


async def test_no_gradients_are_refused(served: Any) -> None:
    outcome = await served.unary(AGGREGATE, pb.FederatedAggregateRequest())
    assert [violation.field for violation in outcome.error.violations] == ["gradients"]


async def test_the_rules_see_one_gradient_however_many_there_are(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # To visit each of a hundred thousand takes a tenth of a second, for which the event loop would stand still.
    served = serve()
    seen: list[int] = []
    check = _federated.rule_breaches

    def watching(message: pb.FederatedAggregateRequest) -> Any:
        seen.append(len(message.gradients))
        return check(message)

    monkeypatch.setattr(_federated, "rule_breaches", watching)
    message = pb.FederatedAggregateRequest()
    for _ in range(100_000):
        message.gradients.add()
    outcome = await served.unary(AGGREGATE, message)
    assert outcome.code is Code.INVALID_ARGUMENT
    assert len(outcome.error.violations) == 8
    assert seen == [1]


async def test_an_aggregation_is_charged_for_its_values_and_pairs_and_limited_by_them(serve: Any) -> None:
    served = serve(max_cell_steps=100_000)
    await served.reply(AGGREGATE, request_of(np.ones((10, 100)), num_clusters=1))
    assert served.charges == [("AggregateFederated", 3.0 * 10 * 100 + (100 + 1) * (0.01 * 100 + 4.0))]
    outcome = await served.unary(AGGREGATE, request_of(np.ones((10, 4000))))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == "gradients"
    assert outcome.error.details == {"limit": "max_cell_steps"}


async def test_a_cancelled_aggregation_ends_between_two_blocks(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(*arguments: Any, check: Any, **options: Any) -> Any:
        reached.set()
        go_on.wait(30)
        check()
        raise AssertionError("it went on")

    monkeypatch.setattr("mfn_service._federated.hierarchical_krum", slow)
    call = served.open(AGGREGATE, request_of([[1.0], [2.0]]))
    await served.until(reached.is_set)
    call.break_off()
    go_on.set()
    assert (await call.outcome()).code is Code.CANCELLED


def test_replies_are_not_cached(served: Any) -> None:
    operation = served.dispatcher.operations[AGGREGATE]
    assert operation.cache_key is None
    assert (operation.idempotent, operation.deterministic) == (True, True)
