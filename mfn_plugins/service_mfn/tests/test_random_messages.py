"""Whatever a client sends, the answer is never a defect of the server."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mfn_core import Code
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import aggregation_pb2 as aggregation
from mfn_proto.v1 import field_pb2 as v1

EXPECTED = {
    Code.OK,
    Code.INVALID_ARGUMENT,
    Code.UNIMPLEMENTED,
    Code.NOT_FOUND,
    Code.OUT_OF_RANGE,
    Code.FAILED_PRECONDITION,
}
TYPED, WILD = 250, 100
"""Calls of each operation, with messages of the right types and with arbitrary bytes."""

DOUBLES = st.one_of(
    st.sampled_from([0.001, 0.1, 0.18, 0.25]),
    st.sampled_from([273.0, 310.0]),
    st.sampled_from([0.0, -0.0, 1.0, 5e-324, 1e308, math.nan, math.inf]),
    st.floats(allow_nan=True, allow_infinity=True),
)
INT32 = st.one_of(st.integers(1, 24), st.integers(-2, 40), st.integers(-(2**31), 2**31 - 1))
INT64 = st.one_of(st.integers(1, 24), st.integers(-2, 40), st.integers(-(2**63), 2**63 - 1))
TEXTS = st.one_of(
    st.sampled_from(["", "mycelium", "mycelium_rd", "mycelium_turing", "gray_scott", "V", "1", "other_model"]),
    st.sampled_from(["potential", "activator", "autocatalyst", "neumann", "dirichlet"]),
    st.text(max_size=140),
)
NAMES = st.one_of(
    st.sampled_from(["alpha", "spike_probability", "turing_enabled", "jitter", "jitter_variance", "leak", "feed"]),
    st.text(max_size=80),
)
"""Of parameters."""
SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: INT32,
    FieldDescriptor.CPPTYPE_INT64: INT64,
    FieldDescriptor.CPPTYPE_UINT32: st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 20)),
    FieldDescriptor.CPPTYPE_DOUBLE: DOUBLES,
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
    FieldDescriptor.CPPTYPE_ENUM: st.integers(-1, 5),
}


PACES = st.sampled_from([0.0, 2000.0, 1e308, -1.0, math.nan, math.inf])
"""None for which a test would wait."""


def value(field: Any) -> st.SearchStrategy[Any]:
    if field.name == "max_frames_per_second":
        return PACES
    if is_map(field):
        return st.dictionaries(NAMES, DOUBLES, max_size=3)
    if field.message_type is not None:
        return message(field.message_type._concrete_class)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=200) if field.type == FieldDescriptor.TYPE_BYTES else TEXTS
    return SCALARS[field.cpp_type]


def is_map(field: Any) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def message(message_type: Any) -> st.SearchStrategy[Any]:
    """Messages with any of their fields set to anything that their types can say."""
    fields = {
        field.name: st.lists(value(field), max_size=3) if field.is_repeated and not is_map(field) else value(field)
        for field in message_type.DESCRIPTOR.fields
    }
    any_fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=fields)
    if fields:
        # Of many fields one is nearly always wrong: with a few, what is right is met too.
        few = st.sets(st.sampled_from(sorted(fields)), max_size=2)
        few_fields = few.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in sorted(names)}))
        any_fields = st.one_of(any_fields, few_fields)
    return any_fields.map(lambda chosen: built(message_type, chosen))


def built(message_type: Any, chosen: dict[str, Any]) -> Any:
    return message_type(**chosen)


def raw_messages(operation: Any, wild: bool) -> st.SearchStrategy[list[bytes]]:
    most = 5 if operation.shape.client_streams else 1
    one = st.binary(max_size=64) if wild else message(operation.request_type).map(lambda each: each.SerializeToString())
    any_order = st.lists(one, min_size=0 if most > 1 else 1, max_size=most)
    if wild or most == 1:
        return any_order
    opening = OPENINGS[operation.method].SerializeToString()
    return st.one_of(any_order, any_order.map(lambda raw: [opening, *raw]))


OPENINGS = {
    "AnalyzeField": v1.AnalyzeFieldRequest(header=v1.AnalyzeFieldHeader(shape=(2, 2), encoding=2)),
    "SteerSimulation": v1.SteerSimulationRequest(
        start=v1.StartCommand(simulation=v1.SimulationSpec(grid_size=8), total_steps=20)
    ),
    "AggregateGradients": aggregation.AggregateGradientsRequest(
        header=aggregation.AggregateGradientsHeader(clients=2, coordinates=4, type=1, method=7)
    ),
}
"""First messages that are valid, so that what follows them is looked at too."""

VALID = {
    "/mfn.MFNFeaturesService/ExtractFeatures": w1.FeatureRequest(grid_size=8, steps=5),
    "/mfn.MFNFeaturesService/StreamFeatures": w1.FeatureStreamRequest(grid_size=8, total_steps=5),
    "/mfn.MFNSimulationService/RunSimulation": w1.SimulationRequest(grid_size=8, steps=5),
    "/mfn.MFNSimulationService/StreamSimulation": w1.SimulationStreamRequest(grid_size=8, total_steps=5),
    "/mycelium.MyceliumService/Simulate": w2.SimulateRequest(grid_size=8, steps=5),
    "/mycelium.MyceliumService/SimulateStream": w2.SimulateRequest(grid_size=8, steps=5),
    "/mycelium.MyceliumService/ComputeNernst": w2.NernstRequest(
        z_valence=1, concentration_out_molar=0.1, concentration_in_molar=0.01
    ),
}
"""Of operations whose requests chance seldom gets right in every field."""


PATHS = (
    "/mfn.MFNValidationService/ValidatePattern",
    "/mycelium.MyceliumService/Validate",
    "/mycelium.MyceliumService/Simulate",
    "/mycelium.MyceliumService/SimulateStream",
    "/mycelium.MyceliumService/ComputeNernst",
    "/mycelium.MyceliumService/AggregateFederated",
    "/mycelium.MyceliumService/HealthCheck",
    "/mfn.MFNFeaturesService/ExtractFeatures",
    "/mfn.MFNFeaturesService/StreamFeatures",
    "/mfn.MFNSimulationService/RunSimulation",
    "/mfn.MFNSimulationService/StreamSimulation",
    "/mfn.v1.FieldService/Simulate",
    "/mfn.v1.FieldService/AnalyzeField",
    "/mfn.v1.FieldService/SteerSimulation",
    "/mfn.v1.ModelService/ListModels",
    "/mfn.v1.ModelService/DescribeModel",
    "/mfn.v1.AggregationService/AggregateGradients",
)

UNCONDITIONAL = ("/HealthCheck", "/ListModels")
"""Of these no argument is wrong: there is none."""
UPLOADS = ("/AnalyzeField", "/AggregateGradients")
"""Chance does not make as many bytes as a header announces."""


@pytest.mark.parametrize("wild", [False, True], ids=["typed", "bytes"])
@pytest.mark.parametrize("path", PATHS)
async def test_no_message_is_answered_with_a_defect(serve: Any, path: str, wild: bool) -> None:
    steps = 64 if path.endswith("/Validate") else 30  # a training of that package has runs of 64
    served = serve(min_grid=1, max_grid=24, max_steps=steps, service={"session_steps": 30, "resume_within_seconds": 0})
    loop = asyncio.get_running_loop()
    operation = served.dispatcher.operations[path]
    seen: set[Code] = set()

    async def exchange(raw: list[bytes]) -> Code:
        conversation = served.open(path, None if operation.shape.client_streams else raw[0])
        if operation.shape.client_streams:
            conversation.send(*raw)
            conversation.half_close()
        _, outcome = await conversation.rest()
        assert served.provider.sessions.live == 0
        return outcome.code

    def paced(raw: list[bytes]) -> bool:
        """Whether a valid request asks for frames so slowly that a test would wait."""
        for each in raw:
            try:
                request = operation.request_type.FromString(each)
            except Exception:  # noqa: BLE001 - bytes that are no message: they are what is tested
                continue
            frames = getattr(getattr(request, "start", request), "frames", request)
            if 0.0 < getattr(frames, "max_frames_per_second", 0.0) < 1000.0:
                return True
        return False

    @settings(
        max_examples=WILD if wild else TYPED, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(raw_messages(operation, wild).filter(lambda raw: not paced(raw)))
    def check(raw: list[bytes]) -> None:
        code = asyncio.run_coroutine_threadsafe(exchange(raw), loop).result(30)
        seen.add(code)
        assert code in EXPECTED

    if not wild and path in VALID:
        check = example([VALID[path].SerializeToString()])(check)
    await asyncio.to_thread(check)
    assert Code.INVALID_ARGUMENT in seen or (not wild and path.endswith(UNCONDITIONAL))
    if not wild and not path.endswith(UPLOADS):
        assert Code.OK in seen
