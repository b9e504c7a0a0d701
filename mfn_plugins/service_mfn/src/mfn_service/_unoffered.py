"""Operations that are defined and not offered by this version: there to be found, and to say so."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from mfn_core import Call, Code, MfnError, Operation, Service, Shape
from mfn_proto.mfn_pb2 import ValidationRequest, ValidationResult

__all__ = ["VALIDATION", "unoffered", "validation_service"]

VALIDATION = "mfn.MFNValidationService"


def unoffered(service: str, method: str, request: type[Any], reply: type[Any]) -> Operation:
    """A unary operation that answers UNIMPLEMENTED, whatever it is asked."""
    text = f"{service}/{method} is defined, and not offered by version {version('mfn-service')} of this service"

    async def handler(request: Any, call: Call) -> Any:
        raise MfnError(Code.UNIMPLEMENTED, text, details={"operation": f"{service}/{method}"})

    return Operation(
        service=service,
        method=method,
        shape=Shape.UNARY,
        request_type=request,
        response_type=reply,
        handler=handler,
        idempotent=True,
        deterministic=True,
    )


def validation_service() -> Service:
    """The validation training of package `mfn`."""
    return Service(
        name=VALIDATION, operations=(unoffered(VALIDATION, "ValidatePattern", ValidationRequest, ValidationResult),)
    )
