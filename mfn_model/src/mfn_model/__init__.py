"""The mathematics of MFN: field models, box counting and field statistics on NumPy.

Pure functions and immutable values, usable in a notebook alone; nothing here knows of servers or engines.

>>> from mfn_model import estimate_dimension, field_statistics, mycelium_spec, reference_mycelium
>>> state = reference_mycelium(mycelium_spec(seed=42, grid_size=32), steps=32)
>>> state.growth_events, round(field_statistics(state.field).mean_mv, 6)
(11, -69.949898)
"""

from mfn_model.dimension import (
    DimensionEstimate,
    box_counting_dimension_legacy,
    box_counting_legacy,
    estimate_dimension,
    legacy_box_sizes,
)
from mfn_model.mycelium import MYCELIUM, mycelium_spec, reference_mycelium
from mfn_model.mycelium_rd import MYCELIUM_RD, mycelium_rd_spec, reference_mycelium_rd
from mfn_model.nernst import equilibrium_potential, nernst_potential
from mfn_model.spec import (
    MODELS,
    Boundary,
    BoundViolation,
    Checkpoint,
    FieldModel,
    FieldSpec,
    FieldState,
    Parameter,
    ParameterValue,
    ParameterValues,
    SpecError,
    Species,
    UnknownModelError,
    get_model,
    register_model,
)
from mfn_model.stability import NumericalInstabilityError, require_finite
from mfn_model.statistics import FieldStatistics, active_mask, field_statistics, mean_and_std

__all__ = [
    "MODELS",
    "MYCELIUM",
    "MYCELIUM_RD",
    "BoundViolation",
    "Boundary",
    "Checkpoint",
    "DimensionEstimate",
    "FieldModel",
    "FieldSpec",
    "FieldState",
    "FieldStatistics",
    "NumericalInstabilityError",
    "Parameter",
    "ParameterValue",
    "ParameterValues",
    "SpecError",
    "Species",
    "UnknownModelError",
    "active_mask",
    "box_counting_dimension_legacy",
    "box_counting_legacy",
    "equilibrium_potential",
    "estimate_dimension",
    "field_statistics",
    "get_model",
    "legacy_box_sizes",
    "mean_and_std",
    "mycelium_rd_spec",
    "mycelium_spec",
    "nernst_potential",
    "reference_mycelium",
    "reference_mycelium_rd",
    "register_model",
    "require_finite",
]
