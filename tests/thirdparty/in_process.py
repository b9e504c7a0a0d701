"""A transport that is this process, and a service of one operation: a whole server without a socket.

`python in_process.py mfn.toml KEY` assembles the server of the file and makes one call with the key. It prints the code
of the call's end and the reply: the mean potential after some steps on the engine that the file names.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.wrappers_pb2 import DoubleValue, Int64Value

from mfn_core import (
    Call,
    ComponentContext,
    ComponentSpec,
    Dispatcher,
    Metadata,
    NoSettings,
    Operation,
    Peer,
    Request,
    Service,
    Shape,
    hookimpl,
)
from mfn_core.components import ComponentKind
from mfn_core.config import read_document
from mfn_core.server import assemble
from mfn_model import mycelium_spec

MEAN = "/toy.Fields/Mean"


class HereTransport:
    """Calls are made by `call`."""

    addresses: Sequence[str] = ("here",)

    def __init__(self, config: NoSettings, context: ComponentContext) -> None:
        self.dispatcher: Dispatcher | None = None

    async def start(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    async def drain(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def call(self, path: str, message: bytes, key: str) -> str:
        assert self.dispatcher is not None
        call = Call(
            id=self.dispatcher.new_call_id(),
            operation=self.dispatcher.operations[path],
            transport="here",
            metadata=Metadata([("x-toy-key", key)]),
            peer=Peer(address="unix:"),
            request=Request(raw=message),
        )
        outcome = await self.dispatcher.dispatch(call)
        mean = "none" if outcome.reply is None else DoubleValue.FromString(outcome.reply).value
        return f"{outcome.code.name} {mean}"


class FieldService:
    """`Mean`: the mean potential after so many steps, in volts."""

    def __init__(self, config: NoSettings, context: ComponentContext) -> None:
        self.compute = context.compute

    @property
    def services(self) -> Sequence[Service]:
        mean = Operation(
            service="toy.Fields",
            method="Mean",
            shape=Shape.UNARY,
            request_type=Int64Value,
            response_type=DoubleValue,
            handler=self.mean,
        )
        return [Service(name=mean.service, operations=[mean])]

    async def mean(self, steps: Int64Value, call: Call) -> DoubleValue:
        spec = mycelium_spec(spike_probability=0.0, turing_enabled=False)
        async with self.compute.session(call, spec) as session:
            state = await session.step(steps.value)
        return DoubleValue(value=float(state.field.mean()))


class InProcess:
    """The plugin `in_process:plugin`."""

    @hookimpl
    def mfn_transports(self) -> list[ComponentSpec]:
        return [ComponentSpec(name="here", factory=HereTransport, summary="this process")]

    @hookimpl
    def mfn_services(self) -> list[ComponentSpec]:
        return [ComponentSpec(name="fields", factory=FieldService, summary="means of fields")]


plugin = InProcess()


async def main(file: Path, key: str) -> None:
    server = assemble(read_document(file))
    await server.start()
    try:
        transport = server.component(ComponentKind.TRANSPORT, "here")
        print(await transport.call(MEAN, Int64Value(value=5).SerializeToString(), key))
    finally:
        await server.stop()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
