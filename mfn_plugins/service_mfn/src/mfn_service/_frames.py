"""One continuous trajectory as a stream of frames."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from google.protobuf.message import Message

from mfn_core import Call, CancelToken
from mfn_core.execution import ComputePool
from mfn_model import FieldSpec, FieldState
from mfn_service._pacing import Pacer

__all__ = ["FRAMES_PER_JOB", "JOB_BYTES", "JOB_SECONDS", "stream_frames"]

FRAMES_PER_JOB = 64
"""Frames that one compute job makes at most."""
JOB_SECONDS = 0.002
"""A compute job begins no further frame after this time, so that the first frame of a job does not wait for long."""
JOB_BYTES = 262_144
"""A compute job begins no further frame once those it made have this size; a slow reader holds so much in memory."""

M = TypeVar("M", bound=Message)


async def stream_frames(
    compute: ComputePool,
    call: Call,
    spec: FieldSpec,
    *,
    steps: int,
    every: int,
    make: Callable[[FieldState, bool], M],
    pacer: Pacer | None = None,
) -> AsyncGenerator[M, None]:
    """Frames after `every`, 2·`every`, … and `steps` steps; of the initial field alone where `steps` is 0.

    Nothing is computed while the reader is behind, but for the frames of the job that is done. The session is closed
    when the generator is, and it advances by at most one slice after the call was aborted.

    Args:
        compute: runs the engine.
        call: pays for the work; its cancellation stops it.
        spec: what to simulate.
        steps: of the whole run, at least 0.
        every: steps from one frame to the next, at least 1.
        make: `(state, is_final) -> message`; called on compute threads, one at a time.
        pacer: when frames are due; each is then computed ahead, and waits until it is.

    Raises:
        MfnError: what `ComputePool.run` and `make` raise.
    """
    paced = pacer is not None and pacer.limited
    loop = asyncio.get_running_loop()
    done = 0
    async with compute.session(call, spec) as running:
        session = running.session

        def job(cancel: CancelToken) -> list[M]:
            nonlocal done
            made: list[M] = []
            size, began = 0, time.monotonic()
            while True:
                target = min(done + every, steps)
                done += session.step(target - done, cancel)
                if done < target:
                    return made  # aborted: `ComputePool.run` raises
                made.append(make(session.state(), done == steps))
                if paced or done == steps or len(made) == FRAMES_PER_JOB:
                    return made
                size += made[-1].ByteSize()
                if size >= JOB_BYTES or time.monotonic() - began >= JOB_SECONDS:
                    return made

        while True:
            for frame in await compute.run(call, job):
                if pacer is not None:
                    if (delay := pacer.delay(loop.time())) > 0.0:
                        await asyncio.sleep(delay)
                    pacer.sent(loop.time())
                yield frame
            if done == steps:
                return
