"""Sessions whose connection breaks: taken up again, with every command applied once and acknowledged once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from mfn_client import (
    Acknowledgement,
    Code,
    Credentials,
    Frame,
    MFNClient,
    MfnRpcError,
    SessionEnded,
    SessionEndReason,
    session,
)
from mfn_proto.v1 import field_pb2 as pb

STEER = "/mfn.v1.FieldService/SteerSimulation"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))
PATIENCE = 20.0


class SessionServer:
    """One session of the contract, which makes a step and a frame whenever the test says so."""

    def __init__(self) -> None:
        self.step = 0
        self.sequence = 0
        self.applied: list[tuple[int, str]] = []
        self.resumptions: list[pb.ResumeSessionCommand] = []
        self.lost = False
        """Whether the session is gone."""
        self.busy = 0
        """Resumptions that are still refused with RESOURCE_EXHAUSTED."""
        self.resume_within = 30
        self._tick = asyncio.Event()
        self._writing = asyncio.Lock()
        self._over = False

    def advance(self, steps: int = 1, *, last: bool = False) -> None:
        self.step += steps
        self._over = last
        self._tick.set()

    async def serve(self, call: Any) -> None:
        first = pb.SteerSimulationRequest.FromString(await call.read())
        seen = 0
        if first.HasField("start"):
            self.sequence = 1
            await self._write(call, pb.SteerSimulationResponse(started=self._session()))
        else:
            self.resumptions.append(first.resume_session)
            assert not first.HasField("sequence")
            if self.lost:
                await call.context.abort(grpc.StatusCode.NOT_FOUND, "there is no such session")
            if self.busy > 0:
                self.busy -= 1
                busy = (("retry-after-ms", "10"),)
                await call.context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls", busy)
            seen = first.resume_session.last_step
            await self._write(call, pb.SteerSimulationResponse(resumed=self._session()))
        reader = asyncio.ensure_future(self._obey(call))
        try:
            await self._frames(call, seen)
        finally:
            reader.cancel()

    async def _frames(self, call: Any, seen: int) -> None:
        while True:
            if self.step > seen:
                seen = self.step
                frame = pb.Frame(request_id="first", step=seen, is_final=self._over)
                await self._write(call, pb.SteerSimulationResponse(frame=frame))
                if self._over:
                    break
            self._tick.clear()
            await self._tick.wait()
        ended = pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED, step=self.step)
        await self._write(call, pb.SteerSimulationResponse(ended=ended))

    async def _obey(self, call: Any) -> None:
        while (raw := await call.read()) is not None:
            command = pb.SteerSimulationRequest.FromString(raw)
            duplicate = command.sequence <= self.sequence
            if not duplicate:
                self.sequence = command.sequence
                self.applied.append((command.sequence, str(command.WhichOneof("command"))))
                if command.HasField("stop"):
                    self.advance(last=True)
            acknowledged = pb.CommandAcknowledgement(sequence=command.sequence, step=self.step, duplicate=duplicate)
            await self._write(call, pb.SteerSimulationResponse(acknowledged=acknowledged))

    async def _write(self, call: Any, message: Any) -> None:
        async with self._writing:  # frames and acknowledgements come from two tasks
            await call.write(message)

    def _session(self) -> pb.Session:
        return pb.Session(
            session_id="unguessable",
            resume_within_seconds=self.resume_within,
            step=self.step,
            sequence=self.sequence,
        )


@pytest.fixture
def serving(server: Any) -> SessionServer:
    serving = SessionServer()
    server.serve(STEER, serving.serve)
    return serving


@pytest.fixture
async def cut_off(proxy: Any) -> AsyncIterator[MFNClient]:
    """A client that reaches the server through the proxy."""
    async with MFNClient(proxy.address, credentials=CREDENTIALS, retry_backoff_ms=10.0) as client:
        yield client


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def test_frames_go_on_after_the_connection_broke(serving: SessionServer, proxy: Any, cut_off: MFNClient) -> None:
    async with cut_off.steer() as steered:
        serving.advance()
        first = await anext(steered)
        proxy.cut()
        serving.advance(3)
        second = await anext(steered)
        proxy.cut()
        serving.advance(last=True)
        rest = [event async for event in steered]
        assert isinstance(first, Frame)
        assert isinstance(second, Frame)
        # Between the cut and the resumption the server may have sent a frame that was lost: its state is shown again.
        assert (first.step, second.step) == (1, 4)
        assert [type(event) for event in rest] == [Frame, SessionEnded]
        assert steered.ended == SessionEnded(reason=SessionEndReason.COMPLETED, step=5)
        assert steered.resumptions == 2
        assert steered.last_step == 5
    assert [(each.session_id, each.last_step) for each in serving.resumptions] == [
        ("unguessable", 1),
        ("unguessable", 4),
    ]


async def test_a_command_that_was_applied_and_whose_acknowledgement_was_lost_is_not_applied_twice(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer() as steered:
        serving.advance()
        await anext(steered)
        proxy.muted = True
        numbers = [await steered.inject(1, 2), await steered.change(alpha=0.1)]
        await until(lambda: len(serving.applied) == 2)
        proxy.cut()
        acknowledged = [await anext(steered), await anext(steered)]
        serving.advance(last=True)
        rest = [event async for event in steered]
    assert acknowledged == [Acknowledgement(sequence=number, step=1, duplicate=True) for number in numbers]
    assert [type(event) for event in rest] == [Frame, SessionEnded]
    assert serving.applied == [(2, "inject"), (3, "change")]


async def test_commands_that_were_given_while_there_was_no_connection_are_applied_once_and_in_order(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer() as steered:
        serving.advance()
        await anext(steered)
        await proxy.stop()
        reading = asyncio.ensure_future(anext(steered))
        numbers = [await steered.inject(row, 0) for row in range(20)]
        await proxy.start()
        acknowledged = [await reading] + [await anext(steered) for _ in range(19)]
        assert await steered.pause() == 22
        acknowledged.append(await anext(steered))
        serving.advance(last=True)
        assert [type(event) async for event in steered] == [Frame, SessionEnded]
    assert acknowledged == [Acknowledgement(sequence=number, step=1, duplicate=False) for number in (*numbers, 22)]
    assert serving.applied == [*((number, "inject") for number in numbers), (22, "pause")]


async def test_through_many_cuts_each_command_is_applied_and_acknowledged_once(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    events: list[Any] = []

    async def read(steered: Any) -> None:
        async for event in steered:
            events.append(event)

    async with cut_off.steer() as steered:
        reading = asyncio.ensure_future(read(steered))
        numbers = []
        for turn in range(60):
            if turn % 15 == 7:
                proxy.cut()
            numbers.append(await steered.inject(turn, 0))
            serving.advance()
        await until(lambda: sum(isinstance(event, Acknowledgement) for event in events) == 60)
        serving.advance(last=True)
        await reading
        assert steered.resumptions >= 1
    assert [number for number, _ in serving.applied] == numbers
    acknowledged = [event.sequence for event in events if isinstance(event, Acknowledgement)]
    assert sorted(acknowledged) == numbers
    steps = [event.step for event in events if isinstance(event, Frame)]
    assert steps == sorted(set(steps))
    assert steps[-1] == 61


async def test_leaving_the_block_ends_the_session_even_over_a_connection_that_broke(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer() as steered:
        serving.advance()
        await anext(steered)
        proxy.cut()
    assert serving.applied == [(2, "stop")]
    assert steered.ended is not None


async def test_a_server_that_is_full_is_asked_again(serving: SessionServer, proxy: Any, cut_off: MFNClient) -> None:
    serving.busy = 6  # more often than a call is attempted
    async with cut_off.steer() as steered:
        proxy.cut()
        serving.advance(last=True)
        assert [type(event) async for event in steered] == [Frame, SessionEnded]
    assert len(serving.resumptions) == 7


async def test_a_session_that_is_gone_says_so_and_why_it_was_needed(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer() as steered:
        serving.lost = True
        proxy.cut()
        with pytest.raises(
            MfnRpcError, match=r"the connection broke \(.+\), and the session could not be resumed: there"
        ):
            await anext(steered)
        with pytest.raises(StopAsyncIteration):
            await anext(steered)
        with pytest.raises(MfnRpcError, match="the session is over") as caught:
            await steered.pause()
    assert caught.value.code is Code.FAILED_PRECONDITION
    assert len(serving.resumptions) == 1


async def test_a_run_whose_last_frame_was_seen_ends_without_a_reason_when_that_was_lost(
    serving: SessionServer, server: Any, proxy: Any, cut_off: MFNClient
) -> None:
    async def last_frame_alone(call: Any) -> None:
        await call.read()
        if len(server.calls) > 1:
            await call.context.abort(grpc.StatusCode.NOT_FOUND, "there is no such session")
        await call.write(pb.SteerSimulationResponse(started=serving._session()))
        await call.write(pb.SteerSimulationResponse(frame=pb.Frame(request_id="first", step=9, is_final=True)))
        await call.read()

    server.serve(STEER, last_frame_alone)
    async with cut_off.steer() as steered:
        assert isinstance(await anext(steered), Frame)
        proxy.cut()
        assert [event async for event in steered] == [SessionEnded(reason=SessionEndReason.UNSPECIFIED, step=9)]


async def test_a_session_is_tried_for_as_long_as_the_server_keeps_it_and_no_longer(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    serving.resume_within = 1
    async with cut_off.steer() as steered:
        await proxy.stop()
        began = time.monotonic()
        with pytest.raises(MfnRpcError, match="the session could not be resumed: the deadline passed") as caught:
            await anext(steered)
        assert 0.9 < time.monotonic() - began < PATIENCE
    assert caught.value.code is Code.UNAVAILABLE


async def test_the_deadline_of_the_session_bounds_its_resumption(
    serving: SessionServer, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer(timeout=1.0) as steered:
        await proxy.stop()
        with pytest.raises(MfnRpcError) as caught:
            await anext(steered)
    assert caught.value.code is Code.DEADLINE_EXCEEDED


@pytest.mark.parametrize("opted_out", [True, False])
async def test_who_opted_out_or_whose_server_keeps_nothing_is_told_of_the_break(
    serving: SessionServer, proxy: Any, cut_off: MFNClient, opted_out: bool
) -> None:
    if not opted_out:
        serving.resume_within = 0
    async with cut_off.steer(automatic_resume=not opted_out) as steered:
        proxy.cut()
        with pytest.raises(MfnRpcError) as caught:
            await anext(steered)
    assert caught.value.code is Code.UNAVAILABLE
    assert "resumed" not in caught.value.message
    assert serving.resumptions == []


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL"])
async def test_a_session_that_failed_is_not_taken_up_by_itself(server: Any, client: MFNClient, code: str) -> None:
    async def fails(call: Any) -> None:
        await call.read()
        await call.write(pb.SteerSimulationResponse(started=pb.Session(session_id="s", resume_within_seconds=30)))
        await call.context.abort(grpc.StatusCode[code], "no", (("retry-after-ms", "1"),))

    server.serve(STEER, fails)
    async with client.steer() as steered:
        with pytest.raises(MfnRpcError) as caught:
            await anext(steered)
    assert caught.value.code == code
    assert len(server.calls) == 1


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_a_server_that_cuts_calls_off_as_it_goes_is_a_connection_that_broke(
    server: Any, client: MFNClient, code: str
) -> None:
    async def goes(call: Any) -> None:
        await call.read()
        session = pb.Session(session_id="s", resume_within_seconds=30)
        if len(server.calls) == 1:
            await call.write(pb.SteerSimulationResponse(started=session))
            await call.context.abort(grpc.StatusCode[code], "the server is shutting down")
        await call.write(pb.SteerSimulationResponse(resumed=session))
        await call.write(pb.SteerSimulationResponse(ended=pb.SessionEnded(reason=pb.SESSION_END_REASON_COMPLETED)))

    server.serve(STEER, goes)
    async with client.steer() as steered:
        assert [event async for event in steered] == [steered.ended]
    assert len(server.calls) == 2


async def test_the_call_is_signed_afresh_for_each_resumption(
    serving: SessionServer, server: Any, proxy: Any, cut_off: MFNClient
) -> None:
    async with cut_off.steer() as steered:
        proxy.cut()
        serving.advance(last=True)
        assert [type(event) async for event in steered] == [Frame, SessionEnded]
    nonces = [call.header("x-mfn-nonce") for call in server.calls]
    assert len(nonces) == len(set(nonces)) == 2


async def test_closing_the_client_ends_a_session_that_waits_to_be_resumed(serving: SessionServer, proxy: Any) -> None:
    client = MFNClient(proxy.address, credentials=CREDENTIALS)
    await client.connect()
    steered = client.steer()
    await steered.__aenter__()
    await proxy.stop()
    reading = asyncio.ensure_future(anext(steered))
    await asyncio.wait([reading], timeout=0.2)
    assert not reading.done()
    await client.close()
    with pytest.raises(MfnRpcError) as caught:
        async with asyncio.timeout(PATIENCE):
            await reading
    assert caught.value.code is Code.CANCELLED


async def test_commands_without_acknowledgements_are_bounded(
    server: Any, client: MFNClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deaf(call: Any) -> None:
        await call.read()
        await call.write(pb.SteerSimulationResponse(started=pb.Session(session_id="s", sequence=1)))
        while await call.read() is not None:
            pass

    server.serve(STEER, deaf)
    monkeypatch.setattr(session, "STOP_SECONDS", 0.1)
    async with client.steer() as steered:
        for _ in range(session.MAX_UNACKNOWLEDGED):
            await steered.inject(0, 0)
        with pytest.raises(MfnRpcError, match="256 commands wait for their acknowledgements") as caught:
            await steered.inject(0, 0)
    assert caught.value.code is Code.RESOURCE_EXHAUSTED
