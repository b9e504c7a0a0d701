"""Methods of `mycelium.MyceliumService`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy.typing as npt

from mfn_client import _mycelium_replies, _replies
from mfn_client._caller import Caller
from mfn_client._methods_aggregation import gradient_vectors
from mfn_client._mycelium_results import FederatedAggregate, RunHistory, RunUpdate, ShortValidation
from mfn_client._requests import HISTORIC, Parameters, filled, named_parameters, new_request_id
from mfn_client.streams import ReplyStream
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto import mycelium_pb2

__all__ = ["aggregate_federated", "nernst", "simulate_history", "stream_history", "validate"]


async def nernst(
    self: Caller,
    *,
    z_valence: int,
    concentration_out_molar: float,
    concentration_in_molar: float,
    temperature_k: float = 310.0,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> float:
    """The equilibrium potential of an ion across a membrane, inside against outside, in mV.

    It is R·T / (z·F) · ln(out / in), the Nernst equation, with R = 8.314 J/(mol·K) and F = 96485.33212 C/mol.

    Args:
        z_valence: charge of the ion: -2, -1, 1 or 2.
        concentration_out_molar: outside, mol/L, positive; below 1e-6 it counts as 1e-6.
        concentration_in_molar: inside, mol/L, likewise.
        temperature_k: absolute temperature, 273 to 373 K.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = filled(
        mycelium_pb2.NernstRequest(),
        z_valence=z_valence,
        concentration_out_molar=concentration_out_molar,
        concentration_in_molar=concentration_in_molar,
        temperature_k=temperature_k,
    )
    return await self._calls.unary(
        "/mycelium.MyceliumService/ComputeNernst",
        request.SerializeToString(),
        _replies.nernst_potential,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


async def validate(
    self: Caller,
    *,
    seed: int = 42,
    epochs: int = 1,
    grid_size: int = 32,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> ShortValidation:
    """The training of `validate_pattern`, with runs of 64 steps and batches of 4, as package `mycelium` tells it.

    Args:
        seed: of the generator of the training fields, at least 0; the example field uses seed + 1.
        epochs: passes over the training fields, at least 1.
        grid_size: cells along each side, at least 1.
        model: name of another model whose field is in volts; None: "mycelium".
        parameters: further parameters of the model by name.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = filled(mycelium_pb2.ValidateRequest(), seed=seed, epochs=epochs, grid_size=grid_size)
    if model is not None:
        filled(request, model=model)
    named_parameters(request.parameters, parameters)
    return await self._calls.unary(
        "/mycelium.MyceliumService/Validate",
        request.SerializeToString(),
        _mycelium_replies.short_validation,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


async def simulate_history(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 100,
    alpha: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> RunHistory:
    """Run one simulation of the model "mycelium_rd" and describe the potential after every step.

    Args:
        seed: of the generator, 0 to 2³¹−1.
        grid_size: cells along each side, at least 1.
        steps: explicit Euler steps, at least 1.
        alpha: diffusion coefficient, 0.05 ≤ alpha < 0.25; None: 0.18, or the default of a model other than
            "mycelium" and "mycelium_rd".
        turing_enabled: whether the activator and inhibitor run; False for a model that has none.
        model: name of another model whose field is in volts; None: "mycelium_rd".
        parameters: further parameters of the model by name.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = _run(seed, grid_size, steps, alpha, turing_enabled, model, parameters)
    return await self._calls.unary(
        "/mycelium.MyceliumService/Simulate",
        request.SerializeToString(),
        _mycelium_replies.run_history,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


def stream_history(
    self: Caller,
    *,
    seed: int = 42,
    grid_size: int = 64,
    steps: int = 100,
    alpha: float | None = None,
    turing_enabled: bool = True,
    model: str | None = None,
    parameters: Parameters | None = None,
    request_id: str | None = None,
    timeout: Timeout = None,
) -> ReplyStream[RunUpdate]:
    """The run of `simulate_history`, described while it goes on: one update for every step; arguments are the same."""
    request = _run(seed, grid_size, steps, alpha, turing_enabled, model, parameters)
    return self._calls.server_stream(
        "/mycelium.MyceliumService/SimulateStream",
        request.SerializeToString(),
        _mycelium_replies.run_update,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


async def aggregate_federated(
    self: Caller,
    gradients: npt.ArrayLike | Iterable[npt.ArrayLike],
    *,
    num_clusters: int = 10,
    byzantine_fraction: float = 0.2,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> FederatedAggregate:
    """Combine gradients by hierarchical Krum, in one message; for long ones there is `aggregate_gradients`.

    Args:
        gradients: one vector for each client: an array [clients, coordinates], or an iterable of vectors.
        num_clusters: of the first level, at least 1.
        byzantine_fraction: share of the gradients that may be wrong, 0 ≤ byzantine_fraction < 0.5.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.

    Raises:
        ValueError: the gradients are no vectors of real numbers of one length.
    """
    vectors = gradient_vectors(gradients)
    request = filled(
        mycelium_pb2.FederatedAggregateRequest(), num_clusters=num_clusters, byzantine_fraction=byzantine_fraction
    )
    for vector in vectors:
        request.gradients.add().values.extend(vector.tolist())
    return await self._calls.unary(
        "/mycelium.MyceliumService/AggregateFederated",
        request.SerializeToString(),
        _mycelium_replies.federated_aggregate,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


def _run(
    seed: int,
    grid_size: int,
    steps: int,
    alpha: float | None,
    turing_enabled: bool,
    model: str | None,
    parameters: Parameters | None,
) -> mycelium_pb2.SimulateRequest:
    request = filled(
        mycelium_pb2.SimulateRequest(), seed=seed, grid_size=grid_size, steps=steps, turing_enabled=turing_enabled
    )
    if model is not None:
        filled(request, model=model)
    if alpha is None and (not model or model in HISTORIC):
        alpha = 0.18
    if alpha is not None:
        filled(request, alpha=alpha)
    named_parameters(request.parameters, parameters)
    return request
