"""Every numeric field of every operation, out of its bounds: refused by name, whatever carries the call."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from attrs import frozen
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import LIMITS, Deployment
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import aggregation_pb2 as aggregation
from mfn_proto.v1 import field_pb2 as v1
from mfn_proto.v1 import model_pb2 as models

NAN, INF = math.nan, math.inf
NOT_FINITE = (NAN, INF, -INF)

MIN_GRID, MAX_GRID, MAX_STEPS, MAX_CELL_STEPS = LIMITS.values()

ALPHA = (0.0, -0.1, 0.25000001, 1e300, *NOT_FINITE)
PROBABILITY = (-1e-9, 1.000001, *NOT_FINITE)
GRID = (0, -1, 1, MIN_GRID - 1, MAX_GRID + 1, 2**31 - 1, -(2**31))
SEED = (-1, -(2**31))
STEPS = (-1, MAX_STEPS + 1, 2**31 - 1, -(2**31))
RUN_STEPS = (0, *STEPS)
"""Of a stream, which has at least one."""

VARIANCE = (-1e-9, 0.0100001, *NOT_FINITE)
"""Of the noise of the model `mycelium` and its variants, which stands for every parameter by name."""
EPOCHS = (0, -1, MAX_STEPS + 1, 2**31 - 1)

Value = float | int | Sequence[float] | bytes


@frozen
class Bounds:
    """Values that one field must refuse."""

    operation: str
    field: str
    """Path in the request, as the error must name it."""
    values: Sequence[Value]


def _runs(operation: str, prefix: str, steps: str, values: Sequence[Value]) -> Iterator[Bounds]:
    yield Bounds(operation, f"{prefix}seed", SEED)
    yield Bounds(operation, f"{prefix}grid_size", GRID)
    yield Bounds(operation, f"{prefix}alpha", ALPHA)
    yield Bounds(operation, f"{prefix}spike_probability", PROBABILITY)
    yield Bounds(operation, f"{prefix}parameters[jitter_variance]", VARIANCE)
    yield Bounds(operation, steps, values)


def _simulations(operation: str, spec: str, frames: str) -> Iterator[Bounds]:
    yield Bounds(operation, f"{spec}.grid_size", GRID)
    yield Bounds(operation, f"{spec}.seed", SEED)
    yield Bounds(operation, f"{spec}.mycelium.alpha", ALPHA)
    yield Bounds(operation, f"{spec}.mycelium.spike_probability", PROBABILITY)
    yield Bounds(operation, f"{spec}.parameter_values[jitter_variance]", VARIANCE)
    yield Bounds(operation, f"{frames}.every_n_steps", (0, -1))
    yield Bounds(operation, f"{frames}.max_frames_per_second", (-1e-300, -1.0, *NOT_FINITE))
    yield Bounds(operation, f"{frames}.field_encoding", (4, 99, -1))
    yield Bounds(operation, f"{frames}.threshold", NOT_FINITE)


def _mycelium(operation: str) -> Iterator[Bounds]:
    yield Bounds(operation, "seed", SEED)
    yield Bounds(operation, "grid_size", GRID)
    yield Bounds(operation, "steps", RUN_STEPS)
    yield Bounds(operation, "alpha", (0.0, 0.0499999, 0.25, 1e300, *NOT_FINITE))
    yield Bounds(operation, "gamma", (1.0, -1e-300, *NOT_FINITE))
    yield Bounds(operation, "parameters[jitter_variance]", VARIANCE)


def _aggregations(operation: str) -> Iterator[Bounds]:
    yield Bounds(operation, "header.clients", (0, -1, 1_000_001, 2**31 - 1))
    yield Bounds(operation, "header.coordinates", (0, -1, 2**40, 2**63 - 1))
    yield Bounds(operation, "header.type", (0, 3, -1))
    yield Bounds(operation, "header.method", (0, 9, -1))
    yield Bounds(operation, "header.byzantine", (-1, 3, 2**31 - 1))
    yield Bounds(operation, "header.keep", (0, -1, 7, 2**31 - 1))
    yield Bounds(operation, "header.num_clusters", (0, -1))
    yield Bounds(operation, "header.byzantine_fraction", (-1e-300, 0.5, *NOT_FINITE))
    yield Bounds(operation, "header.sample_fraction", (0.0, 1.0000001, *NOT_FINITE))
    yield Bounds(operation, "header.seed", (-1, -(2**63)))
    yield Bounds(operation, "header.tolerance", (0.0, 1e-13, 1.1, *NOT_FINITE))
    yield Bounds(operation, "chunk.client", (-1, 8, 2**31 - 1))


FEATURES, FEATURE_STREAM = "/mfn.MFNFeaturesService/ExtractFeatures", "/mfn.MFNFeaturesService/StreamFeatures"
SIMULATION, SIMULATION_STREAM = "/mfn.MFNSimulationService/RunSimulation", "/mfn.MFNSimulationService/StreamSimulation"
MYCELIUM, MYCELIUM_STREAM, NERNST = (
    f"/mycelium.MyceliumService/{name}" for name in ("Simulate", "SimulateStream", "ComputeNernst")
)
VALIDATION, VALIDATION_W2 = "/mfn.MFNValidationService/ValidatePattern", "/mycelium.MyceliumService/Validate"
FEDERATED, AGGREGATE = (
    "/mycelium.MyceliumService/AggregateFederated",
    "/mfn.v1.AggregationService/AggregateGradients",
)
SIMULATE, ANALYZE, STEER = (f"/mfn.v1.FieldService/{name}" for name in ("Simulate", "AnalyzeField", "SteerSimulation"))

TABLE: tuple[Bounds, ...] = (
    *_runs(FEATURES, "", "steps", STEPS),
    *_runs(SIMULATION, "", "steps", STEPS),
    *_runs(FEATURE_STREAM, "", "total_steps", RUN_STEPS),
    Bounds(FEATURE_STREAM, "steps_per_frame", (-1, -(2**31))),
    Bounds(FEATURE_STREAM, "max_frames_per_second", (-1e-300, -1.0, *NOT_FINITE)),
    *_runs(SIMULATION_STREAM, "", "total_steps", RUN_STEPS),
    Bounds(SIMULATION_STREAM, "steps_per_frame", (-1, -(2**31))),
    Bounds(SIMULATION_STREAM, "max_frames_per_second", (-1e-300, -1.0, *NOT_FINITE)),
    *_mycelium(MYCELIUM),
    *_mycelium(MYCELIUM_STREAM),
    Bounds(NERNST, "z_valence", (0, 3, -3, 2**31 - 1)),
    Bounds(NERNST, "concentration_out_molar", (0.0, -1.0, *NOT_FINITE)),
    Bounds(NERNST, "concentration_in_molar", (0.0, -1.0, *NOT_FINITE)),
    Bounds(NERNST, "temperature_k", (0.0, 272.999, 373.001, -1.0, *NOT_FINITE)),
    *_simulations(SIMULATE, "simulation", "frames"),
    Bounds(SIMULATE, "steps", STEPS),
    *(Bounds(VALIDATION, name, values) for name, values in (("seed", SEED), ("grid_size", GRID), ("steps", STEPS))),
    Bounds(VALIDATION, "epochs", EPOCHS),
    Bounds(VALIDATION, "batch_size", (0, -1, -(2**31))),
    Bounds(VALIDATION, "parameters[jitter_variance]", VARIANCE),
    *(Bounds(VALIDATION_W2, name, values) for name, values in (("seed", SEED), ("grid_size", GRID))),
    Bounds(VALIDATION_W2, "epochs", EPOCHS),
    Bounds(VALIDATION_W2, "parameters[jitter_variance]", VARIANCE),
    Bounds(FEDERATED, "gradients[0]", ([], [NAN], [1.0, INF], [-1.1e140])),
    Bounds(FEDERATED, "num_clusters", (0, -1, -(2**31))),
    Bounds(FEDERATED, "byzantine_fraction", (-1e-300, 0.5, *NOT_FINITE)),
    *_aggregations(AGGREGATE),
    Bounds(ANALYZE, "header.shape", ([], [8], [8, 8, 8], [0, 8], [8, 0], [8, MAX_GRID + 1], [65537] * 2)),
    Bounds(ANALYZE, "header.encoding", (0, 1, 4, -1)),
    Bounds(ANALYZE, "header.threshold_volts", NOT_FINITE),
    Bounds(ANALYZE, "header.threshold.value", NOT_FINITE),
    Bounds(ANALYZE, "header.threshold.percentile", (-1e-9, 100.000001, *NOT_FINITE)),
    Bounds(ANALYZE, "header.threshold.adaptive.block", (0, 1, 4, -3, 65537)),
    Bounds(ANALYZE, "header.threshold.adaptive.offset", NOT_FINITE),
    Bounds(ANALYZE, "header.features.connectivity", (0, 6, -4)),
    Bounds(STEER, "sequence", (0, -1, -(2**63))),
    *_simulations(STEER, "start.simulation", "start.frames"),
    Bounds(STEER, "start.total_steps", RUN_STEPS),
    Bounds(STEER, "resume_session.last_step", (-1, -(2**63))),
    Bounds(STEER, "change.alpha", ALPHA),
    Bounds(STEER, "change.spike_probability", PROBABILITY),
    Bounds(STEER, "change.parameters[jitter_variance]", VARIANCE),
    Bounds(STEER, "inject.row", (-1, 64, 2**31 - 1)),
    Bounds(STEER, "inject.column", (-1, 64, 2**31 - 1)),
    Bounds(STEER, "inject.amplitude_volts", (-0.1350001, 0.1350001, *NOT_FINITE)),
    Bounds(STEER, "inject.amplitude", NOT_FINITE),
)
"""`start` of a steered simulation asks for the default grid of 64 cells, beyond which an injection must not lie."""

REQUESTS: dict[str, type[Message]] = {
    FEATURES: w1.FeatureRequest,
    FEATURE_STREAM: w1.FeatureStreamRequest,
    SIMULATION: w1.SimulationRequest,
    SIMULATION_STREAM: w1.SimulationStreamRequest,
    MYCELIUM: w2.SimulateRequest,
    MYCELIUM_STREAM: w2.SimulateRequest,
    NERNST: w2.NernstRequest,
    VALIDATION: w1.ValidationRequest,
    VALIDATION_W2: w2.ValidateRequest,
    FEDERATED: w2.FederatedAggregateRequest,
    AGGREGATE: aggregation.AggregateGradientsRequest,
    SIMULATE: v1.SimulateRequest,
    ANALYZE: v1.AnalyzeFieldRequest,
    STEER: v1.SteerSimulationRequest,
}
STREAMED = {AGGREGATE, ANALYZE, STEER}

_NUMBERS = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
    FieldDescriptor.CPPTYPE_FLOAT,
    FieldDescriptor.CPPTYPE_DOUBLE,
    FieldDescriptor.CPPTYPE_ENUM,
}


def numeric_fields(message: Descriptor, prefix: str = "") -> Iterator[str]:
    for field in message.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield f"{prefix}{field.name}[jitter_variance]"
        elif field.message_type is not None and field.is_repeated:
            yield f"{prefix}{field.name}[0]"
        elif field.message_type is not None:
            yield from numeric_fields(field.message_type, f"{prefix}{field.name}.")
        elif field.cpp_type in _NUMBERS:
            yield f"{prefix}{field.name}"


@pytest.mark.parametrize("operation", REQUESTS)
def test_every_numeric_field_is_tried(operation: str) -> None:
    tried = {bounds.field for bounds in TABLE if bounds.operation == operation}
    assert tried == set(numeric_fields(cast("Descriptor", REQUESTS[operation].DESCRIPTOR)))


FILES = tuple(module.DESCRIPTOR for module in (w1, w2, v1, models, aggregation))


def test_every_operation_with_numbers_is_tried() -> None:
    offered = {
        f"/{service.full_name}/{method.name}"
        for file in FILES
        for service in file.services_by_name.values()
        for method in service.methods
        if any(numeric_fields(method.input_type))
    }
    assert offered == REQUESTS.keys()


def set_field(owner: Any, name: str, value: Value) -> None:
    """Set `name`, which may be an entry of a map or an item of a list."""
    indexed = re.fullmatch(r"(\w+)\[(\w+)\]", name)
    if indexed is None and isinstance(value, list):
        getattr(owner, name).extend(value)
    elif indexed is None:
        setattr(owner, name, value)
    elif isinstance(value, list):
        getattr(owner, indexed[1]).add().values.extend(value)
    else:
        getattr(owner, indexed[1])[indexed[2]] = value


def request_with(operation: str, path: str, value: Value) -> Message:
    request = REQUESTS[operation]()
    *parents, name = path.split(".")
    owner = request
    for parent in parents:
        owner = getattr(owner, parent)
        owner.SetInParent()
    set_field(owner, name, value)
    if operation == FEDERATED and not name.startswith("gradients"):
        set_field(request, "gradients[0]", [1.0])
    if operation == AGGREGATE and path.startswith("header"):
        complete(request.header, name)  # type: ignore[attr-defined] # of this operation's request
    if operation == AGGREGATE and path.startswith("chunk"):
        request.chunk.data = b"1"  # type: ignore[attr-defined] # of this operation's request
    if operation == ANALYZE:
        header = request.header  # type: ignore[attr-defined] # of this operation's request
        if name == "offset":
            owner.block = 3  # type: ignore[attr-defined] # of a local threshold
        if name != "shape":
            header.shape.extend([8, 8])
        if name != "encoding":
            header.encoding = v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN
    if operation == NERNST:
        for other, right in (("z_valence", 1), ("concentration_out_molar", 0.005), ("concentration_in_molar", 0.14)):
            if other != name:
                setattr(request, other, right)
    if path == "sequence":
        request.start.SetInParent()  # type: ignore[attr-defined] # of this operation's request
    if path.startswith("resume_session"):
        request.resume_session.session_id = "a"  # type: ignore[attr-defined] # of this operation's request
    return request


METHODS = {
    "keep": "MULTI_KRUM",
    "byzantine": "KRUM",
    "tolerance": "GEOMETRIC_MEDIAN",
    **dict.fromkeys(("num_clusters", "byzantine_fraction", "sample_fraction", "seed"), "HIERARCHICAL_KRUM"),
}
"""A method of aggregation to which each option means something."""


def complete(header: aggregation.AggregateGradientsHeader, name: str) -> None:
    """Fill in what a header needs beside the field that is tried."""
    method = f"AGGREGATION_METHOD_{METHODS.get(name, 'COORDINATE_MEDIAN')}"
    rest = {"clients": 8, "coordinates": 3, "type": 1, "method": aggregation.AggregationMethod.Value(method)}
    for other, right in rest.items():
        if other != name:
            setattr(header, other, right)


def messages(operation: str, path: str, value: Value) -> list[Message]:
    """What is sent: a command to a steered simulation comes after its start, a chunk after its header."""
    if operation == AGGREGATE and path.startswith("chunk"):
        header = aggregation.AggregateGradientsHeader()
        complete(header, "")
        first: Message = aggregation.AggregateGradientsRequest(header=header)
        return [first, request_with(operation, path, value)]
    request = request_with(operation, path, value)
    if operation == STEER and path.split(".")[0] in ("change", "inject"):
        return [v1.SteerSimulationRequest(start=v1.StartCommand(unlimited=True)), request]
    return [request]


async def refusal(server: Deployment, client: RawClient, operation: str, sent: Sequence[Message]) -> dict[str, str]:
    """The fields that were named, with what was said of each."""
    signed = server.caller().headers(operation, None if operation in STREAMED else sent[0])
    ended = await exchange(client, operation, [message.SerializeToString() for message in sent], signed)
    assert ended.code == "INVALID_ARGUMENT", ended.status
    return {violation.field: violation.description for violation in ended.status.violations}


@pytest.mark.parametrize("bounds", TABLE, ids=lambda bounds: f"{bounds.operation.rpartition('/')[2]}-{bounds.field}")
async def test_a_number_out_of_bounds_is_refused_by_name(server: Deployment, client: RawClient, bounds: Bounds) -> None:
    for value in bounds.values:
        found = await refusal(server, client, bounds.operation, messages(bounds.operation, bounds.field, value))
        assert list(found) == [bounds.field], value
        assert found[bounds.field].strip(), value


@pytest.mark.parametrize(
    ("operation", "grid", "steps"),
    [
        (FEATURES, "grid_size", "steps"),
        (SIMULATION, "grid_size", "steps"),
        (FEATURE_STREAM, "grid_size", "total_steps"),
        (SIMULATION_STREAM, "grid_size", "total_steps"),
        (MYCELIUM, "grid_size", "steps"),
        (MYCELIUM_STREAM, "grid_size", "steps"),
        (VALIDATION, "grid_size", "steps"),
        (SIMULATE, "simulation.grid_size", "steps"),
        (STEER, "start.simulation.grid_size", "start.total_steps"),
    ],
    ids=lambda value: value.rpartition("/")[2] if value.startswith("/") else "",
)
async def test_the_limits_of_the_server_are_named_with_their_values(
    server: Deployment, client: RawClient, operation: str, grid: str, steps: str
) -> None:
    too_much = MAX_CELL_STEPS // MAX_GRID**2 + 1
    assert too_much <= MAX_STEPS
    cases: tuple[tuple[dict[str, int], str, str], ...] = (
        ({grid: MAX_GRID + 1}, grid, f"at most {MAX_GRID} (server.max_grid)"),
        ({grid: MIN_GRID - 1}, grid, f"at least {MIN_GRID} (server.min_grid)"),
        ({steps: MAX_STEPS + 1}, steps, f"at most {MAX_STEPS} (server.max_steps)"),
        ({grid: MAX_GRID, steps: too_much}, steps, f"at most {MAX_CELL_STEPS} (server.max_cell_steps)"),
    )
    for values, field, said in cases:
        request = REQUESTS[operation]()
        for path, value in values.items():
            request.MergeFrom(request_with(operation, path, value))
        found = await refusal(server, client, operation, [request])
        assert said in found[field], values


async def test_every_field_at_fault_is_named_at_once(server: Deployment, client: RawClient) -> None:
    request = w1.SimulationRequest(seed=-1, grid_size=0, steps=-1, alpha=NAN, spike_probability=2.0)
    assert set(await refusal(server, client, SIMULATION, [request])) == {
        "seed",
        "grid_size",
        "steps",
        "alpha",
        "spike_probability",
    }


def chunks(*data: bytes, shape: Sequence[int] = (8, 8)) -> list[Message]:
    header = v1.AnalyzeFieldHeader(shape=shape, encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)
    return [v1.AnalyzeFieldRequest(header=header), *(v1.AnalyzeFieldRequest(chunk=each) for each in data)]


def spoilt(value: float) -> bytes:
    field = np.zeros((8, 8))
    field[3, 4] = value
    return field.tobytes()


@pytest.mark.parametrize(
    ("sent", "field", "said"),
    [
        (chunks(bytes(8 * 63)), "chunk", "504"),
        (chunks(bytes(8 * 64), b"x"), "chunk", "513"),
        (chunks(b""), "chunk", "0 bytes"),
        (chunks(bytes(2**20 + 1), shape=(512, 512)), "chunk", str(2**20 + 1)),
        (chunks(), "chunk", "0 bytes"),
        (chunks(spoilt(NAN)), "chunk", "row 3, column 4"),
        (chunks(spoilt(-INF)), "chunk", "row 3, column 4"),
        ([*chunks(), *chunks()], "header", "second"),
        ([v1.AnalyzeFieldRequest(chunk=b"12345678")], "header", "first"),
        ([], "header", "no message"),
    ],
    ids=["short", "long", "empty", "large", "none", "nan", "infinite", "two-headers", "headless", "silent"],
)
async def test_an_upload_that_does_not_fit_its_header_is_refused(
    server: Deployment, client: RawClient, sent: list[Message], field: str, said: str
) -> None:
    found = await refusal(server, client, ANALYZE, sent)
    assert list(found) == [field]
    assert said in found[field]


@pytest.mark.parametrize("operation", REQUESTS)
async def test_bytes_that_are_no_message_are_refused(server: Deployment, client: RawClient, operation: str) -> None:
    raw = b"\xff\xff\xff\xff"
    caller = server.caller()
    signed = caller.sign(operation, None if operation in STREAMED else raw)
    ended = await exchange(client, operation, [raw], signed)
    assert ended.code == "INVALID_ARGUMENT"
    (violation,) = ended.status.violations
    assert REQUESTS[operation].DESCRIPTOR.full_name in violation.description
