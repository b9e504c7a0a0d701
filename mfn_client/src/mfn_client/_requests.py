"""From the arguments of the SDK's methods to request messages, every field of them sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from mfn_proto.v1 import field_pb2

__all__ = [
    "CHUNK_BYTES",
    "HISTORIC",
    "FieldDtype",
    "Parameters",
    "filled",
    "frames",
    "header",
    "named_parameters",
    "new_request_id",
    "specified",
    "threshold",
    "upload",
    "upload_messages",
]

M = TypeVar("M", bound=Message)

FieldDtype = Literal["float64", "float32"]

Parameters = Mapping[str, float]
"""Parameters of a model by name; a switch is True or False."""

HISTORIC = ("mycelium", "mycelium_rd")
"""Models whose alpha, spike_probability, turing_enabled and jitter have defaults here; for any other model what is not
given is the model's own default."""

_MYCELIUM_DEFAULTS: Mapping[str, float] = {
    "alpha": 0.18,
    "spike_probability": 0.25,
    "turing_enabled": True,
    "jitter": False,
}

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
    boundary: str,
    own: Mapping[str, float | None],
    parameters: Parameters | None,
) -> field_pb2.SimulationSpec:
    """What to simulate.

    Args:
        model: name of the model.
        seed: of the generator.
        grid_size: cells along each side.
        boundary: what lies beyond the edge; empty: the model's own.
        own: the parameters that have an argument of their own; None: not given.
        parameters: all others by name.
    """
    spec = filled(field_pb2.SimulationSpec(), model=model, grid_size=grid_size, seed=seed, boundary=boundary)
    named = dict(parameters or {})
    given = {name: value for name, value in own.items() if value is not None}
    if model in HISTORIC:
        for name, default in _MYCELIUM_DEFAULTS.items():
            # What is said by name alone is sent in its field; what is said twice, the server refuses.
            value = given[name] if name in given else named.pop(name, default)
            filled(spec.mycelium, **{name: value})
    else:
        for name, value in given.items():
            if name in named:
                raise ValueError(f"{name} is given twice, as an argument and in parameters; leave one out")
            named[name] = value
    named_parameters(spec.parameter_values, named)
    return spec


def named_parameters(field: Any, parameters: Parameters | None) -> None:
    """Put parameters into the map of a request.

    Raises:
        TypeError: a name is no text, or a value no number.
    """
    for name, value in (parameters or {}).items():
        try:
            field[name] = value
        except (TypeError, ValueError) as wrong:
            raise type(wrong)(f"parameters[{name!r}] cannot be sent as {value!r}: {wrong}") from None


def frames(
    *,
    every_n_steps: int,
    max_frames_per_second: float,
    field: FieldDtype | None,
    species: Sequence[str],
    threshold: float | None,
) -> field_pb2.FrameOptions:
    """Which frames to send, and with which fields.

    Raises:
        ValueError: `field` is neither None nor a dtype that fields travel in.
    """
    encoding = field_pb2.FIELD_ENCODING_NONE
    if field is not None:
        if field not in _ENCODINGS:
            raise ValueError(f"field must be 'float64', 'float32' or None, got {field!r}")
        encoding = _ENCODINGS[field]
    if isinstance(species, str):
        raise ValueError(f"species are names in a list, got the text {species!r}")
    options = filled(
        field_pb2.FrameOptions(species=species),
        every_n_steps=every_n_steps,
        max_frames_per_second=max_frames_per_second,
        field_encoding=encoding,
    )
    return options if threshold is None else filled(options, threshold=threshold)


def upload(field: npt.ArrayLike) -> npt.NDArray[Any]:
    """A field as it travels: two-dimensional, C order, float32 where it is so already and float64 otherwise.

    Raises:
        ValueError: it is not two-dimensional, or not of real numbers, or cells of it are masked.
    """
    if isinstance(field, np.ma.MaskedArray) and np.ma.is_masked(field):
        masked = int(np.count_nonzero(np.ma.getmaskarray(field)))
        raise ValueError(
            f"a field has a number in every cell, got a masked array with {masked} of {field.size} cells masked; "
            "say what stands there with .filled(...)"
        )
    array = np.asarray(field)
    if array.ndim != 2:
        raise ValueError(f"a field has two dimensions, rows and columns, got an array of shape {array.shape}")
    if array.dtype.kind not in "fiu":
        raise ValueError(f"a field holds real numbers in volts, or levels, got an array of {array.dtype}")
    return np.ascontiguousarray(array, dtype="<f4" if array.dtype.itemsize == 4 and array.dtype.kind == "f" else "<f8")


def header(
    array: npt.NDArray[Any], *, request_id: str, unit: str, active: field_pb2.Threshold | float | None
) -> field_pb2.AnalyzeFieldHeader:
    """What the bytes of `array`, from `upload`, mean; `active` is a threshold of any kind, or one in volts."""
    described = filled(
        field_pb2.AnalyzeFieldHeader(),
        request_id=request_id,
        encoding=_ENCODINGS["float32" if array.dtype.itemsize == 4 else "float64"],
        unit=unit,
    )
    if isinstance(active, field_pb2.Threshold):
        described.threshold.CopyFrom(active)
    elif active is not None:
        filled(described, threshold_volts=active)
    described.shape.extend(array.shape)
    return described


def threshold(
    *, value: float | None, percentile: float | None, otsu: bool, adaptive: int | None, offset: float, invert: bool
) -> field_pb2.Threshold | None:
    """The one threshold that is asked for; None where there is none.

    Raises:
        ValueError: more than one is asked for, or an offset without a local one.
    """
    asked = {"threshold": value, "percentile": percentile, "adaptive": adaptive, "otsu": otsu or None}
    names = [name for name, each in asked.items() if each is not None]
    if len(names) > 1:
        raise ValueError(f"one threshold is taken, got {' and '.join(names)}; leave out all but one")
    if offset and adaptive is None:
        raise ValueError("offset belongs to adaptive; add it to the threshold instead")
    if not names and not invert:
        return None
    found = field_pb2.Threshold(invert=invert)
    if value is not None:
        filled(found, value=value)
    elif percentile is not None:
        filled(found, percentile=percentile)
    elif adaptive is not None:
        filled(found.adaptive, block=adaptive, offset=offset)
    else:
        found.otsu = True
    return found


def upload_messages(described: field_pb2.AnalyzeFieldHeader, array: npt.NDArray[Any]) -> Iterator[bytes]:
    """The encoded messages of an upload: the header, then chunks. One chunk is copied at a time."""
    yield field_pb2.AnalyzeFieldRequest(header=described).SerializeToString()
    content = array.reshape(-1).view(np.uint8)
    for start in range(0, content.size, CHUNK_BYTES):
        chunk = content[start : start + CHUNK_BYTES].tobytes()
        yield field_pb2.AnalyzeFieldRequest(chunk=chunk).SerializeToString()
