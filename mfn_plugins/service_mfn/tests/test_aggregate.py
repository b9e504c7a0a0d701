"""`mfn.v1.AggregationService.AggregateGradients`."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core import Code
from mfn_model.aggregation import (
    balanced_hierarchical_krum,
    bulyan,
    coordinate_median,
    coordinate_trimmed_mean,
    geometric_median,
    hierarchical_krum,
    krum,
    multi_krum,
)
from mfn_proto.v1 import aggregation_pb2 as pb

AGGREGATE = "/mfn.v1.AggregationService/AggregateGradients"

GRADIENTS = np.random.default_rng(3).normal(1.0, 0.1, (24, 17))
GRADIENTS[20:] = -1000.0

CELLS = {pb.GRADIENT_TYPE_FLOAT64: "<f8", pb.GRADIENT_TYPE_FLOAT32: "<f4"}


def header(
    gradients: npt.NDArray[Any], method: str = "COORDINATE_MEDIAN", type_: int = pb.GRADIENT_TYPE_FLOAT64, **fields: Any
) -> pb.AggregateGradientsRequest:
    number = pb.AggregationMethod.Value(f"AGGREGATION_METHOD_{method}")
    return pb.AggregateGradientsRequest(
        header=pb.AggregateGradientsHeader(
            request_id="round 7",
            clients=gradients.shape[0],
            coordinates=gradients.shape[1],
            type=type_,  # type: ignore[arg-type] # its number
            method=number,
            **fields,
        )
    )


def chunks(gradients: npt.NDArray[Any], type_: int = pb.GRADIENT_TYPE_FLOAT64, size: int = 50) -> Iterator[Any]:
    """Every client's bytes, cut without regard to its numbers, of the clients in turn and of the last one first."""
    rows = [row.astype(CELLS[type_]).tobytes() for row in gradients]
    for start in range(0, len(rows[0]), size):
        for client in reversed(range(len(rows))):
            yield chunk(client, rows[client][start : start + size])


def chunk(client: int, data: bytes) -> pb.AggregateGradientsRequest:
    return pb.AggregateGradientsRequest(chunk=pb.GradientChunk(client=client, data=data))


async def sent(served: Any, *messages: pb.AggregateGradientsRequest) -> Any:
    conversation = served.open(AGGREGATE)
    conversation.send(*messages)
    conversation.half_close()
    return await conversation.outcome()


async def aggregated(served: Any, *messages: pb.AggregateGradientsRequest) -> Any:
    outcome = await sent(served, *messages)
    assert outcome.code is Code.OK, outcome.message
    return pb.AggregateGradientsResponse.FromString(outcome.reply)


BY_HAND: dict[str, tuple[dict[str, Any], Any]] = {
    "HIERARCHICAL_KRUM": (
        {"num_clusters": 4, "byzantine_fraction": 0.3, "seed": 5},
        lambda g: hierarchical_krum(
            g, num_clusters=4, byzantine_fraction=0.3, generator=np.random.default_rng(5), dtype=g.dtype
        ),
    ),
    "BALANCED_HIERARCHICAL_KRUM": (
        {"num_clusters": 8, "byzantine": 2},
        lambda g: balanced_hierarchical_krum(g, num_clusters=8, byzantine=2, generator=np.random.default_rng(42)),
    ),
    "KRUM": ({"byzantine": 4}, lambda g: krum(g, byzantine=4)),
    "MULTI_KRUM": ({"byzantine": 4, "keep": 7}, lambda g: multi_krum(g, byzantine=4, keep=7)),
    "BULYAN": ({"byzantine": 4}, lambda g: bulyan(g, byzantine=4)),
    "TRIMMED_MEAN": ({"byzantine": 4}, lambda g: coordinate_trimmed_mean(g, byzantine=4)),
    "COORDINATE_MEDIAN": ({}, coordinate_median),
    "GEOMETRIC_MEDIAN": ({"tolerance": 1e-9}, lambda g: geometric_median(g, tolerance=1e-9).gradient),
}


@pytest.mark.parametrize("type_", CELLS)
@pytest.mark.parametrize("method", BY_HAND)
async def test_every_method_gives_what_the_mathematics_gives_for_the_uploaded_bytes(
    served: Any, method: str, type_: int
) -> None:
    fields, by_hand = BY_HAND[method]
    rounded = GRADIENTS.astype(CELLS[type_])
    reply = await aggregated(served, header(rounded, method, type_, **fields), *chunks(rounded, type_))
    expected = by_hand(rounded)
    gradient = np.asarray(getattr(expected, "gradient", expected), dtype=CELLS[type_])
    assert reply.gradient == gradient.tobytes()
    assert (reply.request_id, reply.type, reply.coordinates) == ("round 7", type_, 17)
    accepted = list(getattr(expected, "accepted", range(24)))
    assert list(reply.accepted) == accepted
    assert list(reply.rejected) == [client for client in range(24) if client not in accepted]
    assert reply.sampled_out == 0


@pytest.mark.parametrize(
    "method", [name for name in BY_HAND if name not in ("HIERARCHICAL_KRUM", "BALANCED_HIERARCHICAL_KRUM")]
)
async def test_wrong_gradients_do_not_move_the_result(served: Any, method: str) -> None:
    fields, _ = BY_HAND[method]
    reply = await aggregated(served, header(GRADIENTS, method, **fields), *chunks(GRADIENTS))
    assert np.abs(np.frombuffer(reply.gradient, "<f8") - 1.0).max() < 0.5


async def test_defaults_are_those_of_the_definition(served: Any) -> None:
    unset = await aggregated(served, header(GRADIENTS, "HIERARCHICAL_KRUM"), *chunks(GRADIENTS))
    said = {"num_clusters": 10, "byzantine_fraction": 0.2, "sample_fraction": 0.1, "seed": 42}
    assert await aggregated(served, header(GRADIENTS, "HIERARCHICAL_KRUM", **said), *chunks(GRADIENTS)) == unset
    all_but = await aggregated(served, header(GRADIENTS, "MULTI_KRUM", byzantine=4), *chunks(GRADIENTS))
    assert len(all_but.accepted) == 24 - 4 - 2


async def test_of_many_clients_a_sample_is_looked_at_and_told(serve: Any) -> None:
    gradients = np.random.default_rng(8).normal(size=(1500, 2))
    reply = await aggregated(
        serve(), header(gradients, "HIERARCHICAL_KRUM", sample_fraction=0.2), *chunks(gradients, size=16)
    )
    assert reply.sampled_out == 1200
    assert len(reply.accepted) == 10
    assert len(reply.accepted) + len(reply.rejected) == 1500


@pytest.mark.parametrize("size", [1, 7, 8, 1000])
async def test_where_the_bytes_are_cut_changes_nothing(served: Any, size: int) -> None:
    gradients = GRADIENTS[:5, :4]
    reply = await aggregated(served, header(gradients), *chunks(gradients, size=size))
    assert reply.gradient == coordinate_median(gradients).tobytes()


WHOLE = tuple(chunks(GRADIENTS[:3, :2]))
SMALL = GRADIENTS[:3, :2]


@pytest.mark.parametrize(
    ("messages", "fields"),
    [
        ((), ["header"]),
        ((chunk(0, b"1"),), ["header"]),
        ((header(SMALL), header(SMALL)), ["header"]),
        ((header(SMALL), *WHOLE, chunk(1, b"1")), ["gradients[1]"]),
        ((header(SMALL), *WHOLE[:-1]), ["gradients[0]"]),
        ((header(SMALL),), ["gradients[0]", "gradients[1]", "gradients[2]"]),
        ((header(SMALL), chunk(3, b"1")), ["chunk.client"]),
        ((header(SMALL), chunk(-1, b"1")), ["chunk.client"]),
        ((header(SMALL), chunk(0, b"")), ["chunk.data"]),
        ((pb.AggregateGradientsRequest(),), ["part"]),
    ],
)
async def test_messages_out_of_order_and_bytes_that_do_not_fit_are_refused(
    served: Any, messages: tuple[Any, ...], fields: list[str]
) -> None:
    outcome = await sent(served, *messages)
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == fields
    assert served.provider.uploads.taken == 0


@pytest.mark.parametrize("type_", CELLS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
async def test_values_that_are_no_numbers_are_refused_by_client_and_place(
    served: Any, type_: int, value: float
) -> None:
    gradients = GRADIENTS.astype(CELLS[type_])
    gradients[5, 3] = gradients[9, 16] = value
    outcome = await sent(served, header(gradients, type_=type_), *chunks(gradients, type_))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == ["gradients[5]", "gradients[9]"]
    assert outcome.error.violations[0].description.startswith(f"got {value!r} at position 3")


@pytest.mark.parametrize(
    ("method", "fields", "named"),
    [
        ("KRUM", {"byzantine": 11}, "header.byzantine"),
        ("MULTI_KRUM", {"byzantine": 11}, "header.byzantine"),
        ("MULTI_KRUM", {"byzantine": 4, "keep": 19}, "header.keep"),
        ("BULYAN", {"byzantine": 6}, "header.byzantine"),
        ("TRIMMED_MEAN", {"byzantine": 12}, "header.byzantine"),
        ("COORDINATE_MEDIAN", {"byzantine": 1}, "header.byzantine"),
        ("GEOMETRIC_MEDIAN", {"byzantine": 1}, "header.byzantine"),
        ("HIERARCHICAL_KRUM", {"byzantine": 1}, "header.byzantine"),
        ("BALANCED_HIERARCHICAL_KRUM", {"num_clusters": 10}, "header.byzantine"),
        ("BALANCED_HIERARCHICAL_KRUM", {"num_clusters": 100}, "header.byzantine"),
        ("KRUM", {"keep": 1}, "header.keep"),
        ("KRUM", {"num_clusters": 1}, "header.num_clusters"),
        ("KRUM", {"byzantine_fraction": 0.1}, "header.byzantine_fraction"),
        ("BALANCED_HIERARCHICAL_KRUM", {"num_clusters": 8, "sample_fraction": 0.1}, "header.sample_fraction"),
        ("TRIMMED_MEAN", {"seed": 1}, "header.seed"),
        ("MULTI_KRUM", {"tolerance": 1e-6}, "header.tolerance"),
        ("UNSPECIFIED", {}, "header.method"),
    ],
)
async def test_what_a_method_cannot_bear_or_has_no_use_for_is_refused_at_the_header(
    served: Any, method: str, fields: dict[str, Any], named: str
) -> None:
    outcome = await sent(served, header(GRADIENTS, method, **fields))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == named
    assert "; " in violation.description
    assert served.charges == []


async def test_the_most_that_a_method_bears_is_taken(served: Any) -> None:
    for method, most in (("KRUM", 10), ("BULYAN", 5), ("TRIMMED_MEAN", 11)):
        await aggregated(served, header(GRADIENTS, method, byzantine=most), *chunks(GRADIENTS))
    alone = GRADIENTS[:1]
    for method in ("COORDINATE_MEDIAN", "GEOMETRIC_MEDIAN", "HIERARCHICAL_KRUM", "TRIMMED_MEAN"):
        reply = await aggregated(served, header(alone, method), *chunks(alone))
        assert np.frombuffer(reply.gradient, "<f8") == pytest.approx(alone[0], rel=1e-15)


async def test_a_sample_of_none_is_refused(serve: Any) -> None:
    gradients = np.zeros((1001, 1))
    outcome = await sent(serve(), header(gradients, "HIERARCHICAL_KRUM", sample_fraction=0.0001))
    assert [violation.field for violation in outcome.error.violations] == ["header.sample_fraction"]


# Limits.


async def test_an_upload_that_no_memory_can_hold_is_refused_at_the_header(serve: Any) -> None:
    served = serve(max_grid=64, service={"upload_bytes": 32_768})
    outcome = await sent(served, header(np.zeros((8, 513))))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == "header.coordinates"
    assert "got an upload of 32832 bytes, this server takes at most 32768" in violation.description
    assert outcome.error.details == {"limit": "upload_bytes"}
    await aggregated(served, header(np.zeros((8, 512))), *chunks(np.zeros((8, 512)), size=4096))


async def test_a_header_may_announce_more_than_the_largest_memory(served: Any) -> None:
    request = header(GRADIENTS)
    request.header.clients, request.header.coordinates = 1_000_000, 2**63 - 1
    outcome = await sent(served, request)
    assert outcome.code is Code.INVALID_ARGUMENT
    assert served.provider.uploads.taken == 0


async def test_uploads_share_their_memory_with_those_of_fields_and_are_told_to_come_back(serve: Any) -> None:
    served = serve(max_grid=64, service={"upload_bytes": 32_768})
    first = served.open(AGGREGATE)
    first.send(header(np.zeros((8, 300))))
    await served.until(lambda: served.provider.uploads.taken == 8 * 300 * 8)
    outcome = await sent(served, header(np.zeros((8, 300))))
    assert outcome.code is Code.RESOURCE_EXHAUSTED
    assert outcome.error.retry_after == 1.0
    first.break_off()
    assert (await first.outcome()).code is Code.CANCELLED
    assert served.provider.uploads.taken == 0


async def test_a_reply_that_would_be_too_long_is_refused_at_the_header(serve: Any) -> None:
    served = serve(service={"aggregate_reply_bytes": 2048})
    outcome = await sent(served, header(np.zeros((3, 300))))
    (violation,) = outcome.error.violations
    assert violation.field == "header.coordinates"
    assert "services.mfn.aggregate_reply_bytes" in violation.description
    assert outcome.error.details == {"limit": "aggregate_reply_bytes"}
    wide = np.zeros((3, 220))
    outcome = await sent(served, header(wide), *chunks(wide, size=1760))
    assert outcome.code is Code.OK
    assert len(outcome.reply) <= 2048


async def test_a_slow_upload_is_ended(serve: Any) -> None:
    served = serve(service={"upload_seconds": 0.1})
    upload = served.open(AGGREGATE)
    upload.send(header(SMALL), *WHOLE[:1])
    outcome = await upload.outcome()
    assert outcome.code is Code.DEADLINE_EXCEEDED
    assert outcome.error.details == {"limit": "upload_seconds"}
    assert served.provider.uploads.taken == 0


async def test_an_aggregation_is_charged_by_its_method_and_limited(serve: Any) -> None:
    served = serve(max_cell_steps=100_000)
    await aggregated(served, header(GRADIENTS, "KRUM", byzantine=4), *chunks(GRADIENTS))
    await aggregated(served, header(GRADIENTS, "BULYAN", byzantine=4), *chunks(GRADIENTS))
    (_, of_krum), (_, of_bulyan) = served.charges
    assert of_krum == 3.0 * 24 * 17 + 24 * 24 * (0.01 * 17 + 4.0)
    assert of_bulyan > of_krum
    outcome = await sent(served, header(np.zeros((200, 17)), "KRUM", byzantine=4))
    (violation,) = outcome.error.violations
    assert violation.field == "header.clients"
    assert outcome.error.details == {"limit": "max_cell_steps"}
    assert len(served.charges) == 2


async def test_an_aggregation_that_is_not_wanted_any_more_ends_between_two_blocks(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def slow(gradients: Any, *, check: Any) -> Any:
        reached.set()
        go_on.wait(30)
        check()
        raise AssertionError("it went on")

    monkeypatch.setattr("mfn_service._aggregators.coordinate_median", slow)
    call = served.open(AGGREGATE)
    call.send(header(SMALL), *WHOLE)
    call.half_close()
    await served.until(reached.is_set)
    call.break_off()
    go_on.set()
    assert (await call.outcome()).code is Code.CANCELLED
    assert served.provider.uploads.taken == 0


async def test_a_median_that_is_not_found_is_no_defect(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfn_service._aggregators.MAX_ITERATIONS", 1)
    spread = np.random.default_rng(1).normal(size=(20, 30))
    outcome = await sent(served, header(spread, "GEOMETRIC_MEDIAN", tolerance=1e-12), *chunks(spread, size=240))
    assert outcome.code is Code.FAILED_PRECONDITION
    assert outcome.error.details["reason"] == "not_converged"
