"""The plain Laplacian under each boundary, against convolution."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from mfn_model.stencil import laplacian, periodic_laplacian

KERNEL = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize("side", [1, 2, 5, 9])
@pytest.mark.parametrize(
    ("boundary", "mode"), [("periodic", "wrap"), ("neumann", "nearest"), ("dirichlet", "constant")]
)
def test_it_equals_a_convolution_with_that_edge(boundary: str, mode: str, side: int) -> None:
    values = np.random.default_rng(side).normal(size=(side, side))
    expected = ndimage.convolve(values, KERNEL, mode=mode, cval=0.3)
    assert np.allclose(laplacian(values, boundary, 0.3), expected, atol=1e-14)


def test_both_forms_of_the_periodic_one_agree_to_the_bit() -> None:
    values = np.random.default_rng(1).normal(size=(13, 13))
    assert np.array_equal(laplacian(values), periodic_laplacian(values))


def test_an_unknown_boundary_is_refused() -> None:
    with pytest.raises(ValueError, match="'robin'; known: periodic, neumann, dirichlet"):
        laplacian(np.zeros((2, 2)), "robin")
