"""NumPy compute backend for MFN."""

from mfn_engine_numpy.backend import NumpyBackend
from mfn_engine_numpy.session import NumpySession

__all__ = ["NumpyBackend", "NumpySession"]
