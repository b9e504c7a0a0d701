"""Frames in bytes, read by the table in the module's page and nothing else."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_proto.v1 import field_pb2 as pb
from mfn_transport_asgi._websocket.field_frame import encode_frame

F4, F8 = pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN, pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN


def frame(values: np.ndarray, encoding: int = F8, unit: str = "V", **fields: object) -> pb.Frame:
    kind = "<f8" if encoding == F8 else "<f4"
    field = pb.Field(data=values.astype(kind).tobytes(), encoding=encoding, shape=values.shape, unit=unit)  # type: ignore[arg-type]  # a number of the enumeration
    return pb.Frame(field=field, **fields)  # type: ignore[arg-type]  # a table of fields


def numbers(raw: bytes) -> np.ndarray:
    """The cells of a frame."""
    rows, columns = struct.unpack_from("<II", raw, 8)
    scale, offset = struct.unpack_from("<dd", raw, 72)
    kind = {1: "<f4", 2: "u1", 3: "<f8"}[raw[5]]
    return offset + scale * np.frombuffer(raw, kind, offset=104).astype(float).reshape(rows, columns)


def test_every_field_of_the_header_stands_where_the_table_says() -> None:
    values = np.arange(6.0).reshape(2, 3)
    statistics = pb.FieldStatistics(min_volts=-1.5, max_volts=2.5, mean_volts=0.25, std_volts=0.125)
    raw = encode_frame(
        frame(
            values,
            step=7,
            is_final=True,
            growth_events=9,
            statistics=statistics,
            dimension=pb.FractalDimension(value=1.75),
        ),
        quantised=False,
    )
    assert raw[:4] == b"MFNF"
    assert (raw[4], raw[5], struct.unpack_from("<H", raw, 6)[0]) == (1, 3, 1)
    assert struct.unpack_from("<II", raw, 8) == (2, 3)
    assert struct.unpack_from("<QQ", raw, 16) == (7, 9)
    assert struct.unpack_from("<4d", raw, 32) == (-1.5, 2.5, 0.25, 0.125)
    assert struct.unpack_from("<3d", raw, 64) == (1.75, 1.0, 0.0)
    assert raw[88:104] == b"V" + bytes(15)
    assert np.array_equal(numbers(raw), values)
    assert len(raw) == 104 + 48


def test_an_undefined_dimension_is_no_number_and_the_frame_is_not_the_last() -> None:
    raw = encode_frame(frame(np.zeros((2, 2)), dimension=pb.FractalDimension(reason="nothing")), quantised=False)
    assert math.isnan(struct.unpack_from("<d", raw, 64)[0])
    assert struct.unpack_from("<H", raw, 6)[0] == 0


def test_a_species_that_was_asked_for_is_the_one_that_is_shown() -> None:
    values = np.array([[1.0, 2.0]])
    field = pb.Field(data=values.tobytes(), encoding=F8, shape=values.shape, unit="mol/m³")
    species = pb.SpeciesFrame(name="u", unit="mol/m³", min=1.0, max=2.0, mean=1.5, std=0.5, field=field)
    raw = encode_frame(pb.Frame(step=1, species=[species]), quantised=False)
    assert np.array_equal(numbers(raw), values)
    assert struct.unpack_from("<4d", raw, 32) == (1.0, 2.0, 1.5, 0.5)
    assert raw[88:104].rstrip(b"\0").decode() == "mol/m³"


def test_a_unit_that_is_too_long_is_cut_between_characters() -> None:
    raw = encode_frame(frame(np.zeros((1, 1)), unit="³" * 12), quantised=False)
    assert raw[88:104].rstrip(b"\0").decode() == "³" * 8
    raw = encode_frame(frame(np.zeros((1, 1)), unit="a" + "³" * 12), quantised=False)
    assert raw[88:104].rstrip(b"\0").decode() == "a" + "³" * 7


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=4, max_size=4).map(lambda found: np.array(found).reshape(2, 2))
)
def test_quantised_numbers_are_within_half_a_level(values: np.ndarray) -> None:
    raw = encode_frame(frame(values, F4), quantised=True)
    assert raw[5] == 2
    assert len(raw) == 104 + 4
    reach = float(values.max() - values.min())
    assert np.abs(numbers(raw) - values).max() <= reach / 510 * (1 + 1e-6) + 1e-12


@pytest.mark.parametrize("value", [0.0, -0.07, 5e-324, 1e300])
def test_a_field_of_one_value_is_that_value(value: float) -> None:
    raw = encode_frame(frame(np.full((2, 2), value)), quantised=True)
    assert np.array_equal(numbers(raw), np.full((2, 2), value))
