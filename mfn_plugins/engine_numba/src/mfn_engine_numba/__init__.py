"""Compute backend for MFN on kernels that Numba compiles."""

from mfn_engine_numba.backend import NumbaBackend
from mfn_engine_numba.session import NumbaSession

__all__ = ["NumbaBackend", "NumbaSession"]
