"""What the typed methods send, and what they make of the replies."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import numpy as np
import pytest

from mfn_client import BoxCount, Dimension, FeatureFrame, Features, FieldStatistics, MFNClient, MfnRpcError
from mfn_proto import mfn_pb2
from mfn_proto.v1 import field_pb2
from mfn_signing import HEADERS, NONCE_HEADER, parse_nonce

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
RUN = "/mfn.MFNSimulationService/RunSimulation"
STREAM_SIMULATION = "/mfn.MFNSimulationService/StreamSimulation"
SIMULATE = "/mfn.v1.FieldService/Simulate"
ANALYZE = "/mfn.v1.FieldService/AnalyzeField"

DIMENSION = field_pb2.FractalDimension(
    value=1.5, r_squared=0.99, scales=[field_pb2.BoxCount(box_size=2, occupied_boxes=9)]
)
STATISTICS = field_pb2.FieldStatistics(min_volts=-0.072, max_volts=-0.061, mean_volts=-0.07, std_volts=0.001)


def echoing(reply: Any) -> Any:
    """A handler that replies with one message, which carries the request's id in its first field."""

    async def handle(call: Any) -> None:
        request = mfn_pb2.FeatureRequest.FromString(call.first)  # the id is field 1 of every request
        message = type(reply)()
        message.CopyFrom(reply)
        message.request_id = request.request_id
        await call.write(message)

    return handle


async def test_a_feature_request_carries_every_field_with_the_defaults(server: Any, client: MFNClient) -> None:
    server.serve(EXTRACT, echoing(mfn_pb2.FeatureResponse()))
    server.serve(RUN, echoing(mfn_pb2.SimulationResult()))
    await client.extract_features()
    await client.run_simulation()
    for call, kind in zip(server.calls, (mfn_pb2.FeatureRequest, mfn_pb2.SimulationRequest), strict=True):
        request = kind.FromString(call.first)
        assert request == kind(
            request_id=request.request_id,
            seed=42,
            grid_size=64,
            steps=64,
            alpha=0.18,
            spike_probability=0.25,
            turing_enabled=True,
        )
        assert uuid.UUID(request.request_id).version == 4


async def test_a_stream_request_carries_every_field_with_the_defaults(server: Any, client: MFNClient) -> None:
    server.serve(STREAM_FEATURES, echoing(mfn_pb2.FeatureFrame(is_final=True)))
    server.serve(STREAM_SIMULATION, echoing(mfn_pb2.SimulationFrame(is_final=True)))
    assert len([frame async for frame in client.stream_features()]) == 1
    assert len([frame async for frame in client.stream_simulation()]) == 1
    for call, kind in zip(server.calls, (mfn_pb2.FeatureStreamRequest, mfn_pb2.SimulationStreamRequest), strict=True):
        request = kind.FromString(call.first)
        assert request == kind(
            request_id=request.request_id,
            seed=42,
            grid_size=64,
            total_steps=100,
            steps_per_frame=10,
            alpha=0.18,
            spike_probability=0.25,
            turing_enabled=True,
        )


async def test_the_pace_of_a_stream_is_sent_where_one_is_asked_for(server: Any, client: MFNClient) -> None:
    server.serve(STREAM_FEATURES, echoing(mfn_pb2.FeatureFrame(is_final=True)))
    server.serve(STREAM_SIMULATION, echoing(mfn_pb2.SimulationFrame(is_final=True)))
    assert len([frame async for frame in client.stream_features(max_frames_per_second=25.0)]) == 1
    assert len([frame async for frame in client.stream_simulation(max_frames_per_second=0.0)]) == 1
    features, simulation = server.calls
    assert mfn_pb2.FeatureStreamRequest.FromString(features.first).max_frames_per_second == 25.0
    assert mfn_pb2.SimulationStreamRequest.FromString(simulation.first).HasField("max_frames_per_second")


async def test_zeros_are_sent_as_zeros(server: Any, client: MFNClient) -> None:
    server.serve(EXTRACT, echoing(mfn_pb2.FeatureResponse()))
    await client.extract_features(
        seed=0, grid_size=0, steps=0, alpha=0.0, spike_probability=0.0, turing_enabled=False, request_id="zero"
    )
    request = mfn_pb2.FeatureRequest.FromString(server.calls[0].first)
    for name in ("seed", "grid_size", "steps", "alpha", "spike_probability"):
        assert request.HasField(name), name
        assert getattr(request, name) == 0
    assert request.turing_enabled is False
    assert request.request_id == "zero"


async def test_a_simulate_request_carries_every_field_with_the_defaults(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        request = field_pb2.SimulateRequest.FromString(call.first)
        await call.write(field_pb2.SimulateResponse(frame=field_pb2.Frame(request_id=request.request_id)))

    server.serve(SIMULATE, handle)
    assert len([frame async for frame in client.simulate(request_id="r")]) == 1
    assert field_pb2.SimulateRequest.FromString(server.calls[0].first) == field_pb2.SimulateRequest(
        request_id="r",
        simulation=field_pb2.SimulationSpec(
            model="mycelium",
            grid_size=64,
            seed=42,
            mycelium=field_pb2.MyceliumParameters(
                alpha=0.18, spike_probability=0.25, turing_enabled=True, jitter=False
            ),
        ),
        steps=64,
        frames=field_pb2.FrameOptions(
            every_n_steps=10, max_frames_per_second=0.0, field_encoding=field_pb2.FIELD_ENCODING_NONE
        ),
    )


async def test_features_are_typed_and_in_millivolts(server: Any, client: MFNClient) -> None:
    reply = mfn_pb2.FeatureResponse(
        meta=mfn_pb2.ResponseMeta(meta={"server": "mfn", "version": "9"}),
        fractal_dimension=1.25,
        pot_min_mV=-72.0,
        pot_max_mV=-61.0,
        pot_mean_mV=-70.5,
        pot_std_mV=0.5,
        growth_events=14,
    )
    server.serve(EXTRACT, echoing(reply))
    assert await client.extract_features(request_id="mine") == Features(
        request_id="mine",
        fractal_dimension=1.25,
        growth_events=14,
        pot_min_mv=-72.0,
        pot_max_mv=-61.0,
        pot_mean_mv=-70.5,
        pot_std_mv=0.5,
        server={"server": "mfn", "version": "9"},
    )


async def test_frames_come_in_order_until_the_stream_ends(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        request = mfn_pb2.FeatureStreamRequest.FromString(call.first)
        for step in (10, 20, 25):
            await call.write(mfn_pb2.FeatureFrame(request_id=request.request_id, step=step, is_final=step == 25))

    server.serve(STREAM_FEATURES, handle)
    stream = client.stream_features(total_steps=25)
    frames = [frame async for frame in stream]
    assert [(frame.step, frame.is_final) for frame in frames] == [(10, False), (20, False), (25, True)]
    assert {type(frame) for frame in frames} == {FeatureFrame}
    assert {frame.request_id for frame in frames} == {stream.request_id}
    assert [frame async for frame in stream] == []


@pytest.mark.parametrize("dtype", ["float64", "float32"])
async def test_a_frame_carries_its_field_exactly_and_read_only(server: Any, client: MFNClient, dtype: Any) -> None:
    sent = np.random.default_rng(1).normal(-0.07, 0.005, (5, 5)).astype(dtype)

    async def handle(call: Any) -> None:
        request = field_pb2.SimulateRequest.FromString(call.first)
        encoding = request.frames.field_encoding
        await call.write(
            field_pb2.SimulateResponse(
                frame=field_pb2.Frame(
                    request_id=request.request_id,
                    step=64,
                    is_final=True,
                    statistics=STATISTICS,
                    growth_events=3,
                    dimension=DIMENSION,
                    fractal_dimension=1.4,
                    field=field_pb2.Field(data=sent.tobytes(), encoding=encoding, shape=[5, 5], unit="V"),
                )
            )
        )

    server.serve(SIMULATE, handle)
    (frame,) = [frame async for frame in client.simulate(field=dtype)]
    assert frame.field is not None
    assert frame.field.dtype == np.dtype(dtype)
    assert frame.field.tobytes() == sent.tobytes()
    assert not frame.field.flags.writeable
    assert frame.statistics == FieldStatistics(min_volts=-0.072, max_volts=-0.061, mean_volts=-0.07, std_volts=0.001)
    assert frame.statistics.mean_mv == pytest.approx(-70.0)
    assert frame.dimension == Dimension(
        value=1.5, reason="", r_squared=0.99, scales=(BoxCount(box_size=2, occupied_boxes=9),)
    )
    assert (frame.step, frame.is_final, frame.growth_events, frame.fractal_dimension) == (64, True, 3, 1.4)


async def test_an_undefined_dimension_is_none_with_its_reason(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        request = field_pb2.SimulateRequest.FromString(call.first)
        dimension = field_pb2.FractalDimension(reason="the mask is empty")
        await call.write(
            field_pb2.SimulateResponse(frame=field_pb2.Frame(request_id=request.request_id, dimension=dimension))
        )

    server.serve(SIMULATE, handle)
    (frame,) = [frame async for frame in client.simulate()]
    assert frame.dimension == Dimension(value=None, reason="the mask is empty", r_squared=None, scales=())
    assert frame.field is None


async def analyzed(server: Any) -> list[field_pb2.AnalyzeFieldRequest]:
    """Serve AnalyzeField; the list holds what the last caller uploaded."""
    uploaded: list[field_pb2.AnalyzeFieldRequest] = []

    async def handle(call: Any) -> None:
        uploaded[:] = [field_pb2.AnalyzeFieldRequest.FromString(raw) for raw in await call.read_all()]
        header = uploaded[0].header
        await call.write(
            field_pb2.AnalyzeFieldResponse(
                request_id=header.request_id,
                statistics=STATISTICS,
                dimension=DIMENSION,
                fractal_dimension=1.4,
                active_fraction=0.25,
                threshold_volts=header.threshold_volts,
            )
        )

    server.serve(ANALYZE, handle)
    return uploaded


@pytest.mark.parametrize(
    ("field", "dtype"),
    [
        (np.full((300, 300), -0.07), "<f8"),
        (np.full((300, 300), -0.07, dtype=np.float32), "<f4"),
        (np.full((300, 300), -0.07, dtype=">f8"), "<f8"),
        (np.full((4, 4), -0.07, dtype=np.float16), "<f8"),
        (np.arange(16).reshape(4, 4), "<f8"),
        (np.arange(64.0).reshape(8, 8)[::2, ::2], "<f8"),
        (np.arange(16.0).reshape(4, 4).T, "<f8"),
        ([[1.0, 2.0], [3.0, 4.0]], "<f8"),
    ],
)
async def test_a_field_is_uploaded_whole_in_bounded_chunks(
    server: Any, client: MFNClient, field: Any, dtype: str
) -> None:
    uploaded = await analyzed(server)
    result = await client.analyze_field(field, threshold_volts=-0.065)
    header, chunks = uploaded[0].header, [message.chunk for message in uploaded[1:]]
    assert list(header.shape) == list(np.shape(field))
    assert header.unit == "V"
    assert header.encoding == (2 if dtype == "<f8" else 3)
    assert all(0 < len(chunk) <= 256 * 1024 for chunk in chunks)
    np.testing.assert_array_equal(np.frombuffer(b"".join(chunks), dtype).reshape(header.shape), field)
    assert (result.threshold_volts, result.active_fraction, result.fractal_dimension) == (-0.065, 0.25, 1.4)
    assert result.request_id == header.request_id
    assert result.dimension.value == 1.5


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (np.zeros(4), "two dimensions, rows and columns, got an array of shape (4,)"),
        (np.zeros((2, 2, 2)), "two dimensions"),
        (np.zeros((2, 2), dtype=complex), "real numbers in volts, or levels, got an array of complex128"),
        ([["a", "b"]], "real numbers in volts"),
        (np.ma.masked_less([[1.0, -9.0], [2.0, -9.0]], 0.0), "2 of 4 cells masked; say what stands there with .filled"),
    ],
)
async def test_what_is_no_field_is_refused_before_a_call(server: Any, client: MFNClient, field: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"a field") as caught:
        await client.analyze_field(field)
    assert said in str(caught.value)
    assert server.calls == []


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"seed": 2**31}, ValueError, "seed cannot be sent as 2147483648"),
        ({"steps": "64"}, TypeError, "steps cannot be sent as '64'"),
        ({"alpha": "much"}, TypeError, "alpha cannot be sent as 'much'"),
        ({"model": 7}, TypeError, "model cannot be sent as 7"),
        ({"parameters": {"leak": "much"}}, TypeError, r"parameters\['leak'\] cannot be sent as 'much'"),
        ({"request_id": "\ud800"}, ValueError, "request_id cannot be sent as"),
    ],
)
async def test_a_value_that_no_message_can_carry_is_named(
    server: Any, client: MFNClient, arguments: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        await client.extract_features(**arguments)
    assert server.calls == []


async def test_an_unknown_dtype_is_refused(client: MFNClient) -> None:
    with pytest.raises(ValueError, match="field must be 'float64', 'float32' or None, got 'int8'"):
        client.simulate(field="int8")  # type: ignore[arg-type] # the point of the test


async def test_every_call_is_signed_afresh_with_the_nonces_of_one_source(server: Any, client: MFNClient) -> None:
    server.serve(EXTRACT, echoing(mfn_pb2.FeatureResponse()))
    server.serve(STREAM_FEATURES, echoing(mfn_pb2.FeatureFrame()))
    await analyzed(server)
    for _ in range(2):
        await client.extract_features()
        assert [frame async for frame in client.stream_features()]
        await client.analyze_field(np.zeros((2, 2)))
    nonces = [parse_nonce(call.header(NONCE_HEADER)) for call in server.calls]
    assert len(nonces) == 6
    assert len({nonce.instance for nonce in nonces}) == 1
    assert [nonce.counter for nonce in nonces] == [1, 2, 3, 4, 5, 6]
    assert [call.header("x-mfn-content-sha256") == "STREAM" for call in server.calls] == [False, False, True] * 2


async def test_a_stream_that_is_never_read_makes_no_call_and_uses_no_nonce(server: Any, client: MFNClient) -> None:
    server.serve(EXTRACT, echoing(mfn_pb2.FeatureResponse()))
    client.stream_features()
    async with client.simulate():
        pass
    await client.extract_features()
    (call,) = server.calls
    assert parse_nonce(call.header(NONCE_HEADER)).counter == 1


async def test_without_credentials_nothing_is_signed(server: Any) -> None:
    server.secret = None
    server.serve(EXTRACT, echoing(mfn_pb2.FeatureResponse()))
    async with MFNClient(server.address) as client:
        await client.extract_features()
    assert not {key for key, _ in server.calls[0].metadata} & set(HEADERS)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reply_to_another_request_is_an_error(server: Any, client: MFNClient, streamed: bool) -> None:
    async def handle(call: Any) -> None:
        await call.write(mfn_pb2.FeatureResponse(request_id="another's"))

    server.serve(EXTRACT, handle)
    server.serve(STREAM_FEATURES, handle)
    call = anext(client.stream_features()) if streamed else client.extract_features()
    with pytest.raises(MfnRpcError, match='it answers request "another\'s"') as caught:
        await call
    assert caught.value.code == "INTERNAL"


@pytest.mark.parametrize(
    "field",
    [
        field_pb2.Field(data=bytes(31), encoding=2, shape=[2, 2]),
        field_pb2.Field(data=bytes(32), encoding=3, shape=[2, 2]),
        field_pb2.Field(data=bytes(32), encoding=2, shape=[4]),
        field_pb2.Field(data=bytes(32), encoding=1, shape=[2, 2]),
        field_pb2.Field(data=bytes(32), encoding=77, shape=[2, 2]),
    ],
    ids=["short", "long", "shape", "none", "unknown"],
)
async def test_a_field_that_does_not_fit_its_description_is_an_error(
    server: Any, client: MFNClient, field: field_pb2.Field
) -> None:
    async def handle(call: Any) -> None:
        request = field_pb2.SimulateRequest.FromString(call.first)
        await call.write(field_pb2.SimulateResponse(frame=field_pb2.Frame(request_id=request.request_id, field=field)))

    server.serve(SIMULATE, handle)
    with pytest.raises(MfnRpcError, match="the server's reply breaks the contract: a field of") as caught:
        await anext(client.simulate())
    assert caught.value.code == "INTERNAL"


async def test_bytes_that_are_no_message_are_an_error(server: Any, client: MFNClient) -> None:
    async def handle(call: Any) -> None:
        await call.write(b"\xff\xff\xff")

    server.serve(EXTRACT, handle)
    with pytest.raises(MfnRpcError, match=r"3 bytes are no mfn\.FeatureResponse"):
        await client.extract_features()


def test_every_call_takes_a_request_id_and_a_timeout_and_everything_by_name() -> None:
    methods = [
        MFNClient.extract_features,
        MFNClient.stream_features,
        MFNClient.run_simulation,
        MFNClient.stream_simulation,
        MFNClient.simulate,
        MFNClient.analyze_field,
        MFNClient.steer,
    ]
    for method in methods:
        parameters = dict(inspect.signature(method).parameters)
        del parameters["self"]
        parameters.pop("field", None)
        assert {"request_id", "timeout"} <= parameters.keys()
        assert {parameter.kind for parameter in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
