"""Finding numbers that are not finite."""

from __future__ import annotations

import numpy as np
import pytest

from mfn_model import NumericalInstabilityError, require_finite


def test_finite_numbers_pass_however_large() -> None:
    require_finite(3, {"potential": np.full((4, 4), 1.7e308), "activator": np.full((4, 4), -5e-324)})


def test_the_first_species_at_fault_is_counted_and_named() -> None:
    good, bad = np.zeros((3, 3)), np.zeros((3, 3))
    bad[0, 0] = bad[2, 1] = np.nan
    bad[1, 1] = -np.inf
    with pytest.raises(NumericalInstabilityError) as caught:
        require_finite(7, {"potential": good, "activator": bad, "inhibitor": np.full((3, 3), np.nan)})
    error = caught.value
    assert (error.step, error.species, error.nan_count, error.inf_count) == (7, "activator", 2, 1)
    assert str(error).startswith("the simulation is unstable: after step 7 the activator holds 2 NaN and 1 infinite")
