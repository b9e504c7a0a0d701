"""The bounds of every field, and what is said of a value beyond them."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from mfn_proto import mfn_pb2
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import aggregation_pb2 as aggregation
from mfn_proto.v1 import field_pb2 as v1
from mfn_proto.v1 import model_pb2 as models
from mfn_proto.validation import Violation, prepare, violations

_INT32_MAX = 2**31 - 1
_INT32_MIN = -(2**31)
_NOT_FINITE = (math.nan, math.inf, -math.inf)

_UNARY: tuple[type[Message], ...] = (mfn_pb2.FeatureRequest, mfn_pb2.SimulationRequest)
_STREAM: tuple[type[Message], ...] = (mfn_pb2.FeatureStreamRequest, mfn_pb2.SimulationStreamRequest)
_VALIDATION: tuple[type[Message], ...] = (mfn_pb2.ValidationRequest,)

_ion: dict[str, Any] = {"z_valence": 1, "concentration_out_molar": 0.005, "concentration_in_molar": 0.14}
_concentration = ((5e-324, 1e-7, 0.14, 1.7e308), (0.0, -0.0, -5e-324, -1.0, *_NOT_FINITE))
_gradients: dict[str, Any] = {"gradients": [w2.Gradient(values=[1.0])]}

_from_zero = ((0, 1, _INT32_MAX), (-1, _INT32_MIN))
_from_one = ((1, 2, _INT32_MAX), (0, -1, _INT32_MIN))
_alpha = (
    (math.ulp(0.0), 0.18, math.nextafter(0.25, 0.0), 0.25),
    (0.0, -0.0, -math.ulp(0.0), math.nextafter(0.25, 1.0), 0.6, -0.1, *_NOT_FINITE),
)
_probability = (
    (0.0, -0.0, math.ulp(0.0), 0.25, math.nextafter(1.0, 0.0), 1.0),
    (-math.ulp(0.0), math.nextafter(1.0, 2.0), -1.0, 2.0, *_NOT_FINITE),
)
_model = (("", "mycelium", "gray_scott2", "m" * 64), ("M", "2d", "_a", "a b", "a\n", "a-b", "é", "m" * 65))
_names = (({}, {"leak": 0.1}, {f"p{k}": 0.0 for k in range(64)}), ({f"p{k}": 0.0 for k in range(65)},))
_request_id = (("", "x", "x" * 128, "é" * 64), ("x" * 129, "é" * 65, "x" * 1_000_000))
_amplitude = (
    (-0.135, 0.0, 0.02, 0.135),
    (math.nextafter(0.135, 1.0), math.nextafter(-0.135, -1.0), 1.0, *_NOT_FINITE),
)
_aggregated: dict[str, Any] = {"clients": 3, "coordinates": 2, "type": 1, "method": 1}
_header = {"shape": [4, 4], "encoding": v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN}

# Types, field, other fields that make the message valid, (valid values, invalid values).
_TABLE: list[tuple[tuple[type[Message], ...], str, dict[str, Any], tuple[tuple[Any, ...], tuple[Any, ...]]]] = [
    (_UNARY + _STREAM + _VALIDATION, "request_id", {}, _request_id),
    (_UNARY + _STREAM + _VALIDATION, "seed", {}, _from_zero),
    (_UNARY + _STREAM + _VALIDATION, "grid_size", {}, _from_one),
    (_UNARY + _VALIDATION, "steps", {}, _from_zero),
    (_STREAM, "total_steps", {}, _from_one),
    (_STREAM, "steps_per_frame", {}, _from_zero),
    (_UNARY + _STREAM, "alpha", {}, _alpha),
    (_UNARY + _STREAM, "spike_probability", {}, _probability),
    (_VALIDATION, "epochs", {}, _from_one),
    (_VALIDATION, "batch_size", {}, _from_one),
    ((w2.ValidateRequest, w2.SimulateRequest), "seed", {}, _from_zero),
    ((w2.ValidateRequest, w2.SimulateRequest), "grid_size", {}, _from_one),
    ((w2.ValidateRequest,), "epochs", {}, _from_one),
    ((w2.SimulateRequest,), "steps", {}, _from_one),
    (
        (w2.SimulateRequest,),
        "alpha",
        {},
        (
            (0.05, 0.18, math.nextafter(0.25, 0.0)),
            (0.0, math.nextafter(0.05, 0.0), 0.25, 0.6, -0.18, *_NOT_FINITE),
        ),
    ),
    ((w2.SimulateRequest,), "gamma", {}, ((0.0, -0.0), (5e-324, 0.01, 1.0, -1.0, *_NOT_FINITE))),
    ((w2.NernstRequest,), "z_valence", _ion, ((-2, -1, 1, 2), (0, 3, -3, _INT32_MAX, _INT32_MIN))),
    ((w2.NernstRequest,), "concentration_out_molar", _ion, _concentration),
    ((w2.NernstRequest,), "concentration_in_molar", _ion, _concentration),
    (
        (w2.NernstRequest,),
        "temperature_k",
        _ion,
        (
            (273.0, 310.0, 373.0),
            (0.0, -310.0, 37.0, math.nextafter(273.0, 0.0), math.nextafter(373.0, 400.0), *_NOT_FINITE),
        ),
    ),
    ((w2.FederatedAggregateRequest,), "gradients", {}, ((_gradients["gradients"],), ([],))),
    ((w2.FederatedAggregateRequest,), "num_clusters", _gradients, _from_one),
    (
        (w2.FederatedAggregateRequest,),
        "byzantine_fraction",
        _gradients,
        ((0.0, -0.0, 0.2, math.nextafter(0.5, 0.0)), (-5e-324, 0.5, 1.0, *_NOT_FINITE)),
    ),
    (_UNARY + _STREAM + _VALIDATION + (w2.ValidateRequest, w2.SimulateRequest), "model", {}, _model),
    (_UNARY + _STREAM + _VALIDATION + (w2.ValidateRequest, w2.SimulateRequest), "parameters", {}, _names),
    ((v1.SimulationSpec,), "model", {}, _model),
    ((v1.SimulationSpec,), "parameter_values", {}, _names),
    (
        (v1.SimulationSpec,),
        "boundary",
        {},
        (("", "periodic", "neumann", "dirichlet"), ("Periodic", "PERIODIC", "open", " ", "x" * 1000)),
    ),
    ((v1.SimulationSpec,), "grid_size", {}, _from_one),
    ((v1.SimulationSpec,), "seed", {}, _from_zero),
    ((v1.MyceliumParameters,), "alpha", {}, _alpha),
    ((v1.MyceliumParameters,), "spike_probability", {}, _probability),
    ((v1.FrameOptions,), "every_n_steps", {}, _from_one),
    (
        (*_STREAM, v1.FrameOptions),
        "max_frames_per_second",
        {},
        ((0.0, -0.0, 0.001, 1e300), (-math.ulp(0.0), -1.0, *_NOT_FINITE)),
    ),
    ((v1.FrameOptions,), "field_encoding", {}, ((0, 1, 2, 3), (4, -1, _INT32_MAX))),
    ((v1.FrameOptions,), "species", {}, (([], ["u"], ["u"] * 16), (["u"] * 17, ["u"] * 100_000))),
    ((v1.FrameOptions,), "threshold", {}, ((0.0, -0.06, 1e300), _NOT_FINITE)),
    ((v1.SimulateRequest, v1.StartCommand), "request_id", {}, _request_id),
    ((v1.SimulateRequest,), "steps", {}, _from_zero),
    ((v1.AnalyzeFieldRequest,), "chunk", {}, ((b"1", b"1" * 1_048_576), (b"", b"1" * 1_048_577))),
    ((v1.AnalyzeFieldHeader,), "request_id", _header, _request_id),
    (
        (v1.AnalyzeFieldHeader,),
        "shape",
        _header,
        (
            ([1, 1], [64, 64], [65536, 65536]),
            ([], [4], [4, 4, 4], [0, 4], [4, 0], [65537, 4], [4, 2**32 - 1]),
        ),
    ),
    ((v1.AnalyzeFieldHeader,), "encoding", _header, ((2, 3), (0, 1, 4, -1))),
    ((v1.AnalyzeFieldHeader,), "unit", _header, (("", "V", "1"), ("mV", "v", "V ", "V" * 1000))),
    (
        (v1.AnalyzeFieldHeader,),
        "threshold_volts",
        _header,
        ((-0.06, 0.0, 1e300, -1e300), _NOT_FINITE),
    ),
    ((v1.Threshold,), "value", {}, ((0.0, -0.06, 1e300), _NOT_FINITE)),
    ((v1.Threshold,), "percentile", {}, ((0.0, 50.0, 100.0), (-1e-9, 100.0000001, *_NOT_FINITE))),
    ((v1.Threshold,), "otsu", {}, ((True,), (False,))),
    ((v1.AdaptiveThreshold,), "block", {}, ((3, 5, 65535), (-3, 1, 2, 4, 65537, _INT32_MAX, _INT32_MIN))),
    ((v1.AdaptiveThreshold,), "offset", {"block": 3}, ((0.0, -1.0, 1e300), _NOT_FINITE)),
    ((v1.FeatureOptions,), "connectivity", {}, ((4, 8), (0, -4, 5, 6, _INT32_MAX))),
    (
        (v1.SteerSimulationRequest,),
        "sequence",
        {"stop": v1.StopCommand()},
        ((1, 2**63 - 1), (0, -1, -(2**63))),
    ),
    ((v1.StartCommand,), "total_steps", {}, _from_one),
    ((v1.StartCommand,), "unlimited", {}, ((True,), (False,))),
    ((v1.ResumeSessionCommand,), "session_id", {}, (("x", "x" * 128), ("", "x" * 129))),
    (
        (v1.ResumeSessionCommand,),
        "last_step",
        {"session_id": "x"},
        ((0, 2**63 - 1), (-1, -(2**63))),
    ),
    ((v1.ChangeCommand,), "alpha", {}, _alpha),
    ((v1.ChangeCommand,), "spike_probability", {}, _probability),
    ((v1.ChangeCommand,), "parameters", {"alpha": 0.1}, _names),
    ((v1.InjectCommand,), "amplitude", {}, ((0.0, -0.5, 1e300), _NOT_FINITE)),
    ((v1.InjectCommand,), "row", {}, _from_zero),
    ((v1.InjectCommand,), "column", {}, _from_zero),
    ((v1.InjectCommand,), "amplitude_volts", {}, _amplitude),
    ((models.DescribeModelRequest,), "name", {}, (("x", "no such model", "m" * 64), ("", "m" * 65, "é" * 33))),
    ((aggregation.AggregateGradientsHeader,), "request_id", _aggregated, _request_id),
    (
        (aggregation.AggregateGradientsHeader,),
        "clients",
        _aggregated,
        ((1, 2, 1_000_000), (0, -1, 1_000_001, _INT32_MAX, _INT32_MIN)),
    ),
    ((aggregation.AggregateGradientsHeader,), "coordinates", _aggregated, ((1, 2**63 - 1), (0, -1, -(2**63)))),
    ((aggregation.AggregateGradientsHeader,), "type", _aggregated, ((1, 2), (0, 3, -1))),
    ((aggregation.AggregateGradientsHeader,), "method", _aggregated, (tuple(range(1, 9)), (0, 9, -1))),
    ((aggregation.AggregateGradientsHeader,), "byzantine", _aggregated, _from_zero),
    ((aggregation.AggregateGradientsHeader,), "keep", _aggregated, _from_one),
    ((aggregation.AggregateGradientsHeader,), "num_clusters", _aggregated, _from_one),
    (
        (aggregation.AggregateGradientsHeader,),
        "byzantine_fraction",
        _aggregated,
        ((0.0, 0.2, math.nextafter(0.5, 0.0)), (-5e-324, 0.5, 1.0, *_NOT_FINITE)),
    ),
    (
        (aggregation.AggregateGradientsHeader,),
        "sample_fraction",
        _aggregated,
        ((5e-324, 0.1, 1.0), (0.0, -0.1, math.nextafter(1.0, 2.0), *_NOT_FINITE)),
    ),
    ((aggregation.AggregateGradientsHeader,), "seed", _aggregated, ((0, 2**63 - 1), (-1, -(2**63)))),
    (
        (aggregation.AggregateGradientsHeader,),
        "tolerance",
        _aggregated,
        ((1e-12, 1e-6, 1.0), (0.0, 9e-13, 1.01, -1.0, *_NOT_FINITE)),
    ),
    ((aggregation.GradientChunk,), "client", {"data": b"1"}, _from_zero),
    ((aggregation.GradientChunk,), "data", {}, ((b"1", b"1" * 1_048_576), (b"", b"1" * 1_048_577))),
]

_MYCELIUM: tuple[type[Message], ...] = (
    w2.ValidateRequest, w2.SimulateRequest, w2.NernstRequest, w2.FederatedAggregateRequest, w2.HealthCheckRequest,
)  # fmt: skip

# Fields that take any value of their type, or hold messages that have rows of their own.
_WITHOUT_ROWS = {
    "values", "turing_enabled", "quantum_jitter", "jitter", "mycelium", "simulation", "frames", "header", "features",
    "start", "resume_session", "pause", "resume", "change", "inject", "stop", "adaptive", "invert", "periodic",
    "threshold", "chunk",
}  # fmt: skip

_REQUESTS: tuple[type[Message], ...] = (
    *_UNARY, *_STREAM, *_VALIDATION, *_MYCELIUM, v1.SimulateRequest, v1.AnalyzeFieldRequest, v1.SteerSimulationRequest,
    models.ListModelsRequest, models.DescribeModelRequest, aggregation.AggregateGradientsRequest,
)  # fmt: skip
_PARTS: tuple[type[Message], ...] = (
    v1.SimulationSpec, v1.MyceliumParameters, v1.FrameOptions, v1.AnalyzeFieldHeader, v1.StartCommand,
    v1.ResumeSessionCommand, v1.PauseCommand, v1.ResumeCommand, v1.ChangeCommand, v1.InjectCommand, v1.StopCommand,
    v1.Threshold, v1.AdaptiveThreshold, v1.FeatureOptions, w2.Gradient,
    aggregation.AggregateGradientsHeader, aggregation.GradientChunk,
)  # fmt: skip


def _rows(column: int) -> Iterator[Any]:
    for types, field, rest, values in _TABLE:
        for type_ in types:
            for value in values[column]:
                shown = repr(value) if len(repr(value)) <= 24 else f"{len(value)}-long"
                yield pytest.param(type_, {**rest, field: value}, field, id=f"{type_.DESCRIPTOR.name}.{field}={shown}")


@pytest.mark.parametrize(("type_", "fields", "field"), list(_rows(0)))
def test_a_value_within_its_bound_is_valid(type_: type[Message], fields: dict[str, Any], field: str) -> None:
    assert violations(type_(**fields)) == ()


@pytest.mark.parametrize(("type_", "fields", "field"), list(_rows(1)))
def test_a_value_beyond_its_bound_is_one_violation_of_that_field(
    type_: type[Message], fields: dict[str, Any], field: str
) -> None:
    message = type_.FromString(type_(**fields).SerializeToString())
    (found,) = violations(message)
    assert found.field == field
    assert found.rule_id
    assert "; " in found.message
    assert len(found.message) < 400


def test_every_field_of_every_request_stands_in_the_table() -> None:
    covered = {(type_, field) for types, field, _, _ in _TABLE for type_ in types}
    missing = [
        f"{type_.DESCRIPTOR.full_name}.{field.name}"
        for type_ in (*_REQUESTS, *_PARTS)
        for field in type_.DESCRIPTOR.fields
        if field.name not in _WITHOUT_ROWS and (type_, field.name) not in covered
    ]
    assert missing == []


@pytest.mark.parametrize(
    "type_",
    [
        *_UNARY,
        *_STREAM,
        *_VALIDATION,
        w2.ValidateRequest,
        w2.SimulateRequest,
        w2.HealthCheckRequest,
        v1.SimulateRequest,
        v1.StartCommand,
        v1.FrameOptions,
    ],
)
def test_a_request_with_every_field_unset_is_valid(type_: type[Message]) -> None:
    assert violations(type_()) == ()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            mfn_pb2.FeatureRequest(alpha=0.3),
            "alpha: got 0.3, must be greater than 0 and less than or equal to 0.25; "
            "send a value within the bound, or leave it unset for 0.18",
        ),
        (
            mfn_pb2.FeatureRequest(alpha=math.nan),
            "alpha: got nan, must be greater than 0 and less than or equal to 0.25; "
            "send a value within the bound, or leave it unset for 0.18",
        ),
        (
            mfn_pb2.SimulationRequest(spike_probability=2.0),
            "spike_probability: got 2.0, must be greater than or equal to 0 and less than or equal to 1; "
            "send a value within the bound, or leave it unset",  # 0 by gRPC, and 0.25 by REST
        ),
        (
            mfn_pb2.SimulationRequest(steps=-1),
            "steps: got -1, must be greater than or equal to 0; send a value within the bound, or leave it unset",
        ),
        (
            mfn_pb2.ValidationRequest(epochs=0),
            "epochs: got 0, must be greater than or equal to 1; send a value within the bound, or leave it unset for 1",
        ),
        (
            mfn_pb2.FeatureRequest(request_id="é" * 100),
            "request_id: got 200 bytes, must be at most 128 bytes; shorten it",
        ),
        (
            v1.SteerSimulationRequest(sequence=0, stop=v1.StopCommand()),
            "sequence: got 0, must be greater than or equal to 1; send a value within the bound",
        ),
        (
            v1.SteerSimulationRequest(
                start=v1.StartCommand(simulation=v1.SimulationSpec(mycelium=v1.MyceliumParameters(alpha=0.0)))
            ),
            "start.simulation.mycelium.alpha: got 0.0, must be greater than 0 and less than or equal to 0.25; "
            "send a value within the bound, or leave it unset for 0.18",
        ),
        (
            v1.SimulateRequest(simulation=v1.SimulationSpec(model="Gray\n" * 10)),
            r"simulation.model: got 'Gray\nGray\nGray\nGray\nGray\nGray\nGr…, must match "
            "^([a-z][a-z0-9_]*)?$; spell it so, or leave it empty",
        ),
        (
            w2.SimulateRequest(gamma=0.5),
            "gamma: got 0.5, must equal 0; send that, or leave it unset",
        ),
        (
            w2.NernstRequest(**{**_ion, "z_valence": 0}),
            "z_valence: got 0, must be one of -2, -1, 1, 2; send one of these",
        ),
        (
            w2.NernstRequest(z_valence=1, concentration_in_molar=0.1),
            "concentration_out_molar: is not set and has no default; send a value",
        ),
        (
            w2.NernstRequest(**_ion, temperature_k=37.0),
            "temperature_k: got 37.0, must be greater than or equal to 273 and less than or equal to 373; "
            "send a value within the bound, or leave it unset for 310",
        ),
        (
            w2.FederatedAggregateRequest(),
            "gradients: got [], must contain at least 1 item(s); correct it and send the request again",
        ),
        (
            v1.AnalyzeFieldRequest(),
            "part: nothing is set; set exactly one of header, chunk",
        ),
        (
            v1.SteerSimulationRequest(),
            "command: nothing is set; set exactly one of start, resume_session, pause, resume, change, inject, stop",
        ),
        (
            v1.SteerSimulationRequest(change=v1.ChangeCommand()),
            "change: must set alpha, spike_probability or parameters; correct it and send the request again",
        ),
        (
            v1.ChangeCommand(),
            "must set alpha, spike_probability or parameters; correct it and send the request again",
        ),
        (
            v1.StartCommand(unlimited=False),
            "unlimited: got false, must equal true; send that, or leave it unset",
        ),
        (
            v1.AnalyzeFieldHeader(shape=[4, 4], encoding=v1.FIELD_ENCODING_NONE),
            "encoding: got FIELD_ENCODING_NONE (1), must be one of FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN (2), "
            "FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN (3); send one of these",
        ),
        (
            v1.AnalyzeFieldHeader(shape=[4, 4], encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN, unit="mV"),
            "unit: got 'mV', must be one of '', 'V', '1'; send one of these",
        ),
        (
            v1.AnalyzeFieldHeader(shape=[0, 4], encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
            "shape: got [0, 4], must be two numbers, rows then columns, each from 1 to 65536; "
            "correct it and send the request again",
        ),
        (
            v1.AnalyzeFieldRequest(chunk=b""),
            "chunk: got 0 bytes, must be at least 1 bytes; send at least that much",
        ),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_a_violation_states_the_value_the_bound_and_the_remedy(message: Message, expected: str) -> None:
    assert [str(found) for found in violations(message)] == [expected]


def test_every_field_at_fault_is_named_at_once_and_once_only() -> None:
    message = mfn_pb2.FeatureRequest(
        request_id="x" * 129, seed=-1, grid_size=0, steps=-1, alpha=math.nan, spike_probability=math.inf
    )
    assert [(found.field, found.rule_id) for found in violations(message)] == [
        ("request_id", "string.max_bytes"),
        ("seed", "int32.gte"),
        ("grid_size", "int32.gte"),
        ("steps", "int32.gte"),
        ("alpha", "double.gt_lte"),
        ("spike_probability", "double.gte_lte"),
    ]


def test_a_list_of_a_million_bad_items_is_one_short_violation() -> None:
    header = v1.AnalyzeFieldHeader(shape=[0] * 1_000_000, encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN)
    (found,) = violations(v1.AnalyzeFieldRequest(header=header))
    assert found.message.startswith("got 1000000 items, must be two numbers")


def test_no_request_has_a_rule_for_each_item_of_a_list() -> None:
    # A rule for each item makes one violation an item; only a rule for the list as a whole is bounded.
    for type_ in (*_REQUESTS, *_PARTS):
        for field in type_.DESCRIPTOR.fields:
            if field.is_repeated:
                message = type_()
                kind: Any = field.message_type
                many = getattr(message, field.name)
                if kind is not None and kind.GetOptions().map_entry:
                    many.update({f"P-{k}": math.nan for k in range(1000)})
                elif kind is not None:
                    many.extend([GetMessageClass(kind)()] * 1000)
                else:
                    many.extend([""] * 1000 if field.type == field.TYPE_STRING else [0] * 1000)
                assert len([v for v in violations(message) if v.field.startswith(field.name)]) <= 1


def test_checking_does_not_change_the_message() -> None:
    message = mfn_pb2.FeatureRequest(alpha=0.3, grid_size=0)
    before = message.SerializeToString(deterministic=True)
    violations(message)
    assert message.SerializeToString(deterministic=True) == before


def test_a_message_without_rules_has_no_violations() -> None:
    assert violations(mfn_pb2.FeatureResponse(fractal_dimension=math.nan)) == ()
    assert violations(Duration(seconds=-1)) == ()


@pytest.mark.parametrize("value", [None, b"", {"alpha": 0.3}, mfn_pb2.FeatureRequest])
def test_what_is_no_message_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        violations(value)


def test_a_violation_is_a_frozen_value() -> None:
    (found,) = violations(mfn_pb2.FeatureRequest(alpha=0.3))
    with pytest.raises(AttributeError):
        found.field = "beta"  # type: ignore[misc]  # that it is refused is the point
    assert pickle.loads(pickle.dumps(found)) == found
    assert found == Violation(field="alpha", message=found.message, rule_id="double.gt_lte")


def test_preparing_is_safe_to_do_twice() -> None:
    prepare(*_REQUESTS)
    prepare(*_REQUESTS)
    assert violations(mfn_pb2.FeatureRequest(alpha=0.3))


def test_one_validator_serves_threads_that_start_at_once() -> None:
    code = """if True:
        import threading
        import protovalidate
        made = []
        original = protovalidate.Validator
        def counted():
            made.append(1)
            return original()
        protovalidate.Validator = counted
        from mfn_proto.mfn_pb2 import FeatureRequest
        from mfn_proto.validation import violations
        barrier, results = threading.Barrier(8), []
        def check():
            barrier.wait()
            results.append(violations(FeatureRequest(alpha=0.3)))
        threads = [threading.Thread(target=check) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(made) == 1, made
        assert len(results) == 8 and len(set(results)) == 1, results
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_threads_that_check_different_messages_do_not_disturb_each_other() -> None:
    barrier = threading.Barrier(4)

    def check(make: Callable[[], Message], expected: list[str]) -> bool:
        barrier.wait()
        return all([found.field for found in violations(make())] == expected for _ in range(500))

    jobs: list[tuple[Callable[[], Message], list[str]]] = [
        (lambda: mfn_pb2.FeatureRequest(alpha=0.3), ["alpha"]),
        (lambda: mfn_pb2.FeatureRequest(alpha=0.2), []),
        (lambda: v1.ChangeCommand(), [""]),
        (lambda: v1.SteerSimulationRequest(stop=v1.StopCommand()), []),
    ]
    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda job: check(*job), jobs))


@given(data=st.binary(max_size=256), type_=st.sampled_from((*_REQUESTS, *_PARTS)))
def test_bytes_that_parse_as_a_request_never_make_the_check_raise(data: bytes, type_: type[Message]) -> None:
    try:
        message = type_.FromString(data)
    except DecodeError:
        return
    assert isinstance(violations(message), tuple)


_number = st.one_of(st.floats(), st.sampled_from(_NOT_FINITE))
_int32 = st.integers(_INT32_MIN, _INT32_MAX)


@given(
    request_id=st.text(max_size=200),
    seed=st.none() | _int32,
    grid_size=st.none() | _int32,
    steps=st.none() | _int32,
    alpha=st.none() | _number,
    spike_probability=st.none() | _number,
)
def test_the_fields_named_are_exactly_those_beyond_the_bounds(
    request_id: str,
    seed: int | None,
    grid_size: int | None,
    steps: int | None,
    alpha: float | None,
    spike_probability: float | None,
) -> None:
    message = mfn_pb2.SimulationRequest(
        request_id=request_id,
        seed=seed,
        grid_size=grid_size,
        steps=steps,
        alpha=alpha,
        spike_probability=spike_probability,
    )
    bounds = {
        "request_id": len(request_id.encode()) <= 128,
        "seed": seed is None or seed >= 0,
        "grid_size": grid_size is None or grid_size >= 1,
        "steps": steps is None or steps >= 0,
        "alpha": alpha is None or 0 < alpha <= 0.25,
        "spike_probability": spike_probability is None or 0 <= spike_probability <= 1,
    }
    assert {found.field for found in violations(message)} == {name for name, holds in bounds.items() if not holds}
