"""Field models from the literature, and the mycelium model in a form that makes patterns.

Importing this package registers them. Space is counted in cells and time in steps: a diffusion coefficient is in cells²
a step, at most 1/4, and `rate` says how much of a model's own time goes by in a step. Wavelengths scale with
√(diffusion / rate).
"""

from mfn_model.models.brusselator import BRUSSELATOR
from mfn_model.models.fitzhugh_nagumo import FITZHUGH_NAGUMO
from mfn_model.models.gierer_meinhardt import GIERER_MEINHARDT
from mfn_model.models.gray_scott import GRAY_SCOTT
from mfn_model.models.mycelium_turing import MYCELIUM_TURING
from mfn_model.models.schnakenberg import SCHNAKENBERG

__all__ = [
    "BRUSSELATOR",
    "FITZHUGH_NAGUMO",
    "GIERER_MEINHARDT",
    "GRAY_SCOTT",
    "MYCELIUM_TURING",
    "SCHNAKENBERG",
]
