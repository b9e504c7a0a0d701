"""The client: typed methods over signed calls."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

from mfn_client import _replies
from mfn_client._calls import ReplyStream, SignedCalls
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
from mfn_client._target import is_loopback
from mfn_client.raw import MAX_MESSAGE_BYTES, RawClient
from mfn_client.results import FeatureFrame, Features, FieldAnalysis, Frame, SimulationFrame, SimulationSummary
from mfn_client.session import STEER, SteeringSession
from mfn_client.timeouts import CLIENT_TIMEOUT, DEFAULT_TIMEOUT, ClientTimeout, Timeout, checked_timeout
from mfn_proto import mfn_pb2
from mfn_proto.v1 import field_pb2
from mfn_signing import Credentials

__all__ = ["MFNClient"]


class MFNClient:
    """A connection to one server; an async context manager. Use from one event loop, by any number of tasks.

    Every call is signed afresh with `credentials`. The secret never travels; requests and replies do, in the clear
    where the channel is plain text, so that such a channel is made to a loopback address alone unless `insecure` says
    otherwise by name.

    All methods take a `request_id`, at most 128 bytes, which the server echoes and writes into its audit; by default
    a random UUID. All raise `MfnRpcError` when the call does not end with OK, `TypeError` or `ValueError` for a value
    that cannot be sent at all, and `RuntimeError` while the client is not open. Values out of the bounds of the
    contract are the server's to refuse, with every field at fault.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: Credentials | None = None,
        root_certificates: bytes | None = None,
        insecure: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        channel_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a client; nothing is opened yet.

        Args:
            target: `host:port`, or any name that gRPC resolves.
            credentials: key id and secret to sign with; None: calls are not signed.
            root_certificates: PEM authorities that the server's certificate must be signed by; makes it TLS.
            insecure: allow plain text to another machine.
            timeout: seconds for calls with one reply, and for a session to open; None: no deadline.
            max_message_bytes: longest reply message to take.
            channel_options: further channel arguments of gRPC.

        Raises:
            ValueError: plain text to another machine without `insecure`, or a timeout that is not positive.
        """
        local = is_loopback(target)
        if root_certificates is None and not insecure and not local:
            raise ValueError(
                f"target {target!r} is not a loopback address, and results would travel in plain text; "
                "give root_certificates for TLS, or insecure=True if that is meant"
            )
        options = dict(channel_options or {})
        if local:
            # A proxy named in the environment is for other machines.
            options.setdefault("grpc.enable_http_proxy", 0)
        self._timeout = checked_timeout(timeout)
        self._raw = RawClient(
            target,
            root_certificates=root_certificates,
            max_message_bytes=max_message_bytes,
            options=tuple(options.items()),
        )
        self._calls = SignedCalls(self._raw, credentials)

    @property
    def target(self) -> str:
        """What it calls."""
        return self._raw.target

    async def __aenter__(self) -> Self:
        await self._raw.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the client without `async with`; `close` it afterwards. The connection is made by the first call.

        Raises:
            RuntimeError: it is open already.
        """
        await self._raw.__aenter__()

    async def close(self) -> None:
        """End the calls in flight with CANCELLED and close the connection. Safe twice."""
        await self._raw.close()

    async def extract_features(
        self,
        *,
        seed: int = 42,
        grid_size: int = 64,
        steps: int = 64,
        alpha: float = 0.18,
        spike_probability: float = 0.25,
        turing_enabled: bool = True,
        request_id: str | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> Features:
        """Run one simulation and measure its last field. Equal arguments give equal numbers.

        Args:
            seed: of the generator, 0 to 2³¹−1.
            grid_size: cells along each side, at least 1.
            steps: explicit Euler steps, at least 0.
            alpha: diffusion coefficient of the potential, cells² per step, 0 < alpha ≤ 0.25.
            spike_probability: of a growth event in each step, 0 to 1.
            turing_enabled: whether the activator and inhibitor run.
            request_id: to correlate; a random UUID unless given.
            timeout: seconds until the deadline.
        """
        request = _mycelium(
            mfn_pb2.FeatureRequest(),
            request_id,
            seed=seed,
            grid_size=grid_size,
            steps=steps,
            alpha=alpha,
            spike_probability=spike_probability,
            turing_enabled=turing_enabled,
        )
        return await self._calls.unary(
            "/mfn.MFNFeaturesService/ExtractFeatures",
            request.SerializeToString(),
            _replies.features,
            request_id=request.request_id,
            timeout=self._seconds(timeout),
        )

    def stream_features(
        self,
        *,
        seed: int = 42,
        grid_size: int = 64,
        total_steps: int = 100,
        steps_per_frame: int = 10,
        alpha: float = 0.18,
        spike_probability: float = 0.25,
        turing_enabled: bool = True,
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
            request_id: to correlate; a random UUID unless given.
            timeout: seconds for the whole stream; None: no deadline.

        Returns:
            Snapshots of one continuous run; the last one holds what `extract_features` gives for
            `steps=total_steps`.
        """
        request = _mycelium(
            mfn_pb2.FeatureStreamRequest(),
            request_id,
            seed=seed,
            grid_size=grid_size,
            total_steps=total_steps,
            steps_per_frame=steps_per_frame,
            alpha=alpha,
            spike_probability=spike_probability,
            turing_enabled=turing_enabled,
        )
        return self._calls.server_stream(
            "/mfn.MFNFeaturesService/StreamFeatures",
            request.SerializeToString(),
            _replies.feature_frame,
            request_id=request.request_id,
            timeout=self._seconds(timeout),
        )

    async def run_simulation(
        self,
        *,
        seed: int = 42,
        grid_size: int = 64,
        steps: int = 64,
        alpha: float = 0.18,
        spike_probability: float = 0.25,
        turing_enabled: bool = True,
        request_id: str | None = None,
        timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> SimulationSummary:
        """Run one simulation and describe its last field; arguments and numbers are those of `extract_features`."""
        request = _mycelium(
            mfn_pb2.SimulationRequest(),
            request_id,
            seed=seed,
            grid_size=grid_size,
            steps=steps,
            alpha=alpha,
            spike_probability=spike_probability,
            turing_enabled=turing_enabled,
        )
        return await self._calls.unary(
            "/mfn.MFNSimulationService/RunSimulation",
            request.SerializeToString(),
            _replies.simulation_summary,
            request_id=request.request_id,
            timeout=self._seconds(timeout),
        )

    def stream_simulation(
        self,
        *,
        seed: int = 42,
        grid_size: int = 64,
        total_steps: int = 100,
        steps_per_frame: int = 10,
        alpha: float = 0.18,
        spike_probability: float = 0.25,
        turing_enabled: bool = True,
        request_id: str | None = None,
        timeout: Timeout = None,
    ) -> ReplyStream[SimulationFrame]:
        """Run one simulation and describe the field at every frame; as `stream_features`, without the dimension."""
        request = _mycelium(
            mfn_pb2.SimulationStreamRequest(),
            request_id,
            seed=seed,
            grid_size=grid_size,
            total_steps=total_steps,
            steps_per_frame=steps_per_frame,
            alpha=alpha,
            spike_probability=spike_probability,
            turing_enabled=turing_enabled,
        )
        return self._calls.server_stream(
            "/mfn.MFNSimulationService/StreamSimulation",
            request.SerializeToString(),
            _replies.simulation_frame,
            request_id=request.request_id,
            timeout=self._seconds(timeout),
        )

    def simulate(
        self,
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
            timeout=self._seconds(timeout),
        )

    async def analyze_field(
        self,
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
            upload_messages(described, array),
            _replies.analysis,
            request_id=given,
            timeout=self._seconds(timeout),
        )

    def steer(
        self,
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
        return self._session(field_pb2.SteerSimulationRequest(start=start), start.request_id, timeout)

    def resume(self, session_id: str, last_step: int = 0, *, timeout: Timeout = None) -> SteeringSession:
        """Take up a session whose call broke: `async with client.resume(…) as session`.

        Args:
            session_id: `SteeringSession.session_id` of the call that broke.
            last_step: `SteeringSession.last_step`; the present state follows when the session has gone further.
            timeout: as in `steer`.
        """
        command = filled(field_pb2.ResumeSessionCommand(), session_id=session_id, last_step=last_step)
        first = field_pb2.SteerSimulationRequest(resume_session=command)
        return self._session(first, new_request_id(), timeout)

    def _session(self, first: field_pb2.SteerSimulationRequest, request_id: str, timeout: Timeout) -> SteeringSession:
        seconds = self._seconds(timeout)
        return SteeringSession(
            lambda: self._calls.open(STEER, timeout=seconds),
            first,
            request_id=request_id,
            open_timeout=self._timeout,
        )

    def _seconds(self, timeout: Timeout) -> float | None:
        return self._timeout if isinstance(timeout, ClientTimeout) else checked_timeout(timeout)


def _mycelium(request: Any, request_id: str | None, **fields: int | float | bool) -> Any:
    """A request of package `mfn` with every field set."""
    return filled(request, request_id=new_request_id() if request_id is None else request_id, **fields)
