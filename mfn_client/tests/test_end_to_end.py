"""The client against the server itself: a process of its own, with its standard parts."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mfn_client import (
    Acknowledgement,
    Code,
    Credentials,
    Frame,
    MFNClient,
    MFNClientSync,
    MfnRpcError,
    ServingStatus,
    SessionEnded,
    SessionEndReason,
)
from mfn_signing import generate_key, write_keys_file

PLUGINS = ("engine_numpy", "service_mfn", "transport_grpc", "auth_hmac")
MISSING = [name for name in PLUGINS if name not in {point.name for point in entry_points(group="mfn.plugins.v1")}]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"a server needs these plugins as well: {', '.join(MISSING)}")

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    process = pytest.importorskip("mfn_core.testing.process", reason="a server needs the kernel, mfn-core")
    directory = tmp_path_factory.mktemp("server")
    write_keys_file(directory / "keys.toml", [generate_key(principal="lab", roles={"write"}, key_id="lab-1")])
    tables = {
        "server": {"plugins": list(PLUGINS), "max_grid": 256},
        "transports": {"grpc": {"listen": "127.0.0.1:0"}},
        "auth": {"hmac": {"keys_file": "keys.toml"}},
    }
    with process.ServerProcess(tables, directory) as running:
        yield running


@pytest.fixture
async def client(served: Any) -> AsyncIterator[MFNClient]:
    credentials = Credentials.from_keys_file(served.directory / "keys.toml", "lab-1")
    async with MFNClient(served.address("grpc"), credentials=credentials) as client:
        yield client


async def test_features_are_the_documented_numbers(client: MFNClient) -> None:
    features, summary = await asyncio.gather(client.extract_features(), client.run_simulation())
    for result in (features, summary):
        assert result.growth_events == 14
        assert result.fractal_dimension == 0.0
        assert result.pot_min_mv == pytest.approx(-70.70938698488536, rel=1e-12)
        assert result.pot_max_mv == pytest.approx(-67.30757873491174, rel=1e-12)
        assert result.pot_mean_mv == pytest.approx(-70.03076248064738, rel=1e-12)
        assert result.pot_std_mv == pytest.approx(0.3302476077214526, rel=1e-12)
        assert result.server.keys() >= {"server", "version"}


async def test_the_last_frame_of_each_stream_is_the_unary_result(client: MFNClient) -> None:
    whole = await client.extract_features(steps=25, grid_size=16)
    frames = [frame async for frame in client.stream_features(total_steps=25, grid_size=16)]
    shorter = [frame async for frame in client.stream_simulation(total_steps=25, grid_size=16)]
    assert [frame.step for frame in frames] == [frame.step for frame in shorter] == [10, 20, 25]
    assert [frame.is_final for frame in frames] == [False, False, True]
    for name in ("growth_events", "pot_min_mv", "pot_max_mv", "pot_mean_mv", "pot_std_mv"):
        assert getattr(frames[-1], name) == getattr(shorter[-1], name) == getattr(whole, name)
    assert frames[-1].fractal_dimension == whole.fractal_dimension


async def test_frames_carry_the_field_that_analysis_measures_alike(client: MFNClient) -> None:
    frames = [frame async for frame in client.simulate(grid_size=32, steps=15, jitter=True, field="float64")]
    assert [frame.step for frame in frames] == [10, 15]
    last = frames[-1]
    assert last.field is not None
    assert last.statistics.mean_volts == pytest.approx(float(last.field.mean()), rel=1e-12)
    measured = await client.analyze_field(last.field)
    assert measured.statistics == last.statistics
    assert measured.dimension == last.dimension
    assert measured.dimension.value is not None
    assert measured.fractal_dimension == last.fractal_dimension
    assert measured.active_fraction == float(np.mean(last.field > -0.060))
    rounded = [frame async for frame in client.simulate(grid_size=32, steps=15, jitter=True, field="float32")][-1]
    np.testing.assert_array_equal(rounded.field, last.field.astype(np.float32))


async def test_a_large_field_is_uploaded_in_many_messages(client: MFNClient) -> None:
    field = np.random.default_rng(1).normal(-0.07, 0.005, (256, 256))
    measured = await client.analyze_field(field, threshold_volts=-0.07)
    assert measured.statistics.std_mv == pytest.approx(float(field.std()) * 1000, rel=1e-12)
    assert measured.active_fraction == float(np.mean(field > -0.07))


async def test_a_field_of_any_model_and_shape_is_measured_with_its_features(client: MFNClient) -> None:
    frames = [
        frame
        async for frame in client.simulate(
            model="gray_scott", grid_size=32, steps=20, every_n_steps=20, field="float64", threshold=0.1
        )
    ]
    (frame,) = frames
    assert frame.field is not None
    assert (frame.unit, frame.species[0].statistics.name) == ("1", "autocatalyst")
    measured = await client.analyze_field(frame.field[:, :20], unit="1", threshold=0.1, features=True)
    assert measured.values is not None
    assert measured.values.mean == pytest.approx(float(frame.field[:, :20].mean()), rel=1e-12)
    assert len(measured.features) == 23
    assert measured.dimensions[0].name == "nested_boxes"


async def test_models_are_told_and_their_parameters_steered_by_name(client: MFNClient) -> None:
    models = {model.name: model for model in await client.list_models()}
    assert {"mycelium", "mycelium_rd", "gray_scott"} <= models.keys()
    model = await client.describe_model("gray_scott")
    assert model == models["gray_scott"]
    assert (model.computed, model.potential) == (True, False)
    async with client.steer(model="gray_scott", grid_size=16, total_steps=None, parameters={"seeds": 2}) as session:
        async for event in session:
            if isinstance(event, Frame) and event.step == 10:
                await session.change(parameters={"feed": 0.05, "kill": 0.06})
                await session.inject(3, 4, amplitude=0.5)
            if isinstance(event, Frame) and event.step == 30:
                await session.stop()
    assert session.ended is not None
    assert session.ended.reason is SessionEndReason.STOPPED


async def test_trainings_and_runs_of_both_packages_have_the_documented_numbers(client: MFNClient) -> None:
    trained = await client.validate_pattern(grid_size=16, steps=8)
    assert (trained.loss_start, trained.loss_final) == pytest.approx((2.4444620609283447, 1.8212947845458984), abs=2e-6)
    short = await client.validate(grid_size=16)
    same = await client.validate_pattern(grid_size=16)
    assert (short.loss_start, short.loss_final) == (same.loss_start, same.loss_final)
    history = await client.simulate_history(grid_size=16, steps=20)
    updates = [update async for update in client.stream_history(grid_size=16, steps=20)]
    assert [update.pot_mean_mv for update in updates] == [volts * 1000.0 for volts in history.mean_volts]
    assert updates[-1].growth_events == history.growth_events
    named = await client.extract_features(model="mycelium_turing", grid_size=16, steps=5, parameters={"leak": 0.01})
    assert named.pot_mean_mv < -60.0


async def test_gradients_are_combined_whole_or_in_one_message(client: MFNClient) -> None:
    gradients = np.random.default_rng(4).normal(1.0, 0.1, (20, 1000))
    gradients[16:] = -1000.0
    median = await client.aggregate_gradients(gradients, method="coordinate_median")
    np.testing.assert_allclose(median.gradient, np.median(gradients, axis=0), rtol=1e-12)
    krum = await client.aggregate_gradients(gradients.astype(np.float32), method="krum", byzantine=4)
    assert set(krum.accepted) <= set(range(16))
    assert krum.gradient.dtype == np.float32
    one = await client.aggregate_federated(gradients[:, :50], num_clusters=4)
    many = await client.aggregate_gradients(gradients[:, :50], method="hierarchical_krum", num_clusters=4)
    np.testing.assert_array_equal(one.gradient, many.gradient)
    assert (one.accepted, one.rejected) == (len(many.accepted), len(many.rejected))
    gradients[3, 7] = np.nan
    with pytest.raises(MfnRpcError) as caught:
        await client.aggregate_gradients(gradients, method="krum", byzantine=4)
    assert [violation.field for violation in caught.value.violations] == ["gradients[3]"]


async def test_every_field_at_fault_is_named(client: MFNClient) -> None:
    with pytest.raises(MfnRpcError) as caught:
        await client.extract_features(alpha=9.0, grid_size=100_000, steps=-1, request_id="mine")
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert {violation.field for violation in caught.value.violations} == {"alpha", "grid_size", "steps"}
    assert caught.value.request_id == "mine"


async def test_a_stranger_is_unauthenticated_in_every_shape(served: Any) -> None:
    stranger = Credentials(key_id="lab-1", secret=bytes(32))
    async with MFNClient(served.address("grpc"), credentials=stranger) as client:

        async def steered() -> None:
            async with client.steer():
                raise AssertionError("it opened")

        for call in (
            client.extract_features(),
            anext(client.simulate()),
            client.analyze_field(np.zeros((4, 4))),
            steered(),
        ):
            with pytest.raises(MfnRpcError) as caught:
                await call
            assert caught.value.code is Code.UNAUTHENTICATED


async def test_a_session_is_steered(client: MFNClient) -> None:
    async with client.steer(grid_size=16, total_steps=None, every_n_steps=5) as session:
        first = await anext(session)
        assert isinstance(first, Frame)
        commands = [
            await session.pause(),
            await session.change(spike_probability=0.0),
            await session.inject(3, 4, 0.1),
            await session.stop(),
        ]
        events = [event async for event in session]
    acknowledged = [event for event in events if isinstance(event, Acknowledgement)]
    assert [event.sequence for event in acknowledged] == commands
    assert len({event.step for event in acknowledged}) == 1  # paused, it made no further step
    last, ended = events[-2:]
    assert isinstance(last, Frame)
    assert last.is_final
    assert last.statistics.max_volts > -0.06
    assert ended == SessionEnded(reason=SessionEndReason.STOPPED, step=last.step)


async def test_a_session_that_was_broken_off_goes_on_as_if_nothing_had_happened(client: MFNClient) -> None:
    options: Any = {"every_n_steps": 5, "max_frames_per_second": 40.0, "field": "float64"}
    async with client.steer(grid_size=16, total_steps=400, **options) as session:
        await session.pause()
        async for event in session:
            if isinstance(event, Acknowledgement):
                break
        session.detach()
    async with client.resume(session.session_id, session.last_step) as again:
        assert again.opened_paused
        assert again.opened_at_step >= session.last_step
        await again.resume()
        frames = [event async for event in again if isinstance(event, Frame)]
    assert again.ended == SessionEnded(reason=SessionEndReason.COMPLETED, step=400)
    whole = [frame async for frame in client.simulate(grid_size=16, steps=400, every_n_steps=400, field="float64")]
    assert frames[-1].field is not None
    assert whole[-1].field is not None
    assert frames[-1].field.tobytes() == whole[-1].field.tobytes()


async def steered_run(client: MFNClient, cut: Callable[[], None]) -> tuple[int, bytes]:
    """Hold a run near its beginning, steer it there while the connection is cut, and let it go on to its end.

    Returns:
        the step at which it was held, and the last field.
    """
    # Paced, so that it is held long before its end; and almost always at the second step.
    options: Any = {"total_steps": 8, "every_n_steps": 1, "max_frames_per_second": 4.0}
    async with client.steer(grid_size=16, jitter=True, field="float64", **options) as session:
        events: list[Any] = [await anext(session)]
        assert await session.pause() == 2
        while not isinstance(events[-1], Acknowledgement):
            events.append(await anext(session))
        held = events[-1].step
        cut()
        for row in range(8):
            await session.inject(row, row, 0.05)
        await session.change(alpha=0.1)
        cut()
        await session.resume()
        events += [event async for event in session]
    acknowledged = [event for event in events if isinstance(event, Acknowledgement)]
    assert [each.sequence for each in acknowledged] == list(range(2, 13))
    assert {each.step for each in acknowledged} == {held}
    steps = [each.step for each in events if isinstance(each, Frame)]
    assert steps == sorted(steps)
    assert session.ended == SessionEnded(reason=SessionEndReason.COMPLETED, step=8)
    last = next(each for each in reversed(events) if isinstance(each, Frame))
    assert last.field is not None
    return held, last.field.tobytes()


async def test_a_session_whose_connection_breaks_goes_on_as_if_nothing_had_happened(
    client: MFNClient, served: Any, cutting: Any
) -> None:
    proxy = await cutting(served.address("grpc"))
    credentials = Credentials.from_keys_file(served.directory / "keys.toml", "lab-1")
    async with MFNClient(proxy.address, credentials=credentials) as through:
        held, field = await steered_run(through, proxy.cut)
    assert proxy.connections > 1
    for _ in range(10):
        at, undisturbed = await steered_run(client, lambda: None)
        if at == held:  # the same commands at the same step
            assert undisturbed == field
            return
    pytest.fail(f"no run was held at step {held}")


async def test_a_potential_is_computed_and_the_server_is_healthy(client: MFNClient) -> None:
    potential = await client.nernst(z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.140)
    assert potential == pytest.approx(-89.01066911987907, rel=1e-12)
    assert await client.health_check() is ServingStatus.SERVING
    assert await client.health_check("mfn.v1.FieldService") is ServingStatus.SERVING
    with pytest.raises(MfnRpcError) as caught:
        await client.health_check("nobody.has.this")
    assert caught.value.code is Code.NOT_FOUND


def test_a_program_without_an_event_loop_has_the_same_numbers(served: Any) -> None:
    credentials = Credentials.from_keys_file(served.directory / "keys.toml", "lab-1")
    with MFNClientSync(served.address("grpc"), credentials=credentials) as client:
        features = client.extract_features()
        assert features.pot_mean_mv == pytest.approx(-70.03076248064738, rel=1e-12)
        *_, last = client.stream_features(total_steps=64)
        assert last.pot_mean_mv == features.pot_mean_mv
        with client.steer(grid_size=16, total_steps=20) as session:
            assert [event for event in session if isinstance(event, SessionEnded)] == [session.ended]


def test_any_method_is_called_from_the_command_line_by_what_the_server_says_of_itself(served: Any) -> None:
    from click.testing import CliRunner

    from mfn_client.commands.call import call

    def run(*arguments: str, status: int = 0) -> list[Any]:
        keys = str(served.directory / "keys.toml")
        result = CliRunner().invoke(call, [*arguments, "-a", served.address("grpc"), "--keys-file", keys])
        assert result.exit_code == status, result.output
        return [json.loads(line) for line in result.stdout.splitlines()] if status == 0 else [result.stderr]

    (features,) = run(
        "ExtractFeatures", "-d", '{"seed": 42, "steps": 64, "spike_probability": 0.25, "turing_enabled": true}'
    )
    assert features["growth_events"] == 14
    assert [frame["step"] for frame in run("StreamSimulation", "-d", '{"total_steps": 25, "grid_size": 8}')] == [
        10,
        20,
        25,
    ]
    header = {"header": {"shape": [2, 2], "encoding": "FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN"}}
    chunk = {"chunk": base64.b64encode(np.array([0.0, -0.07, -0.07, -0.07]).tobytes()).decode()}
    (analysis,) = run("AnalyzeField", "-d", json.dumps(header) + json.dumps(chunk))
    assert analysis["active_fraction"] == 0.25
    events = run("SteerSimulation", "-d", '{"start": {"total_steps": 20, "simulation": {"grid_size": 8}}}')
    assert [next(iter(event)) for event in events] == ["started", "frame", "frame", "ended"]
    (refused,) = run("ExtractFeatures", "-d", '{"alpha": 9, "seed": -1}', status=1)
    assert refused.startswith("INVALID_ARGUMENT")
    assert "  alpha: " in refused
    assert "  seed: " in refused


async def test_a_session_that_does_not_exist_is_not_found(client: MFNClient) -> None:
    with pytest.raises(MfnRpcError) as caught:
        async with client.resume("nobody-has-this"):
            raise AssertionError("it opened")
    assert caught.value.code is Code.NOT_FOUND


def test_the_example_of_the_readme_runs(served: Any) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (PROJECT / "mfn_client" / "README.md").read_text(), re.S)[:1]
    code = code.replace("127.0.0.1:50051", served.address("grpc"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=served.directory, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "14 growth events" in done.stdout
    assert "STOPPED" in done.stdout


EXAMPLE = PROJECT / "examples" / "client.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="the examples are not part of this tree")
def test_the_example_program_calls_a_server(served: Any) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", str(EXAMPLE), *arguments],
            cwd=served.directory,
            capture_output=True,
            text=True,
        )

    done = run(served.address("grpc"), "--keys", "keys.toml", "--key-id", "lab-1")
    assert done.returncode == 0, done.stderr
    assert "-70.0308" in done.stdout
    assert len(re.findall(r"^step +\d+", done.stdout, re.M)) == 10
    refused = run(served.address("grpc"), "--keys", "keys.toml", "--key-id", "lab-1", "--alpha", "9")
    assert refused.returncode == 1
    assert "alpha" in refused.stderr
    assert "Traceback" not in refused.stderr
    absent = run(served.address("grpc"), "--keys", "none.toml", "--key-id", "lab-1")
    assert absent.returncode == 1
    assert "none.toml" in absent.stderr
    assert "Traceback" not in absent.stderr
