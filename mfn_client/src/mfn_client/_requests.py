"""From the arguments of the SDK's methods to request messages, every field of them sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from mfn_proto.v1 import field_pb2

__all__ = [
    "CHUNK_BYTES",
    "FieldDtype",
    "filled",
    "frames",
    "header",
    "new_request_id",
    "specified",
    "upload",
    "upload_messages",
]

M = TypeVar("M", bound=Message)

FieldDtype = Literal["float64", "float32"]

CHUNK_BYTES = 256 * 1024
"""How much of a field goes into one message; the contract allows 1 MiB."""

_ENCODINGS = {
    "float64": field_pb2.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN,
    "float32": field_pb2.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN,
}


def new_request_id() -> str:
    """A request id that nobody has used: a random UUID, 36 characters."""
    return str(uuid4())


def filled(message: M, **fields: Any) -> M:
    """The message with scalar fields set; a value that the field's type cannot carry is named.

    What lies outside the bounds of the contract is the server's to refuse, for all fields at once.

    Raises:
        TypeError: a value has the wrong type.
        ValueError: a number does not fit into the field's type, or a text is no UTF-8.
    """
    for name, value in fields.items():
        try:
            setattr(message, name, value)
        except (TypeError, ValueError) as wrong:
            kind = type(wrong) if type(wrong) in (TypeError, ValueError) else ValueError
            raise kind(f"{name} cannot be sent as {value!r}: {wrong}") from None
    return message


def specified(
    *,
    model: str,
    seed: int,
    grid_size: int,
    alpha: float,
    spike_probability: float,
    turing_enabled: bool,
    jitter: bool,
) -> field_pb2.SimulationSpec:
    """What to simulate."""
    spec = filled(field_pb2.SimulationSpec(), model=model, grid_size=grid_size, seed=seed)
    filled(
        spec.mycelium,
        alpha=alpha,
        spike_probability=spike_probability,
        turing_enabled=turing_enabled,
        jitter=jitter,
    )
    return spec


def frames(*, every_n_steps: int, max_frames_per_second: float, field: FieldDtype | None) -> field_pb2.FrameOptions:
    """Which frames to send, and with which field.

    Raises:
        ValueError: `field` is neither None nor a dtype that fields travel in.
    """
    encoding = field_pb2.FIELD_ENCODING_NONE
    if field is not None:
        if field not in _ENCODINGS:
            raise ValueError(f"field must be 'float64', 'float32' or None, got {field!r}")
        encoding = _ENCODINGS[field]
    return filled(
        field_pb2.FrameOptions(),
        every_n_steps=every_n_steps,
        max_frames_per_second=max_frames_per_second,
        field_encoding=encoding,
    )


def upload(field: npt.ArrayLike) -> npt.NDArray[Any]:
    """A field as it travels: two-dimensional, C order, float32 where it is so already and float64 otherwise.

    Raises:
        ValueError: it is not two-dimensional, or not of real numbers.
    """
    array = np.asarray(field)
    if array.ndim != 2:
        raise ValueError(f"a field has two dimensions, rows and columns, got an array of shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"a field holds real numbers in volts, got an array of {array.dtype}")
    return np.ascontiguousarray(array, dtype="<f4" if array.dtype.itemsize == 4 and array.dtype.kind == "f" else "<f8")


def header(array: npt.NDArray[Any], *, request_id: str, threshold_volts: float) -> field_pb2.AnalyzeFieldHeader:
    """What the bytes of `array`, from `upload`, mean."""
    described = filled(
        field_pb2.AnalyzeFieldHeader(),
        request_id=request_id,
        encoding=_ENCODINGS["float32" if array.dtype.itemsize == 4 else "float64"],
        unit="V",
        threshold_volts=threshold_volts,
    )
    described.shape.extend(array.shape)
    return described


def upload_messages(described: field_pb2.AnalyzeFieldHeader, array: npt.NDArray[Any]) -> Iterator[bytes]:
    """The encoded messages of an upload: the header, then chunks. One chunk is copied at a time."""
    yield field_pb2.AnalyzeFieldRequest(header=described).SerializeToString()
    content = array.reshape(-1).view(np.uint8)
    for start in range(0, content.size, CHUNK_BYTES):
        chunk = content[start : start + CHUNK_BYTES].tobytes()
        yield field_pb2.AnalyzeFieldRequest(chunk=chunk).SerializeToString()
