"""From reply messages of `mfn.v1.ModelService` to results."""

from __future__ import annotations

from mfn_client._model_results import Model, ModelParameter, ModelSpecies
from mfn_client._replies import parsed
from mfn_proto.v1 import model_pb2

__all__ = ["described", "listed"]


def listed(raw: bytes) -> tuple[Model, ...]:
    """The reply of ListModels."""
    return tuple(_model(each) for each in parsed(model_pb2.ListModelsResponse, raw).models)


def described(raw: bytes) -> Model:
    """The reply of DescribeModel."""
    return _model(parsed(model_pb2.DescribeModelResponse, raw).model)


def _model(message: model_pb2.Model) -> Model:
    return Model(
        name=message.name,
        summary=message.summary,
        species=tuple(_species(each) for each in message.species),
        parameters=tuple(_parameter(each) for each in message.parameters),
        boundaries=tuple(message.boundaries),
        equations=tuple(message.equations),
        sequential=message.sequential,
        source=message.source,
        instability=message.instability,
        computed=message.computed,
        potential=message.potential,
    )


def _species(message: model_pb2.Species) -> ModelSpecies:
    return ModelSpecies(
        name=message.name,
        unit=message.unit,
        description=message.description,
        symbol=message.symbol,
        when=message.when,
        minimum=message.minimum if message.HasField("minimum") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        initial=message.initial,
        outside=message.outside,
    )


def _parameter(message: model_pb2.Parameter) -> ModelParameter:
    return ModelParameter(
        name=message.name,
        switch=message.kind == model_pb2.PARAMETER_KIND_SWITCH,
        default=message.default_value,
        unit=message.unit,
        description=message.description,
        minimum=message.minimum if message.HasField("minimum") else None,
        maximum=message.maximum if message.HasField("maximum") else None,
        minimum_exclusive=message.minimum_exclusive,
        maximum_exclusive=message.maximum_exclusive,
    )
