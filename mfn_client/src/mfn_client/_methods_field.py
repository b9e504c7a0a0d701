"""Methods of `mfn.v1.FieldService`: fields simulated, analysed and steered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from mfn_client import _replies
from mfn_client._caller import Caller
from mfn_client._requests import (
    FieldDtype,
    Parameters,
    filled,
    frames,
    header,
    new_request_id,
    specified,
    upload,
    upload_messages,
)
from mfn_client._requests import (
    threshold as found_threshold,
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
    boundary: str = "",
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool | None = None,
    jitter: bool | None = None,
    parameters: Parameters | None = None,
    every_n_steps: int = 10,
    max_frames_per_second: float = 0.0,
    field: FieldDtype | None = None,
    species: Sequence[str] = (),
    threshold: float | None = None,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> ReplyStream[Frame]:
    """Run one simulation and iterate over its frames, with the field itself where it is asked for.

    Args:
        model: name of the model.
        seed: as in `extract_features`, and so are those that are not named here.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps, at least 0; 0 gives one frame, of the initial field.
        boundary: what lies beyond the edge: `"periodic"`, `"neumann"` or `"dirichlet"`; empty: the model's own.
        alpha: diffusion coefficient; None: 0.18. This and the next three are the model's parameters of these names,
            and their defaults those of "mycelium" and "mycelium_rd"; None is any other model's own default.
        spike_probability: of a growth event in each step; None: 0.25.
        turing_enabled: whether the activator and inhibitor run; None: True.
        jitter: whether noise of variance 0.0005 V² is added to the potential in every step; None: False.
        parameters: parameters of the model by name, as `describe_model` lists them.
        every_n_steps: steps from one frame to the next, at least 1.
        max_frames_per_second: at most so many; the simulation waits. 0 does not limit.
        field: `"float64"` (exact) or `"float32"`: frames carry fields in it. None: they do not.
        species: names of the species that frames describe and carry; empty: the first one, as `Frame.field`.
        threshold: cells whose first species is above it are active, in its unit; None: −0.060 V for a potential.
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
            boundary=boundary,
            own={
                "alpha": alpha,
                "spike_probability": spike_probability,
                "turing_enabled": turing_enabled,
                "jitter": jitter,
            },
            parameters=parameters,
        ),
        frames=frames(
            every_n_steps=every_n_steps,
            max_frames_per_second=max_frames_per_second,
            field=field,
            species=species,
            threshold=threshold,
        ),
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
    unit: str = "V",
    threshold_volts: float | None = None,
    threshold: float | None = None,
    percentile: float | None = None,
    otsu: bool = False,
    adaptive: int | None = None,
    offset: float = 0.0,
    invert: bool = False,
    features: bool = False,
    connectivity: int = 4,
    periodic: bool = False,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> FieldAnalysis:
    """Upload a field and measure it.

    Args:
        field: [rows, columns], all finite, none masked. float32 travels as it is, other numbers as float64.
        unit: `"V"` for a potential, `"1"` for anything else, such as the levels of a picture.
        threshold_volts: cells strictly above it are active, V; where no threshold is given, −0.060 for a potential,
            and Otsu's for anything else.
        threshold: the same in the unit of the field.
        percentile: as many per cent of the cells are at or below the threshold.
        otsu: the threshold is Otsu's.
        adaptive: the threshold is the mean of a window of so many cells a side, odd and at least 3, around each cell.
        offset: by how much a cell must be beyond that mean.
        invert: active cells are below the threshold.
        features: whether to measure the 18 features, five further ones, and the dimension by four estimators.
        connectivity: 4, or 8 if clusters may hang together by corners; for the features.
        periodic: whether the field goes on at the opposite edge; for the features.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds until the deadline, the upload included.

    Raises:
        ValueError: the field is not two-dimensional or not of real numbers, or several thresholds are given.
    """
    array = upload(field)
    given = new_request_id() if request_id is None else request_id
    kind = found_threshold(
        value=threshold, percentile=percentile, otsu=otsu, adaptive=adaptive, offset=offset, invert=invert
    )
    if kind is not None and threshold_volts is not None:
        raise ValueError("one threshold is taken, got threshold_volts and another; leave out all but one")
    default = -0.060 if unit in ("", "V") else None
    in_volts = default if threshold_volts is None else threshold_volts
    described = header(array, request_id=given, unit=unit, active=in_volts if kind is None else kind)
    if features:
        filled(described.features, connectivity=connectivity, periodic=periodic)
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
    boundary: str = "",
    alpha: float | None = None,
    spike_probability: float | None = None,
    turing_enabled: bool | None = None,
    jitter: bool | None = None,
    parameters: Parameters | None = None,
    every_n_steps: int = 10,
    max_frames_per_second: float = 0.0,
    field: FieldDtype | None = None,
    species: Sequence[str] = (),
    threshold: float | None = None,
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
        boundary: what lies beyond the edge.
        alpha: diffusion coefficient.
        spike_probability: of a growth event in each step.
        turing_enabled: whether the activator and inhibitor run.
        jitter: whether noise is added to the potential in every step.
        parameters: parameters of the model by name.
        every_n_steps: steps from one frame to the next, at least 1.
        max_frames_per_second: at most so many. 0 does not limit.
        field: dtype in which frames carry fields.
        species: names of the species that frames describe.
        threshold: cells whose first species is above it are active.
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
                boundary=boundary,
                own={
                    "alpha": alpha,
                    "spike_probability": spike_probability,
                    "turing_enabled": turing_enabled,
                    "jitter": jitter,
                },
                parameters=parameters,
            ),
            frames=frames(
                every_n_steps=every_n_steps,
                max_frames_per_second=max_frames_per_second,
                field=field,
                species=species,
                threshold=threshold,
            ),
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
