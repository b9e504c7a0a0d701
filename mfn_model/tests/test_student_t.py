"""Student's t."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from mfn_model._student_t import two_sided_quantile


@pytest.mark.parametrize("degrees", [*range(1, 12), 30, 101, 1000])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_quantiles_are_those_of_another_implementation(degrees: int, confidence: float) -> None:
    expected = stats.t.ppf(0.5 + confidence / 2, degrees)
    assert two_sided_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-9)


def test_one_and_two_degrees_have_closed_forms() -> None:
    assert two_sided_quantile(0.95, 1) == pytest.approx(math.tan(math.pi * 0.475), rel=1e-12)
    assert two_sided_quantile(0.5, 2) == pytest.approx(math.sqrt(2 / 3), rel=1e-12)


@pytest.mark.parametrize(("confidence", "degrees"), [(0.0, 3), (1.0, 3), (math.nan, 3), (0.95, 0)])
def test_what_has_no_quantile_is_refused(confidence: float, degrees: int) -> None:
    with pytest.raises(ValueError, match=r"confidence must lie between 0 and 1|degrees must be at least 1"):
        two_sided_quantile(confidence, degrees)
