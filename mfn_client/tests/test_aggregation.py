"""Gradients: how they travel, and what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mfn_client import FederatedAggregate, GradientAggregate, MFNClient, MfnRpcError
from mfn_proto import mycelium_pb2
from mfn_proto.v1 import aggregation_pb2 as pb

AGGREGATE = "/mfn.v1.AggregationService/AggregateGradients"
FEDERATED = "/mycelium.MyceliumService/AggregateFederated"

GRADIENTS = np.random.default_rng(1).normal(size=(3, 40_000))


async def aggregated(server: Any, **reply: Any) -> list[pb.AggregateGradientsRequest]:
    """Serve AggregateGradients; the list holds what the last caller uploaded."""
    uploaded: list[pb.AggregateGradientsRequest] = []

    async def handle(call: Any) -> None:
        uploaded[:] = [pb.AggregateGradientsRequest.FromString(raw) for raw in await call.read_all()]
        header = uploaded[0].header
        first = b"".join(each.chunk.data for each in uploaded[1:] if each.chunk.client == 0)
        message = pb.AggregateGradientsResponse(
            request_id=header.request_id,
            gradient=first,
            type=header.type,
            coordinates=header.coordinates,
            accepted=[0, 2],
            rejected=[1],
            sampled_out=1,
        )
        message.MergeFrom(pb.AggregateGradientsResponse(**reply))
        await call.write(message)

    server.serve(AGGREGATE, handle)
    return uploaded


@pytest.mark.parametrize("dtype", ["float64", "float32"])
async def test_gradients_travel_whole_in_bounded_chunks_of_their_type(
    server: Any, client: MFNClient, dtype: str
) -> None:
    uploaded = await aggregated(server)
    gradients = GRADIENTS.astype(dtype)
    result = await client.aggregate_gradients(gradients, method="krum", byzantine=0, request_id="round 1")
    assert uploaded[0].header == pb.AggregateGradientsHeader(
        request_id="round 1",
        clients=3,
        coordinates=40_000,
        type=pb.GRADIENT_TYPE_FLOAT64 if dtype == "float64" else pb.GRADIENT_TYPE_FLOAT32,
        method=pb.AGGREGATION_METHOD_KRUM,
    )
    for client_number in range(3):
        chunks = [each.chunk.data for each in uploaded[1:] if each.chunk.client == client_number]
        assert all(0 < len(chunk) <= 256 * 1024 for chunk in chunks)
        assert b"".join(chunks) == gradients[client_number].tobytes()
    assert result == GradientAggregate(
        request_id="round 1", gradient=gradients[0], accepted=(0, 2), rejected=(1,), sampled_out=1
    )
    assert result.gradient.dtype == np.dtype(dtype)
    assert not result.gradient.flags.writeable


async def test_every_option_is_sent_where_it_is_given(server: Any, client: MFNClient) -> None:
    uploaded = await aggregated(server)
    options: dict[str, Any] = {
        "byzantine": 1,
        "keep": 2,
        "num_clusters": 3,
        "byzantine_fraction": 0.0,
        "sample_fraction": 0.5,
        "seed": 0,
        "tolerance": 1e-3,
    }
    await client.aggregate_gradients([[1.0], [2.0]], method="multi_krum", **options)
    header = uploaded[0].header
    for name, value in options.items():
        assert getattr(header, name) == value
        assert name == "byzantine" or header.HasField(name)


@pytest.mark.parametrize(
    "method",
    [
        "hierarchical_krum",
        "balanced_hierarchical_krum",
        "krum",
        "multi_krum",
        "bulyan",
        "trimmed_mean",
        "coordinate_median",
        "geometric_median",
    ],
)
async def test_every_method_has_its_number(server: Any, client: MFNClient, method: Any) -> None:
    uploaded = await aggregated(server)
    await client.aggregate_gradients([[1.0]], method=method)
    assert pb.AggregationMethod.Name(uploaded[0].header.method) == f"AGGREGATION_METHOD_{method.upper()}"


@pytest.mark.parametrize(
    "gradients",
    [
        [[1, 2], [3, 4]],
        ([1.0, 2.0], np.array([3.0, 4.0], dtype=np.float32)),
        iter([np.array([1.0, 2.0]), np.array([3.0, 4.0])]),
        np.array([[1.0, 2.0], [3.0, 4.0]]).astype(">f8"),
        np.array([[1.0, 3.0], [2.0, 4.0]]).T,
        (vector for vector in np.array([[1, 2], [3, 4]])),
    ],
)
async def test_any_vectors_of_real_numbers_are_taken(server: Any, client: MFNClient, gradients: Any) -> None:
    uploaded = await aggregated(server)
    result = await client.aggregate_gradients(gradients, method="coordinate_median")
    assert uploaded[0].header.type == pb.GRADIENT_TYPE_FLOAT64
    assert [np.frombuffer(each.chunk.data, "<f8").tolist() for each in uploaded[1:]] == [[1.0, 2.0], [3.0, 4.0]]
    assert result.gradient.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("gradients", "said"),
    [
        ([], "there are no gradients; at least one is needed"),
        ([[1.0], [1.0, 2.0]], "gradient 1 has 2 values where gradient 0 has 1"),
        ([[]], "gradient 0 has no values; at least one is needed"),
        ([1.0, 2.0], r"gradient 0 must have one dimension, got an array of shape \(\)"),
        (np.zeros((2, 2, 2)), r"gradient 0 must have one dimension, got an array of shape \(2, 2\)"),
        ([["a"]], "gradient 0 must hold real numbers"),
        ([[1j]], "gradient 0 must hold real numbers, got an array of complex128"),
    ],
)
async def test_what_are_no_gradients_is_refused_before_a_call(
    server: Any, client: MFNClient, gradients: Any, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        await client.aggregate_gradients(gradients, method="krum")
    with pytest.raises(ValueError, match=said):
        await client.aggregate_federated(gradients)
    assert server.calls == []


async def test_an_unknown_method_is_refused_before_a_call(server: Any, client: MFNClient) -> None:
    with pytest.raises(ValueError, match=r"method must be one of hierarchical_krum, .*, got 'mean'"):
        await client.aggregate_gradients([[1.0]], method="mean")  # type: ignore[arg-type] # the point of the test
    assert server.calls == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [({"coordinates": 7}, "7 float64 numbers came in 8 bytes"), ({"type": 9}, "of type 9 cannot be read")],
)
async def test_a_reply_that_cannot_be_read_breaks_the_contract(
    server: Any, client: MFNClient, reply: dict[str, Any], said: str
) -> None:
    await aggregated(server, **reply)
    with pytest.raises(MfnRpcError, match=said):
        await client.aggregate_gradients([[1.0]], method="krum")


async def test_federated_gradients_travel_in_one_message(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        reply = mycelium_pb2.FederatedAggregateResponse(aggregated_gradient=[0.5, 1.5], num_accepted=2, num_rejected=1)
        await call.write(reply)

    server.serve(FEDERATED, handle)
    result = await client.aggregate_federated([[1, 2], [3, 4], [5, 6]], num_clusters=2, request_id="mine")
    assert result == FederatedAggregate(gradient=np.array([0.5, 1.5]), accepted=2, rejected=1)
    assert not result.gradient.flags.writeable
    (call,) = server.calls
    assert call.header("x-request-id") == "mine"
    request = mycelium_pb2.FederatedAggregateRequest.FromString(call.first)
    assert [list(each.values) for each in request.gradients] == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert (request.num_clusters, request.byzantine_fraction) == (2, 0.2)
    assert request.HasField("byzantine_fraction")
