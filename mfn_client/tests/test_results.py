"""Results as values."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import numpy as np
import pytest

import mfn_client
from mfn_client import Dimension, FieldStatistics, Frame


def frame(field: Any = None) -> Frame:
    return Frame(
        request_id="r",
        step=1,
        is_final=False,
        statistics=FieldStatistics(min_volts=-0.08, max_volts=-0.06, mean_volts=-0.07, std_volts=0.001),
        growth_events=0,
        dimension=Dimension(value=None, reason="the mask is empty", r_squared=None, scales=()),
        fractal_dimension=0.0,
        field=field,
    )


def test_frames_are_equal_where_their_fields_are() -> None:
    ones = np.ones((2, 2))
    assert frame(ones) == frame(ones.copy())
    assert hash(frame(ones)) == hash(frame(ones.copy()))
    assert frame() == frame()
    for other in (frame(), frame(np.zeros((2, 2))), frame(np.ones((2, 3))), frame(ones.astype(np.float32))):
        assert frame(ones) != other


def test_a_frame_shows_its_field_in_a_few_words() -> None:
    assert "field=<float64 array of 300 × 300>" in repr(frame(np.zeros((300, 300))))
    assert "field=None" in repr(frame())


@pytest.mark.parametrize("value", [frame(), frame().statistics, frame().dimension])
def test_results_cannot_be_changed(value: Any) -> None:
    name = attrs.fields(type(value))[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(value, name, None)


def test_results_survive_pickling() -> None:
    original = frame(np.arange(4.0).reshape(2, 2))
    assert pickle.loads(pickle.dumps(original)) == original


def test_statistics_come_in_millivolts_too() -> None:
    statistics = frame().statistics
    assert [statistics.min_mv, statistics.max_mv, statistics.mean_mv, statistics.std_mv] == pytest.approx(
        [-80.0, -60.0, -70.0, 1.0]
    )


def test_every_exported_name_is_there() -> None:
    assert len(set(mfn_client.__all__)) == len(mfn_client.__all__)
    for name in mfn_client.__all__:
        assert hasattr(mfn_client, name), name
