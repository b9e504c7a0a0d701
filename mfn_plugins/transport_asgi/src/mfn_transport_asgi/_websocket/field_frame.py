"""A frame of a field in bytes, for viewers: a header of 104 bytes, then the numbers. All of it little-endian.

| offset | type | what |
| --- | --- | --- |
| 0 | 4 bytes | `MFNF` |
| 4 | uint8 | version, 1 |
| 5 | uint8 | type of the numbers: 1 float32, 2 uint8, 3 float64 |
| 6 | uint16 | bit 0: the last frame of the run |
| 8 | uint32 | rows |
| 12 | uint32 | columns |
| 16 | uint64 | steps completed |
| 24 | uint64 | growth events since the initial field |
| 32 | 4 × float64 | minimum, maximum, mean and standard deviation of the field |
| 64 | float64 | fractal dimension; NaN where it is undefined |
| 72 | float64 | scale |
| 80 | float64 | offset: a cell is `offset + scale × number` |
| 88 | 16 bytes | unit of the cells, UTF-8, filled up with zeros |
| 104 | numbers | row by row |

Statistics are those of the field itself, before it is rounded or quantised.
"""

from __future__ import annotations

import math
import struct

import numpy as np
from numpy.typing import NDArray

from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._websocket.features import cells

__all__ = ["FLOAT32", "FLOAT64", "HEADER", "MAGIC", "UINT8", "VERSION", "encode_frame"]

MAGIC = b"MFNF"
VERSION = 1
FLOAT32, UINT8, FLOAT64 = 1, 2, 3
FINAL = 1
HEADER = struct.Struct("<4sBBHIIQQ4dddd16s")

LEVELS = 255

_TYPES = {pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: FLOAT32, pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: FLOAT64}


def encode_frame(frame: pb.Frame, *, quantised: bool) -> bytes:
    """A frame that carries its field, of its first species or of the one that was asked for.

    Args:
        frame: of the service.
        quantised: whether the numbers become uint8, at most half a 255th of the field's range from what they were.
    """
    described = next((each for each in frame.species if each.HasField("field")), None)
    field = frame.field if described is None else described.field
    if described is None and frame.species:
        described = frame.species[0]
    if described is not None:
        low, high, mean, std = described.min, described.max, described.mean, described.std
    else:
        found = frame.statistics
        low, high, mean, std = found.min_volts, found.max_volts, found.mean_volts, found.std_volts
    rows, columns = field.shape
    kind, scale, offset, data = _TYPES[field.encoding], 1.0, 0.0, field.data
    if quantised:
        kind, data, scale, offset = UINT8, *_quantise(cells(field))
    return (
        HEADER.pack(
            MAGIC,
            VERSION,
            kind,
            FINAL if frame.is_final else 0,
            rows,
            columns,
            frame.step,
            max(0, frame.growth_events),
            low,
            high,
            mean,
            std,
            frame.dimension.value if frame.dimension.HasField("value") else math.nan,
            scale,
            offset,
            _unit(field.unit),
        )
        + data
    )


def _quantise(field: NDArray[np.floating]) -> tuple[bytes, float, float]:
    """The numbers in 256 levels, the step between two, and the lowest."""
    field = field.astype(np.float64)  # in which the least step of a narrower field is no zero
    low, high = float(field.min()), float(field.max())
    scale = (high - low) / LEVELS
    if scale <= 0.0 or not math.isfinite(scale):
        return bytes(field.size), 0.0, low
    return np.rint((field - low) / scale).clip(0, LEVELS).astype(np.uint8).tobytes(), scale, low


def _unit(unit: str) -> bytes:
    raw = unit.encode()
    while len(raw) > 16:
        unit = unit[:-1]
        raw = unit.encode()
    return raw
