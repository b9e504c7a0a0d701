"""`mfn.v1.ModelService`."""

from __future__ import annotations

from typing import Any

import pytest

from mfn_core import Code
from mfn_model import MODELS
from mfn_proto.v1 import model_pb2 as pb

LIST = "/mfn.v1.ModelService/ListModels"
DESCRIBE = "/mfn.v1.ModelService/DescribeModel"


async def test_every_registered_model_is_listed_in_alphabetic_order(served: Any) -> None:
    reply = await served.reply(LIST, pb.ListModelsRequest())
    assert [model.name for model in reply.models] == sorted(MODELS)
    for model in reply.models:
        assert (await served.reply(DESCRIBE, pb.DescribeModelRequest(name=model.name))).model == model


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_a_description_says_all_that_a_request_needs_to_know(served: Any, name: str) -> None:
    model = (await served.reply(DESCRIBE, pb.DescribeModelRequest(name=name))).model
    declared = MODELS[name]
    assert (model.summary, model.source) == (declared.summary, declared.source)
    assert model.instability == declared.instability
    assert tuple(model.boundaries) == declared.boundaries
    assert [(each.name, each.unit, each.when) for each in model.species] == [
        (each.name, each.unit, each.when or "") for each in declared.species
    ]
    assert model.potential == (declared.species[0].unit == "V")
    assert model.computed
    assert model.sequential == (name == "mycelium")
    for told, parameter in zip(model.parameters, declared.parameters, strict=True):
        assert (told.name, told.unit, told.description) == (parameter.name, parameter.unit, parameter.description)
        assert told.default_value == float(parameter.default)
        switch = parameter.kind == "bool"
        assert told.kind == (pb.PARAMETER_KIND_SWITCH if switch else pb.PARAMETER_KIND_NUMBER)
        assert told.HasField("minimum") == told.HasField("maximum") == (not switch)
        if not switch:
            assert (told.minimum, told.maximum) == (parameter.minimum, parameter.maximum)


async def test_the_equations_of_a_model_are_lines_that_a_person_reads(served: Any) -> None:
    model = (await served.reply(DESCRIBE, pb.DescribeModelRequest(name="mycelium_rd"))).model
    assert list(model.equations) == [
        "v <- v + alpha * L(v)",
        "a <- a + (d_activator * L(a) + r_activator * (a * (1 - a) - h))",
        "h <- h + (d_inhibitor * L(h) + r_inhibitor * (a - h))",
        "spike of potential with probability spike_probability: N(0.02, (0.005)²)",
        "where activator > turing_threshold: potential gains 0.005",
        "noise of potential: N(0, jitter_variance), with jitter",
    ]
    potential = model.species[0]
    assert (potential.symbol, potential.initial, potential.outside) == ("v", "N(-0.07, (0.005)²)", "boundary_potential")
    assert (potential.minimum, potential.maximum) == (-0.095, 0.04)
    alpha = model.parameters[0]
    assert (alpha.minimum_exclusive, alpha.maximum_exclusive) == (False, True)


async def test_a_model_that_no_engine_computes_is_told_as_such(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.backend, "supports", lambda spec: spec.model == "mycelium")
    reply = await served.reply(LIST, pb.ListModelsRequest())
    assert [model.name for model in reply.models if model.computed] == ["mycelium"]


async def test_a_name_that_nobody_declared_is_not_found_and_the_nearest_is_told(served: Any) -> None:
    outcome = await served.unary(DESCRIBE, pb.DescribeModelRequest(name="myceliun"))
    assert outcome.code is Code.NOT_FOUND
    assert "did you mean 'mycelium'?" in outcome.message
    assert outcome.error.details == {"model": "myceliun"}


@pytest.mark.parametrize("name", ["", "x" * 65])
async def test_a_name_out_of_bounds_is_refused(served: Any, name: str) -> None:
    outcome = await served.unary(DESCRIBE, pb.DescribeModelRequest(name=name))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == ["name"]


async def test_descriptions_cost_nothing_and_use_no_thread(served: Any) -> None:
    async def forbidden(*arguments: Any, **expected: Any) -> Any:
        raise AssertionError("it went to the compute pool")

    served.compute.run = forbidden
    await served.reply(LIST, pb.ListModelsRequest())
    assert served.charges == []
