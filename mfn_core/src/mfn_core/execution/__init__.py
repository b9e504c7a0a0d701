"""Compute off the event loop: bounded threads, runs that are done together, and sessions of the configured engine."""

from mfn_core.execution._batches import BatchCounts, BatchRules
from mfn_core.execution.bounded import BoundedExecutor
from mfn_core.execution.engines import Engine, choose_backend, spec_error
from mfn_core.execution.pool import ComputePool, RunningSession, available_cores
from mfn_core.execution.remote import EngineRecipe, RemoteRun

__all__ = [
    "BatchCounts",
    "BatchRules",
    "BoundedExecutor",
    "ComputePool",
    "Engine",
    "EngineRecipe",
    "RemoteRun",
    "RunningSession",
    "available_cores",
    "choose_backend",
    "spec_error",
]
