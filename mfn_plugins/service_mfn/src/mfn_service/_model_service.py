"""`mfn.v1.ModelService`: which models there are, and what they are made of."""

from __future__ import annotations

import math
from typing import Any

from mfn_core import Call, Code, MfnError, Operation, Service, Shape
from mfn_core.execution import ComputePool
from mfn_model import MODELS, FieldModel, FieldSpec, Parameter, Species, UnknownModelError, get_model
from mfn_model.equations import equation, initial_text, step_events
from mfn_proto.v1 import model_pb2 as pb
from mfn_service._limits import refuse, rule_breaches
from mfn_service._models import names_potential

__all__ = ["MODEL_SERVICE", "described_model", "model_service"]

MODEL_SERVICE = "mfn.v1.ModelService"


def model_service(compute: ComputePool) -> Service:
    """The service; `compute` knows which models an engine of the server runs."""

    async def list_models(request: pb.ListModelsRequest, call: Call) -> pb.ListModelsResponse:
        return pb.ListModelsResponse(models=[described_model(each, compute) for _, each in sorted(MODELS.items())])

    async def describe_model(request: pb.DescribeModelRequest, call: Call) -> pb.DescribeModelResponse:
        try:
            model = get_model(request.name)
        except UnknownModelError as unknown:
            raise MfnError(
                Code.NOT_FOUND,
                str(unknown),
                reason="the server has no such model",
                details={"model": request.name},
            ) from unknown
        return pb.DescribeModelResponse(model=described_model(model, compute))

    def operation(method: str, request: type[Any], response: type[Any], handler: Any) -> Operation:
        return Operation(
            service=MODEL_SERVICE,
            method=method,
            shape=Shape.UNARY,
            request_type=request,
            response_type=response,
            handler=handler,
            idempotent=True,
            deterministic=True,
            validate=lambda message: refuse(rule_breaches(message)),
        )

    return Service(
        name=MODEL_SERVICE,
        operations=(
            operation("ListModels", pb.ListModelsRequest, pb.ListModelsResponse, list_models),
            operation("DescribeModel", pb.DescribeModelRequest, pb.DescribeModelResponse, describe_model),
        ),
    )


def described_model(model: FieldModel, compute: ComputePool) -> pb.Model:
    """A model as a message."""
    return pb.Model(
        name=model.name,
        summary=model.summary,
        species=[_species(each) for each in model.species],
        parameters=[_parameter(each) for each in model.parameters],
        boundaries=model.boundaries,
        equations=[*(equation(each) for each in model.species), *step_events(model)],
        sequential=model.update == "sequential",
        source=model.source,
        instability=model.instability,
        computed=_computed(model, compute),
        potential=names_potential(model),
    )


def _computed(model: FieldModel, compute: ComputePool) -> bool:
    try:
        compute.backend_for(FieldSpec(model=model.name, grid_size=1, seed=0))
    except MfnError:
        return False
    return True


def _species(species: Species) -> pb.Species:
    return pb.Species(
        name=species.name,
        unit=species.unit,
        description=species.description,
        symbol=species.symbol or species.name,
        when=species.when or "",
        minimum=_bound(species.minimum),
        maximum=_bound(species.maximum),
        initial=initial_text(species),
        outside=species.outside,
    )


def _parameter(parameter: Parameter) -> pb.Parameter:
    switch = parameter.kind == "bool"
    return pb.Parameter(
        name=parameter.name,
        kind=pb.PARAMETER_KIND_SWITCH if switch else pb.PARAMETER_KIND_NUMBER,
        default_value=float(parameter.default),
        unit=parameter.unit,
        description=parameter.description,
        minimum=_bound(parameter.minimum),
        minimum_exclusive=parameter.minimum_exclusive,
        maximum=_bound(parameter.maximum),
        maximum_exclusive=parameter.maximum_exclusive,
    )


def _bound(value: float) -> float | None:
    return value if math.isfinite(value) else None
