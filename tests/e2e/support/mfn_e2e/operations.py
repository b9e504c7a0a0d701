"""One operation of each shape, with a call of it that takes a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from attrs import frozen
from google.protobuf.message import Message

from mfn_e2e.calls import Caller, Header
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1

__all__ = ["EXAMPLES", "Example"]


@frozen(kw_only=True)
class Example:
    """An operation, what to send to it, and how many replies come back."""

    shape: str
    path: str
    messages: Callable[[], Sequence[Message]]
    replies: int

    @property
    def client_streams(self) -> bool:
        """Whether its requests are not covered by the signature."""
        return self.shape in ("client_stream", "bidi")

    def raw(self) -> list[bytes]:
        """The encoded requests."""
        return [message.SerializeToString() for message in self.messages()]

    def body(self) -> bytes | None:
        """What is signed."""
        return None if self.client_streams else self.raw()[0]

    def sign(self, caller: Caller, *, nonce: str | None = None, timestamp: int | None = None) -> list[Header]:
        """The headers of a right call of it."""
        return caller.sign(self.path, self.body(), nonce=nonce, timestamp=timestamp)


def _upload() -> Sequence[Message]:
    field = np.linspace(-0.07, -0.05, 64, dtype="<f8").tobytes()
    header = v1.AnalyzeFieldHeader(shape=[8, 8], encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN, unit="V")
    return [
        v1.AnalyzeFieldRequest(header=header),
        v1.AnalyzeFieldRequest(chunk=field[:200]),
        v1.AnalyzeFieldRequest(chunk=field[200:]),
    ]


EXAMPLES = (
    Example(
        shape="unary",
        path="/mfn.MFNSimulationService/RunSimulation",
        messages=lambda: [w1.SimulationRequest(seed=3, grid_size=8, steps=4, alpha=0.18)],
        replies=1,
    ),
    Example(
        shape="server_stream",
        path="/mfn.MFNSimulationService/StreamSimulation",
        messages=lambda: [w1.SimulationStreamRequest(seed=3, grid_size=8, total_steps=4, steps_per_frame=2)],
        replies=2,
    ),
    Example(shape="client_stream", path="/mfn.v1.FieldService/AnalyzeField", messages=_upload, replies=1),
    Example(
        shape="bidi",
        path="/mfn.v1.FieldService/SteerSimulation",
        messages=lambda: [
            v1.SteerSimulationRequest(
                start=v1.StartCommand(
                    simulation=v1.SimulationSpec(grid_size=8, seed=3),
                    total_steps=4,
                    frames=v1.FrameOptions(every_n_steps=2),
                )
            )
        ],
        replies=4,  # started, two frames, ended
    ),
)
