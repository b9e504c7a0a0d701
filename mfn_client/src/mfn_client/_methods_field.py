"""Methods of `mfn.v1.FieldService`: fields simulated, analysed and steered."""

from __future__ import annotations

import numpy.typing as npt

from mfn_client import _replies
from mfn_client._caller import Caller
from mfn_client._requests import (
    FieldDtype,
    filled,
    frames,
    header,
    new_request_id,
    specified,
    upload,
    upload_messages,
)
from mfn_client._steering_call import SteeringCalls
from mfn_client.results import FieldAnalysis, Frame
from mfn_client.session import SteeringSession
from mfn_client.streams import ReplyStream
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto.v1 import field_pb2

__all__ = ["analyze_field", "resume", "simulate", "steer"]


def simulate(
    self: Caller,
    *,
    model: str = "mycelium",
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 64,
    alpha: float = 0.18,
    spike_probability: float = 0.25,
    turing_enabled: bool = True,
    jitter: bool = False,
    every_n_steps: int = 10,
    max_frames_per_second: float = 0.0,
    field: FieldDtype | None = None,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> ReplyStream[Frame]:
    """Run one simulation and iterate over its frames, with the field itself where it is asked for.

    Args:
        model: name of the model.
        seed: as in `extract_features`, and so are those that are not named here.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps, at least 0; 0 gives one frame, of the initial field.
        alpha: diffusion coefficient.
        spike_probability: of a growth event in each step.
        turing_enabled: whether the activator and inhibitor run.
        jitter: whether noise of variance 0.0005 V² is added to the potential in every step.
        every_n_steps: steps from one frame to the next, at least 1.
        max_frames_per_second: at most so many; the simulation waits. 0 does not limit.
        field: `"float64"` (exact) or `"float32"`: frames carry the field in it. None: they do not.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds for the whole stream; None: no deadline.

    Returns:
        Snapshots of one continuous run; the last one `is_final`.
    """
    request = field_pb2.SimulateRequest(
        simulation=specified(
            model=model,
            seed=seed,
            grid_size=grid_size,
            alpha=alpha,
            spike_probability=spike_probability,
            turing_enabled=turing_enabled,
            jitter=jitter,
        ),
        frames=frames(every_n_steps=every_n_steps, max_frames_per_second=max_frames_per_second, field=field),
    )
    filled(request, request_id=new_request_id() if request_id is None else request_id, steps=steps)
    return self._calls.server_stream(
        "/mfn.v1.FieldService/Simulate",
        request.SerializeToString(),
        _replies.simulate_frame,
        request_id=request.request_id,
        timeout=timeout,
    )


async def analyze_field(
    self: Caller,
    field: npt.ArrayLike,
    *,
    threshold_volts: float = -0.060,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> FieldAnalysis:
    """Upload a field and measure it.

    Args:
        field: [N, N], in volts, all finite. float32 travels as it is, other numbers as float64.
        threshold_volts: cells strictly above it are active, V.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds until the deadline, the upload included.

    Raises:
        ValueError: the field is not two-dimensional or not of real numbers.
    """
    array = upload(field)
    given = new_request_id() if request_id is None else request_id
    described = header(array, request_id=given, threshold_volts=threshold_volts)
    return await self._calls.client_stream(
        "/mfn.v1.FieldService/AnalyzeField",
        lambda: upload_messages(described, array),
        _replies.analysis,
        request_id=given,
        timeout=timeout,
    )


def steer(
    self: Caller,
    *,
    model: str = "mycelium",
    seed: int = 42,
    grid_size: int = 64,
    total_steps: int | None = 100,
    alpha: float = 0.18,
    spike_probability: float = 0.25,
    turing_enabled: bool = True,
    jitter: bool = False,
    every_n_steps: int = 10,
    max_frames_per_second: float = 0.0,
    field: FieldDtype | None = None,
    automatic_resume: bool = True,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> SteeringSession:
    """A simulation to steer while it runs: `async with client.steer(…) as session`.

    Args:
        model: as in `simulate`, and so are those that are not named here.
        seed: of the generator.
        grid_size: cells along each side, at least 1.
        total_steps: steps of the whole run, at least 1; None: until it is stopped.
        alpha: diffusion coefficient.
        spike_probability: of a growth event in each step.
        turing_enabled: whether the activator and inhibitor run.
        jitter: whether noise is added to the potential in every step.
        every_n_steps: steps from one frame to the next, at least 1.
        max_frames_per_second: at most so many. 0 does not limit.
        field: dtype in which frames carry the field.
        automatic_resume: whether the session is taken up again by itself when the connection breaks.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds for the whole call; None: no deadline. Opening has the client's timeout in any case.
    """
    start = filled(
        field_pb2.StartCommand(
            simulation=specified(
                model=model,
                seed=seed,
                grid_size=grid_size,
                alpha=alpha,
                spike_probability=spike_probability,
                turing_enabled=turing_enabled,
                jitter=jitter,
            ),
            frames=frames(every_n_steps=every_n_steps, max_frames_per_second=max_frames_per_second, field=field),
        ),
        request_id=new_request_id() if request_id is None else request_id,
    )
    if total_steps is None:
        start.unlimited = True
    else:
        filled(start, total_steps=total_steps)
    first = field_pb2.SteerSimulationRequest(start=start)
    return _session(self, first, start.request_id, timeout, automatic_resume)


def resume(
    self: Caller,
    session_id: str,
    last_step: int = 0,
    *,
    automatic_resume: bool = True,
    timeout: Timeout = None,
) -> SteeringSession:
    """Take up a session whose call broke: `async with client.resume(…) as session`.

    Args:
        session_id: `SteeringSession.session_id` of the call that broke.
        last_step: `SteeringSession.last_step`; the present state follows when the session has gone further.
        automatic_resume: as in `steer`.
        timeout: as in `steer`.
    """
    command = filled(field_pb2.ResumeSessionCommand(), session_id=session_id, last_step=last_step)
    first = field_pb2.SteerSimulationRequest(resume_session=command)
    return _session(self, first, new_request_id(), timeout, automatic_resume)


def _session(
    client: Caller,
    first: field_pb2.SteerSimulationRequest,
    request_id: str,
    timeout: Timeout,
    automatic_resume: bool,
) -> SteeringSession:
    calls = SteeringCalls(client._calls, request_id=request_id, timeout=client._calls.seconds(timeout))
    return SteeringSession(calls, first, request_id=request_id, automatic_resume=automatic_resume)
