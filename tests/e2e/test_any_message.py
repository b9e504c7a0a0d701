"""Whatever a client sends, no call ends as the server's own fault."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import cycle
from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import aggregation_pb2 as aggregation
from mfn_proto.v1 import field_pb2 as v1
from mfn_proto.v1 import model_pb2 as models

OPERATIONS: dict[str, tuple[type[Message], bool]] = {
    "/mfn.MFNFeaturesService/ExtractFeatures": (w1.FeatureRequest, False),
    "/mfn.MFNFeaturesService/StreamFeatures": (w1.FeatureStreamRequest, False),
    "/mfn.MFNSimulationService/RunSimulation": (w1.SimulationRequest, False),
    "/mfn.MFNSimulationService/StreamSimulation": (w1.SimulationStreamRequest, False),
    "/mycelium.MyceliumService/Simulate": (w2.SimulateRequest, False),
    "/mycelium.MyceliumService/SimulateStream": (w2.SimulateRequest, False),
    "/mycelium.MyceliumService/ComputeNernst": (w2.NernstRequest, False),
    "/mycelium.MyceliumService/HealthCheck": (w2.HealthCheckRequest, False),
    "/mfn.MFNValidationService/ValidatePattern": (w1.ValidationRequest, False),
    "/mycelium.MyceliumService/Validate": (w2.ValidateRequest, False),
    "/mycelium.MyceliumService/AggregateFederated": (w2.FederatedAggregateRequest, False),
    "/mfn.v1.ModelService/ListModels": (models.ListModelsRequest, False),
    "/mfn.v1.ModelService/DescribeModel": (models.DescribeModelRequest, False),
    "/mfn.v1.AggregationService/AggregateGradients": (aggregation.AggregateGradientsRequest, True),
    "/mfn.v1.FieldService/Simulate": (v1.SimulateRequest, False),
    "/mfn.v1.FieldService/AnalyzeField": (v1.AnalyzeFieldRequest, True),
    "/mfn.v1.FieldService/SteerSimulation": (v1.SteerSimulationRequest, True),
}
"""Request type, and whether the client streams."""

OF_THE_SERVER = {"INTERNAL", "UNKNOWN", "DATA_LOSS"}

EXAMPLES, CALLS = 50, 20
"""A thousand calls: so many at a time, so many times."""


def _mostly(likely: st.SearchStrategy[object], *others: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Values that are likely to be within bounds, more often than not: what gets past the validation goes further."""
    return st.integers(0, 9).flatmap(lambda drawn: likely if drawn < 9 else st.one_of(*others))


_INTEGERS = _mostly(st.integers(4, 16), st.sampled_from([0, 1, 2, 3, 17, 50, 51, -1]), st.integers(-(2**31), 2**31 - 1))
_UNSIGNED = _mostly(st.just(8), st.sampled_from([0, 1, 16, 17, 65_536, 65_537]), st.integers(0, 2**32 - 1))
_DOUBLES = _mostly(
    st.floats(0.01, 0.13), st.sampled_from([0.0, -0.0, 0.25, 1.0, 5e-324, 1e-300, 1e308]), st.floats(width=64)
)
_TEXTS = _mostly(
    st.just(""),
    st.sampled_from(["mycelium", "mycelium_rd", "gray_scott", "myceliun", "potential", "neumann", "V", "1", "mV"]),
    st.sampled_from(["x" * 128, "x" * 129]),
    st.text(max_size=20),
)
_NAMES = _mostly(st.sampled_from(["alpha", "jitter_variance", "spike_probability"]), st.text(max_size=70))

_VALUES: dict[int, st.SearchStrategy[object]] = {
    FieldDescriptor.CPPTYPE_INT32: _INTEGERS,
    FieldDescriptor.CPPTYPE_INT64: _mostly(_INTEGERS, st.integers(-(2**63), 2**63 - 1)),
    FieldDescriptor.CPPTYPE_UINT32: _UNSIGNED,
    FieldDescriptor.CPPTYPE_DOUBLE: _DOUBLES,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: _mostly(st.integers(2, 3), st.integers(-1, 5)),
}


def _value(field: FieldDescriptor) -> st.SearchStrategy[object]:
    if field.message_type is not None:
        return messages(GetMessageClass(field.message_type))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _mostly(st.just(bytes(512)), st.binary(max_size=64), st.just(b"\xff" * 512))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _TEXTS
    return _VALUES[field.cpp_type]


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    """Messages of valid structure with any values."""
    fields = {
        field.name: (
            st.dictionaries(cast("st.SearchStrategy[str]", _NAMES), _DOUBLES, max_size=2)
            if _is_map(field)
            else st.lists(_value(field), min_size=2, max_size=3)
            if field.is_repeated
            else _value(field)
        )
        for field in cast("Descriptor", kind.DESCRIPTOR).fields
    }
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: kind(**values))


def _sent(path: str) -> st.SearchStrategy[tuple[str, list[bytes]]]:
    kind, streams = OPERATIONS[path]
    encoded = messages(kind).map(lambda message: message.SerializeToString())
    raw = cast("st.SearchStrategy[bytes]", _mostly(encoded, st.binary(max_size=64)))
    return st.tuples(st.just(path), st.lists(raw, max_size=5) if streams else st.lists(raw, min_size=1, max_size=1))


CALL = st.sampled_from(sorted(OPERATIONS)).flatmap(_sent)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server on which no run takes long."""
    configuration = tables(
        server={"max_grid": 16, "max_steps": 50, "max_cell_steps": 10_000},
        services={"mfn": {"session_steps": 50, "sessions": 100_000, "sessions_per_principal": 100_000}},
    )
    with Deployment(configuration, tmp_path_factory.mktemp("small")) as started:
        yield started


@pytest.mark.slow
def test_no_message_is_a_fault_of_the_server(small: Deployment) -> None:
    caller = small.caller()
    ended: dict[str, int] = {}

    async def call(client: RawClient, path: str, sent: list[bytes]) -> str:
        signed = caller.sign(path, None if OPERATIONS[path][1] else sent[0])
        # A frame rate may be as low as one in many years.
        return (await exchange(client, path, sent, signed, timeout=0.5)).code

    with asyncio.Runner() as runner:
        clients = AsyncExitStack()

        async def connect() -> list[RawClient]:
            return [await clients.enter_async_context(RawClient(small.address(name))) for name in TRANSPORTS]

        connected = runner.run(connect())

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(st.lists(CALL, min_size=CALLS, max_size=CALLS))
        def trial(calls: list[tuple[str, list[bytes]]]) -> None:
            async def together() -> list[str]:
                return await asyncio.gather(
                    *(call(client, path, sent) for client, (path, sent) in zip(cycle(connected), calls, strict=False))
                )

            for (path, sent), code in zip(calls, runner.run(together()), strict=True):
                ended[code] = ended.get(code, 0) + 1
                assert code not in OF_THE_SERVER, (path, sent)

        try:
            trial()
        finally:
            runner.run(clients.aclose())
    assert sum(ended.values()) >= EXAMPLES * CALLS
    # Were everything refused at the door, nothing would have been tried.
    assert ended["OK"] >= 20, ended
    assert ended["INVALID_ARGUMENT"] >= 20, ended
    if small.trail.path.exists():
        small.trail.refresh()
        faults = [record for record in small.trail.records if record["status"] in OF_THE_SERVER]
        assert faults == []
