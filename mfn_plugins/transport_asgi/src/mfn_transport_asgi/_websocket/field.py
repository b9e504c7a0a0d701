"""`/ws/field`: one simulation that is watched and steered; its frames are binary (see `field_frame`).

The client's messages are the commands of `mfn.v1.FieldService/SteerSimulation` in JSON: the type is the name of the
command, the payload its message, `sequence` beside them its number. No frame is dropped: a viewer that reads slowly
slows the simulation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, FieldViolation, MfnError
from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._json.codec import json_to_protobuf
from mfn_transport_asgi._websocket.field_frame import encode_frame
from mfn_transport_asgi._websocket.outbox import Lane, Policy
from mfn_transport_asgi._websocket.status import STREAM_CODE, SUBSCRIBE_CODES, failure

if TYPE_CHECKING:
    from mfn_core.call import Call
    from mfn_transport_asgi._websocket.connection import Connection, Incoming

__all__ = ["FieldTalk"]

OPERATION = b"/mfn.v1.FieldService/SteerSimulation"
FRAMES_AHEAD = 2
"""Frames that wait to be sent; with more, what is shown would lag behind what is steered."""
COMMANDS_AHEAD = 64

_OPENINGS = ("start", "resume_session")
_COMMANDS = ("pause", "resume", "change", "inject", "stop")
_ENCODINGS: Mapping[str, int] = MappingProxyType(
    {
        "float32": pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN,
        "uint8": pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN,
        "float64": pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN,
    }
)


class FieldTalk:
    """The talk of `/ws/field`: one run at a time."""

    def __init__(self, connection: Connection) -> None:
        """Serve what is steered on the connection."""
        self._connection = connection
        self._run: _Run | None = None
        self._encoding = "float32"

    @property
    def busy(self) -> bool:
        """Whether a run is on."""
        return self._run is not None and not self._run.task.done()

    async def take(self, message: Incoming) -> bool:
        """Open a run, or steer the one that is open."""
        if message.type in _OPENINGS:
            if self.busy:
                self._refuse(Code.FAILED_PRECONDITION, "a run is on already; stop it first, or use another socket")
                return True
            named = message.payload.get("encoding", self._encoding)
            if not isinstance(named, str) or named not in _ENCODINGS:
                self._refuse(Code.INVALID_ARGUMENT, f"encoding must be one of: {', '.join(_ENCODINGS)}")
                return True
            self._encoding = named
            self._run = _Run(self._connection, quantised=named == "uint8")
            await self._run.say(_opening(message, _ENCODINGS[named]))
        elif message.type in _COMMANDS:
            if self._run is None or not self.busy:
                self._refuse(Code.FAILED_PRECONDITION, f"no run is on; send {' or '.join(_OPENINGS)} first")
            else:
                await self._run.say(_command(message, message.payload))
        else:
            return False
        return True

    async def close(self) -> None:
        """Abort the run; it can be resumed for as long as its session is kept."""
        if self._run is not None:
            await self._run.close()

    def _refuse(self, code: Code, text: str) -> None:
        self._connection.tell("error", failure(SUBSCRIBE_CODES[code], Outcome(code=code, message=text)))


def _opening(message: Incoming, encoding: int) -> bytes:
    content = {name: value for name, value in message.payload.items() if name not in ("encoding", "stream_id")}
    if message.type == "start":
        frames = content.get("frames", {})
        if isinstance(frames, dict):
            content["frames"] = {**frames, "field_encoding": encoding}
            content["frames"].pop("fieldEncoding", None)
    return _command(message, content)


def _command(message: Incoming, content: Mapping[str, Any]) -> bytes:
    command: dict[str, Any] = {message.type: {name: value for name, value in content.items() if name != "stream_id"}}
    if message.sequence is not None:
        command["sequence"] = message.sequence
    return json.dumps(command).encode()


class _Run:
    """One call."""

    def __init__(self, connection: Connection, *, quantised: bool) -> None:
        self._connection = connection
        self._quantised = quantised
        self._begun = False
        self._said: asyncio.Queue[bytes] = asyncio.Queue(COMMANDS_AHEAD)
        self._lane: Lane = connection.outbox.lane(
            policy=Policy.WAIT, max_updates=FRAMES_AHEAD, max_bytes=1 << 62, patience=0.0
        )
        self._call: Call = connection.door.call(
            connection.visitor, OPERATION, deliver=self._deliver, inbound=self._commands()
        )
        self._unwanted = False
        self.task = asyncio.create_task(self._dispatch())

    async def say(self, command: bytes) -> None:
        """Hand a command over; waits while many are waiting, which holds the client."""
        putting = asyncio.create_task(self._said.put(command))
        await asyncio.wait([putting, self.task], return_when=asyncio.FIRST_COMPLETED)
        putting.cancel()
        await asyncio.gather(putting, return_exceptions=True)

    async def close(self) -> None:
        """Abort it."""
        self._unwanted = True
        self._call.abort()
        await asyncio.gather(self.task, return_exceptions=True)

    async def _commands(self) -> AsyncIterator[bytes]:
        while True:
            yield json_to_protobuf(pb.SteerSimulationRequest, await self._said.get())

    async def _dispatch(self) -> None:
        try:
            if self._unwanted:
                self._call.fault = self._call.aborted()
            outcome = await self._connection.door.dispatch(self._call)
            if outcome.code is not Code.OK:
                code = STREAM_CODE if self._begun else SUBSCRIBE_CODES[outcome.code]
                self._lane.keep(self._connection.message("error", failure(code, outcome)))
        finally:
            self._lane.finish()

    async def _deliver(self, reply: bytes) -> None:
        self._begun = True
        event = pb.SteerSimulationResponse.FromString(reply)
        kind = event.WhichOneof("event")
        if kind == "frame":
            if not event.frame.HasField("field") and not any(each.HasField("field") for each in event.frame.species):
                text = "the frames of this session carry no field; start it with /ws/field to watch it here"
                raise MfnError.invalid([FieldViolation(field="resume_session", description=text)])
            await self._lane.put(encode_frame(event.frame, quantised=self._quantised))
        elif kind is not None:
            self._lane.keep(self._connection.message(kind, _plain(getattr(event, kind))))


def _plain(message: Any) -> dict[str, Any]:
    """The fields of a message of numbers, text and one enumeration, by their own names."""
    content: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.enum_type is not None:
            value = field.enum_type.values_by_number[value].name.removeprefix("SESSION_END_REASON_").lower()
        content[field.name] = value
    return content
