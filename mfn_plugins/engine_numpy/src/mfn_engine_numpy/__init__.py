"""NumPy compute backend for MFN."""

from mfn_engine_numpy.backend import NumpyBackend
from mfn_engine_numpy.session import MyceliumSession

__all__ = ["MyceliumSession", "NumpyBackend"]
