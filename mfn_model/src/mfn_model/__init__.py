"""The mathematics of MFN: field models, box counting and field statistics on NumPy.

Pure functions and immutable values, usable in a notebook alone; nothing here knows of servers or engines.

>>> from mfn_model import estimate_dimension, field_statistics, mycelium_spec, reference_mycelium
>>> state = reference_mycelium(mycelium_spec(seed=42, grid_size=32), steps=32)
>>> state.growth_events, round(field_statistics(state.field).mean_mv, 6)
(11, -69.949898)
"""

from mfn_model._own_step import OwnStep, StepUpdate, own_step, register_step
from mfn_model.dimension import (
    DimensionEstimate,
    box_counting_dimension_legacy,
    box_counting_legacy,
    estimate_dimension,
    legacy_box_sizes,
)
from mfn_model.linear_stability import fastest_growing_wavelength, steady_state, turing_unstable
from mfn_model.models import (
    BRUSSELATOR,
    FITZHUGH_NAGUMO,
    GIERER_MEINHARDT,
    GRAY_SCOTT,
    MYCELIUM_TURING,
    SCHNAKENBERG,
)
from mfn_model.mycelium import MYCELIUM, mycelium_spec, reference_mycelium
from mfn_model.mycelium_rd import MYCELIUM_RD, mycelium_rd_spec, reference_mycelium_rd
from mfn_model.nernst import equilibrium_potential, nernst_potential
from mfn_model.reference import reference
from mfn_model.spec import (
    MODELS,
    Boundary,
    BoundViolation,
    Checkpoint,
    Constant,
    FieldModel,
    FieldSpec,
    FieldState,
    Initial,
    Kick,
    Noise,
    Normal,
    Parameter,
    ParameterValue,
    ParameterValues,
    Patches,
    SpecError,
    Species,
    Spike,
    Uniform,
    UnknownModelError,
    Update,
    get_model,
    register_model,
)
from mfn_model.spectrum import PowerSpectrum, dominant_wavelength, power_spectrum
from mfn_model.stability import NumericalInstabilityError, require_finite
from mfn_model.statistics import FieldStatistics, active_mask, field_statistics, mean_and_std

__all__ = [
    "BRUSSELATOR",
    "FITZHUGH_NAGUMO",
    "GIERER_MEINHARDT",
    "GRAY_SCOTT",
    "MODELS",
    "MYCELIUM",
    "MYCELIUM_RD",
    "MYCELIUM_TURING",
    "SCHNAKENBERG",
    "BoundViolation",
    "Boundary",
    "Checkpoint",
    "Constant",
    "DimensionEstimate",
    "FieldModel",
    "FieldSpec",
    "FieldState",
    "FieldStatistics",
    "Initial",
    "Kick",
    "Noise",
    "Normal",
    "NumericalInstabilityError",
    "OwnStep",
    "Parameter",
    "ParameterValue",
    "ParameterValues",
    "Patches",
    "PowerSpectrum",
    "SpecError",
    "Species",
    "Spike",
    "StepUpdate",
    "Uniform",
    "UnknownModelError",
    "Update",
    "active_mask",
    "box_counting_dimension_legacy",
    "box_counting_legacy",
    "dominant_wavelength",
    "equilibrium_potential",
    "estimate_dimension",
    "fastest_growing_wavelength",
    "field_statistics",
    "get_model",
    "legacy_box_sizes",
    "mean_and_std",
    "mycelium_rd_spec",
    "mycelium_spec",
    "nernst_potential",
    "own_step",
    "power_spectrum",
    "reference",
    "reference_mycelium",
    "reference_mycelium_rd",
    "register_model",
    "register_step",
    "require_finite",
    "steady_state",
    "turing_unstable",
]
