"""From reply messages of package `mycelium` to results."""

from __future__ import annotations

import numpy as np

from mfn_client._mycelium_results import FederatedAggregate, RunHistory, RunUpdate, ShortValidation
from mfn_client._replies import parsed
from mfn_proto import mycelium_pb2

__all__ = ["federated_aggregate", "run_history", "run_update", "short_validation"]


def short_validation(raw: bytes) -> ShortValidation:
    """The reply of Validate."""
    reply = parsed(mycelium_pb2.ValidateResponse, raw)
    return ShortValidation(
        loss_start=reply.loss_start,
        loss_final=reply.loss_final,
        loss_drop=reply.loss_drop,
        pot_min_mv=reply.pot_min_mV,
        pot_max_mv=reply.pot_max_mV,
        lyapunov_exponent=reply.lyapunov_exponent,
        nernst_symbolic_mv=reply.nernst_symbolic_mV,
    )


def run_history(raw: bytes) -> RunHistory:
    """The reply of Simulate."""
    reply = parsed(mycelium_pb2.SimulateResponse, raw)
    if len(reply.field_mean) != len(reply.field_std):
        raise ValueError(f"{len(reply.field_mean)} means and {len(reply.field_std)} deviations of one run")
    return RunHistory(
        mean_volts=tuple(reply.field_mean),
        std_volts=tuple(reply.field_std),
        growth_events=reply.growth_events,
        fractal_dimension=reply.fractal_dimension,
        last_min_volts=reply.field_stats.min,
        last_max_volts=reply.field_stats.max,
        last_mean_volts=reply.field_stats.mean,
        last_std_volts=reply.field_stats.std,
    )


def run_update(raw: bytes) -> RunUpdate:
    """One reply of SimulateStream."""
    reply = parsed(mycelium_pb2.SimulationUpdate, raw)
    return RunUpdate(
        step=reply.step,
        total_steps=reply.total_steps,
        pot_mean_mv=reply.pot_mean_mV,
        pot_std_mv=reply.pot_std_mV,
        growth_events=reply.growth_events,
        completed=reply.completed,
    )


def federated_aggregate(raw: bytes) -> FederatedAggregate:
    """The reply of AggregateFederated."""
    reply = parsed(mycelium_pb2.FederatedAggregateResponse, raw)
    gradient = np.fromiter(reply.aggregated_gradient, dtype=np.float64, count=len(reply.aggregated_gradient))
    gradient.flags.writeable = False
    return FederatedAggregate(gradient=gradient, accepted=reply.num_accepted, rejected=reply.num_rejected)
