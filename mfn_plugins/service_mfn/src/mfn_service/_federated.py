"""`mycelium.MyceliumService.AggregateFederated`: gradients in one message, by hierarchical Krum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mfn_core import Call, CancelToken, FieldViolation, MfnError, Operation, Shape
from mfn_core.execution import ComputePool
from mfn_model.aggregation import hierarchical_krum
from mfn_proto.defaults import effective
from mfn_proto.mycelium_pb2 import FederatedAggregateRequest, FederatedAggregateResponse, Gradient
from mfn_service._aggregators import AbortedError, aborting, hierarchical_cost, rows_breaches
from mfn_service._limits import Breach, WorkLimits, refuse, rule_breaches

__all__ = ["federated_operation"]

_SAMPLE_FRACTION = 0.1
"""Of more than 1000 gradients, those that are looked at; requests have no field for it."""
_NAMED = 8
"""Gradients at fault that one error names."""
_READ_AT_ONCE = 256
"""Gradients read between two looks at the call's token."""


def federated_operation(service: str, compute: ComputePool, limits: WorkLimits) -> Operation:
    """The operation, in the service of this name. Its replies are not cached: requests are long."""

    def validate(request: FederatedAggregateRequest) -> Sequence[FieldViolation]:
        found = _rule_breaches(request)
        if not found and (cost := _cost(request)) > limits.max_cell_steps:
            found.append(
                Breach(
                    field="gradients",
                    description=f"got {len(request.gradients)}, whose aggregation costs as much as {cost:.0f} "
                    f"cell-steps, and this server takes at most {limits.max_cell_steps} (server.max_cell_steps); "
                    "send fewer gradients, or ask for more clusters",
                    limit="max_cell_steps",
                )
            )
        return refuse(found)

    async def handler(request: FederatedAggregateRequest, call: Call) -> FederatedAggregateResponse:
        def job(cancel: CancelToken) -> FederatedAggregateResponse:
            found = hierarchical_krum(
                _matrix(request.gradients, cancel),
                num_clusters=int(effective(request, "num_clusters")),
                byzantine_fraction=float(effective(request, "byzantine_fraction")),
                sample_fraction=_SAMPLE_FRACTION,
                check=aborting(cancel),
            )
            return FederatedAggregateResponse(
                aggregated_gradient=found.gradient,
                num_accepted=len(found.accepted),
                num_rejected=len(found.rejected),
            )

        return await compute.run(call, job)

    return Operation(
        service=service,
        method="AggregateFederated",
        shape=Shape.UNARY,
        request_type=FederatedAggregateRequest,
        response_type=FederatedAggregateResponse,
        handler=handler,
        idempotent=True,
        deterministic=True,
        validate=validate,
        cost=_cost,
    )


def _rule_breaches(request: FederatedAggregateRequest) -> list[Breach]:
    """What breaks the rules of the definition.

    No rule is about a single gradient, and to visit a hundred thousand of them takes the rules longer than a call may
    hold the event loop: they are shown one.
    """
    shown = FederatedAggregateRequest(gradients=[Gradient()] if request.gradients else [])
    if request.HasField("num_clusters"):
        shown.num_clusters = request.num_clusters
    if request.HasField("byzantine_fraction"):
        shown.byzantine_fraction = request.byzantine_fraction
    return rule_breaches(shown)


def _cost(request: FederatedAggregateRequest) -> float:
    """In cell-steps, as if all gradients were as long as the first one: where they are not, the call is refused."""
    coordinates = max(1, len(request.gradients[0].values))
    clusters = int(effective(request, "num_clusters"))
    return hierarchical_cost(len(request.gradients), coordinates, clusters, _SAMPLE_FRACTION)


def _matrix(gradients: Sequence[Gradient], cancel: CancelToken) -> npt.NDArray[np.float64]:
    """The gradients as rows, read on a compute thread.

    Raises:
        MfnError: INVALID_ARGUMENT, which names the gradients that are empty, of another length than the first, or hold
            values that are no finite numbers within ±1e140.
        AbortedError: the call is not wanted any more.
    """
    lengths = np.fromiter((len(each.values) for each in gradients), dtype=np.int64, count=len(gradients))
    _require(_length_breaches(lengths))
    matrix = np.empty((len(gradients), int(lengths[0])))
    for first in range(0, len(gradients), _READ_AT_ONCE):
        if cancel.is_set():
            raise AbortedError
        for number in range(first, min(first + _READ_AT_ONCE, len(gradients))):
            matrix[number] = np.fromiter(gradients[number].values, dtype=np.float64, count=matrix.shape[1])
    _require(rows_breaches(matrix, cancel))
    return matrix


def _length_breaches(lengths: npt.NDArray[np.int64]) -> Iterator[Breach]:
    expected = int(lengths[0])
    for place in np.flatnonzero((lengths != expected) | (lengths == 0))[:_NAMED].tolist():
        if lengths[place] == 0:
            description = "got no values, and at least one is needed; send its values, or leave the gradient out"
        else:
            description = f"got {lengths[place]} values, and gradients[0] has {expected}; send gradients of one length"
        yield Breach(field=f"gradients[{place}]", description=description)


def _require(found: Iterator[Breach]) -> None:
    breaches = list(found)
    if breaches:
        raise MfnError.invalid(each.violation() for each in breaches)
