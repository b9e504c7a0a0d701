"""`mycelium.MyceliumService.ComputeNernst`: one formula, computed where the call is, on the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from mfn_core import Call, FieldViolation, Operation, Shape
from mfn_model.nernst import BODY_TEMPERATURE, TEMPERATURE_RANGE, VALENCES, nernst_potential
from mfn_proto.mycelium_pb2 import NernstRequest, NernstResponse
from mfn_service._limits import refuse, rule_breaches

__all__ = ["nernst_operation", "plainly_valid"]

_COLDEST, _HOTTEST = TEMPERATURE_RANGE


def plainly_valid(request: NernstRequest) -> bool:
    """Whether the request keeps every rule, without asking them; False: let them judge.

    The rules take longer than all the rest of this operation.
    """
    return (
        request.z_valence in VALENCES
        and 0.0 < request.concentration_out_molar < inf
        and 0.0 < request.concentration_in_molar < inf
        and (_COLDEST <= request.temperature_k <= _HOTTEST or not request.HasField("temperature_k"))
    )


def nernst_operation(service: str) -> Operation:
    """The operation, in the service of this name. Its replies are not cached: they are sooner computed than found."""
    return Operation(
        service=service,
        method="ComputeNernst",
        shape=Shape.UNARY,
        request_type=NernstRequest,
        response_type=NernstResponse,
        handler=_handle,
        idempotent=True,
        deterministic=True,
        validate=_validate,
    )


def _validate(request: NernstRequest) -> Sequence[FieldViolation]:
    return () if plainly_valid(request) else refuse(rule_breaches(request))


async def _handle(request: NernstRequest, call: Call) -> NernstResponse:
    volts = nernst_potential(
        request.z_valence,
        request.concentration_out_molar,
        request.concentration_in_molar,
        request.temperature_k or BODY_TEMPERATURE,  # unset reads as 0, and a 0 that was sent has been refused
    )
    return NernstResponse(potential_mV=volts * 1000.0)
