"""Sweeps: many simulations over parameters and seeds, measured into one table, resumable whatever happens."""

from __future__ import annotations

from mfn.sweeps._axes import parameter_values
from mfn.sweeps._directory import SweepError, SweepSummary, carry_out, default_directory, resumed_plan
from mfn.sweeps._journal import JournalError
from mfn.sweeps._plan import SweepPlan
from mfn.sweeps._pools import LocalPool, Pool, ProcessPool
from mfn.sweeps._presets import SAMPLES, SCENARIOS
from mfn.sweeps._remote import remote_pool
from mfn.sweeps._request import Request, read_request
from mfn.sweeps._run import SweepFailedError
from mfn.sweeps._table import read_table
from mfn.sweeps.notebook import sweep

__all__ = [
    "SAMPLES",
    "SCENARIOS",
    "JournalError",
    "LocalPool",
    "Pool",
    "ProcessPool",
    "Request",
    "SweepError",
    "SweepFailedError",
    "SweepPlan",
    "SweepSummary",
    "carry_out",
    "default_directory",
    "parameter_values",
    "read_request",
    "read_table",
    "remote_pool",
    "resumed_plan",
    "sweep",
]
