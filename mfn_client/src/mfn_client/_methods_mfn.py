"""Methods of package `mfn`: features, simulations, and the validation training."""

from __future__ import annotations

from typing import Any

from mfn_client import _replies
from mfn_client._caller import Caller
from mfn_client._requests import HISTORIC, Parameters, filled, named_parameters, new_request_id
from mfn_client.results import FeatureFrame, Features, SimulationFrame, SimulationSummary, Validation
from mfn_client.streams import ReplyStream
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto import mfn_pb2

__all__ = ["extract_features", "run_simulation", "stream_features", "stream_simulation", "validate_pattern"]


async def extract_features(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 64,
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> Features:
    """Run one simulation and measure its last field. Equal arguments give equal numbers.

    Args:
        seed: of the generator, 0 to 2³¹−1.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps, at least 0.
        alpha: diffusion coefficient of the potential, cells² per step, 0 < alpha ≤ 0.25; None: 0.18, or the default
            of a model other than "mycelium" and "mycelium_rd".
        spike_probability: of a growth event in each step, 0 to 1; None: 0.25, or likewise.
        turing_enabled: whether the activator and inhibitor run; False for a model that has none.
        model: name of another model whose field is in volts; None: "mycelium".
        parameters: further parameters of the model by name.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = _filled(
        mfn_pb2.FeatureRequest(),
        request_id,
        seed=seed,
        grid_size=grid_size,
        steps=steps,
        turing_enabled=turing_enabled,
        **_mycelium(model, alpha, spike_probability),
    )
    _about(request, model, parameters)
    return await self._calls.unary(
        "/mfn.MFNFeaturesService/ExtractFeatures",
        request.SerializeToString(),
        _replies.features,
        request_id=request.request_id,
        timeout=timeout,
    )


def stream_features(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    total_steps: int = 100,
    steps_per_frame: int = 10,
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    max_frames_per_second: float | None = None,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> ReplyStream[FeatureFrame]:
    """Run one simulation and measure the field at every frame.

    Args:
        seed: as in `extract_features`, and so are those that are not named here.
        grid_size: cells along each side, at least 1.
        total_steps: steps of the whole run, at least 1.
        steps_per_frame: steps from one frame to the next, at least 0; 0 means 10.
        alpha: diffusion coefficient.
        spike_probability: of a growth event in each step.
        turing_enabled: whether the activator and inhibitor run.
        model: name of another model.
        parameters: further parameters of the model by name.
        max_frames_per_second: at most so many; the simulation waits. 0, and None, do not limit.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds for the whole stream; None: no deadline.

    Returns:
        Snapshots of one continuous run; the last one holds what `extract_features` gives for
        `steps=total_steps`.
    """
    request = _filled(
        mfn_pb2.FeatureStreamRequest(),
        request_id,
        seed=seed,
        grid_size=grid_size,
        total_steps=total_steps,
        steps_per_frame=steps_per_frame,
        turing_enabled=turing_enabled,
        **_mycelium(model, alpha, spike_probability),
    )
    _about(request, model, parameters)
    if max_frames_per_second is not None:
        filled(request, max_frames_per_second=max_frames_per_second)
    return self._calls.server_stream(
        "/mfn.MFNFeaturesService/StreamFeatures",
        request.SerializeToString(),
        _replies.feature_frame,
        request_id=request.request_id,
        timeout=timeout,
    )


async def run_simulation(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 64,
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> SimulationSummary:
    """Run one simulation and describe its last field; arguments and numbers are those of `extract_features`."""
    request = _filled(
        mfn_pb2.SimulationRequest(),
        request_id,
        seed=seed,
        grid_size=grid_size,
        steps=steps,
        turing_enabled=turing_enabled,
        **_mycelium(model, alpha, spike_probability),
    )
    _about(request, model, parameters)
    return await self._calls.unary(
        "/mfn.MFNSimulationService/RunSimulation",
        request.SerializeToString(),
        _replies.simulation_summary,
        request_id=request.request_id,
        timeout=timeout,
    )


def stream_simulation(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    total_steps: int = 100,
    steps_per_frame: int = 10,
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    max_frames_per_second: float | None = None,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> ReplyStream[SimulationFrame]:
    """Run one simulation and describe the field at every frame; as `stream_features`, without the dimension."""
    request = _filled(
        mfn_pb2.SimulationStreamRequest(),
        request_id,
        seed=seed,
        grid_size=grid_size,
        total_steps=total_steps,
        steps_per_frame=steps_per_frame,
        turing_enabled=turing_enabled,
        **_mycelium(model, alpha, spike_probability),
    )
    _about(request, model, parameters)
    if max_frames_per_second is not None:
        filled(request, max_frames_per_second=max_frames_per_second)
    return self._calls.server_stream(
        "/mfn.MFNSimulationService/StreamSimulation",
        request.SerializeToString(),
        _replies.simulation_frame,
        request_id=request.request_id,
        timeout=timeout,
    )


async def validate_pattern(
    self: Caller,
    *,
    seed: int = 42,
    epochs: int = 1,
    batch_size: int = 4,
    grid_size: int = 64,
    steps: int = 64,
    turing_enabled: bool = True,
    quantum_jitter: bool = False,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> Validation:
    """Simulate 16 fields, train a small network on them, and measure one example field.

    Args:
        seed: of the generator of the training fields, at least 0; the example field uses seed + 1.
        epochs: passes over the training fields, at least 1.
        batch_size: fields in a mini-batch, at least 1.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps of each field, at least 0.
        turing_enabled: whether the activator and inhibitor run.
        quantum_jitter: whether noise of variance 0.0005 V² is added to the potential in every step.
        model: name of another model whose field is in volts, to draw the fields from; None: "mycelium".
        parameters: further parameters of the model by name; others are its defaults.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = _filled(
        mfn_pb2.ValidationRequest(),
        request_id,
        seed=seed,
        epochs=epochs,
        batch_size=batch_size,
        grid_size=grid_size,
        steps=steps,
        turing_enabled=turing_enabled,
        quantum_jitter=quantum_jitter,
    )
    _about(request, model, parameters)
    return await self._calls.unary(
        "/mfn.MFNValidationService/ValidatePattern",
        request.SerializeToString(),
        _replies.validation,
        request_id=request.request_id,
        timeout=timeout,
    )


def _filled(request: Any, request_id: str | None, **fields: int | float | bool) -> Any:
    """A request of package `mfn` with every field set."""
    return filled(request, request_id=new_request_id() if request_id is None else request_id, **fields)


def _mycelium(model: str | None, alpha: float | None, spike_probability: float | None) -> dict[str, float]:
    """The parameters that are sent: all of them for the models that they were made for, else those that are given."""
    historic = (model or HISTORIC[0]) in HISTORIC
    given = {
        "alpha": 0.18 if alpha is None and historic else alpha,
        "spike_probability": 0.25 if spike_probability is None and historic else spike_probability,
    }
    return {name: value for name, value in given.items() if value is not None}


def _about(request: Any, model: str | None, parameters: Parameters | None) -> None:
    """Name the model of a request, and its parameters."""
    if model is not None:
        filled(request, model=model)
    named_parameters(request.parameters, parameters)
