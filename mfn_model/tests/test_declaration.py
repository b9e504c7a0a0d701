"""Declarations of models: complete, checked as a whole, and enough to compile a step from."""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from mfn_model import (
    MYCELIUM,
    MYCELIUM_RD,
    Constant,
    FieldModel,
    FieldSpec,
    Kick,
    Noise,
    Normal,
    Parameter,
    Patches,
    SpecError,
    Species,
    Spike,
    Uniform,
    register_model,
)


def number(name: str, default: float = 0.1, minimum: float = 0.0, maximum: float = 1.0) -> Parameter:
    return Parameter(name=name, default=default, unit="1", description="a number", minimum=minimum, maximum=maximum)


def switch(name: str) -> Parameter:
    return Parameter(name=name, default=True, unit="1", description="a switch", kind="bool")


def species(name: str, **changes: Any) -> Species:
    return Species(name=name, unit="1", description="a quantity", **changes)


def model(*kinds: Species, **changes: Any) -> FieldModel:
    arguments: dict[str, Any] = {
        "name": "declared",
        "summary": "for a test",
        "species": kinds or (species("prey", symbol="u"), species("predator", symbol="w")),
        "parameters": (number("d"), number("k"), number("dt"), switch("hunted")),
        "boundary": "periodic",
        "source": "this test",
    }
    return FieldModel(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"species": ()}, "no species"),
        ({"species": (species("u"), species("u", symbol="w"))}, "gives two species the same name: u, u"),
        ({"species": (species("x", symbol="u"), species("u"))}, "gives two species the same symbol: u, u"),
        ({"species": (species("lambda"),)}, "has the symbol 'lambda', which no formula can name"),
        ({"species": (species("u", symbol="k"),)}, "a name for a species and for a parameter: k"),
        ({"species": (species("u", when="hunted"),)}, "can switch its field off"),
        ({"species": (species("u", minimum=1.0, maximum=0.0),)}, "the range [1, 0] is empty"),
        ({"species": (species("u", maximum=math.nan),)}, "the range [-inf, nan] is empty"),
        ({"species": (species("u"), species("w", when="hunter"))}, "no switch 'hunter'; did you mean 'hunted'?"),
        ({"species": (species("u", diffusion="dd"),)}, "there is no 'dd' in 'dd'; did you mean 'd'?"),
        ({"species": (species("u", diffusion="d *"),)}, "the diffusion coefficient of u: 'd *', column 3"),
        ({"species": (species("u", diffusion="d * u"),)}, "u in 'd * u' is a species; only parameters may stand"),
        ({"species": (species("u", diffusion="0.3"),)}, "the diffusion coefficient of u: 0.3 breaks 0 <= 0.3 <= 0.25"),
        ({"species": (species("u", diffusion="dt * 4"),)}, "invalid defaults: the diffusion coefficient of u, dt * 4,"),
        ({"species": (species("u", reaction="u * w"),)}, "the reaction of u: there is no 'w' in 'u * w'"),
        ({"species": (species("u", reaction="u * hunted"),)}, "hunted in 'u * hunted' is a switch and no number"),
        ({"species": (species("u", reaction="u * (1 / 0)"),)}, "a part of the reaction of u: 1 / 0 breaks"),
        (
            {"species": (species("u", reaction="w"), species("w", when="hunted"))},
            "the reaction of u: w exists only with the switch 'hunted'",
        ),
        ({"species": (species("u", outside="kk"),)}, "the value of u beyond the edge: there is no 'kk'"),
        (
            {"species": (species("u", initial=Normal(deviation="-1")),)},
            "the deviation of the initial u: -1 breaks 0 <=",
        ),
        ({"species": (species("u", initial=Uniform(low="1", high="0")),)}, "the width of the initial u: 0 - 1 breaks"),
        ({"species": (species("u", initial=Constant(value="x")),)}, "the initial u: there is no 'x'"),
        ({"boundary": "neuman"}, "has the boundary 'neuman'; did you mean 'neumann'?"),
        ({"further_boundaries": ("periodic",)}, "names a boundary twice: periodic, periodic"),
        ({"update": "both"}, "has the update 'both'"),
        ({"parameters": (number("None"),)}, "has the parameter 'None', which no formula can name"),
        (
            {"spikes": (Spike(species="pray", probability="k", mean="0", deviation="1"),)},
            "there is no species 'pray'; did you mean 'prey'?",
        ),
        (
            {"spikes": (Spike(species="prey", probability="2", mean="0", deviation="1"),)},
            "the probability of spikes of prey: 2 breaks 0 <= 2 <= 1",
        ),
        (
            {"spikes": (Spike(species="prey", probability="k", mean="0", deviation="-k"),)},
            "has invalid defaults: the deviation of spikes of prey, -k, is -0.1; the bound is 0 <= -k; change k",
        ),
        (
            {"kicks": (Kick(species="u", above="k", target="predator", amount="1", counter="kicks"),)},
            "kick of 'predator': there is no species 'u'",
        ),
        (
            {"kicks": (Kick(species="prey", above="k", target="w", amount="1", counter="kicks"),)},
            "kick by 'prey': there is no species 'w'",
        ),
        (
            {"kicks": (Kick(species="prey", above="k", target="prey", amount="1", counter="growth_events"),)},
            "'growth_events' cannot be a counter of its own",
        ),
        ({"noises": (Noise(species="prey", variance="-1"),)}, "the variance of the noise of prey: -1 breaks 0 <="),
        ({"noises": (Noise(species="prey", variance="k", when="k"),)}, "no switch 'k'"),
        (
            {"patches": Patches(count="1", side="0", values=(("prey", "1"), ("prey", "2")))},
            "the side of patches: 0 breaks 1 <= 0 <= 1e+06; patches: a species has two values: prey, prey",
        ),
        ({"patches": Patches(count="1", side="2", values=(("x", "1"),))}, "patches: there is no species 'x'"),
        ({"steady_state": ("0",)}, "has 1 steady values for 2 species"),
        ({"steady_state": ("0", "1 / q")}, "the steady state: there is no 'q'"),
        # Parts of another type than the declaration's.
        ({"species": (species("u", initial=1.0),)}, "the initial u is a Normal, a Uniform or a Constant, got 1.0"),
        ({"species": (species("u", initial="1"),)}, "the initial u is a Normal, a Uniform or a Constant, got '1'"),
        (
            {"species": (species("u", diffusion=0.2),)},
            'the diffusion coefficient of u is a text such as "0.2", got 0.2',
        ),
        (
            {"species": (species("u", diffusion=0.0),)},
            'the diffusion coefficient of u is a text such as "0.0", got 0.0',
        ),
        ({"species": (species("u", reaction=None),)}, 'the reaction of u is a text such as "0.2", got None'),
        ({"species": (species("u", outside=1),)}, 'the value of u beyond the edge is a text such as "1", got 1'),
        ({"species": (species("u", initial=Constant(value=0)),)}, 'the initial u is a text such as "0", got 0'),
        (
            {"species": (species("u", initial=Uniform(low=0, high="1")),)},
            'an end of the initial u is a text such as "0", got 0',
        ),
        (
            {"spikes": (Spike(species="prey", probability=0.3, mean="0", deviation="1"),)},
            'the probability of spikes of prey is a text such as "0.3", got 0.3',
        ),
        ({"steady_state": (0, "1")}, 'the steady state is a text such as "0", got 0'),
        ({"species": (species("u", minimum="0"),)}, "the minimum of u is a number such as 0.5, got '0'"),
        ({"species": (species("u", maximum=None),)}, "the maximum of u is a number such as 0.5, got None"),
        ({"parameters": (number("d", minimum="0"),)}, "has the parameter 'd' with the minimum '0'"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="model 'declared' ") as caught:
        model(**changes)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", "bad name", "a\nb", "../../evil", "Upper", "1st", "_u", "naïve", "a\0b", "a" * 65, 7]
)
def test_a_name_that_nobody_can_call_a_model_by_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="take 1 to 64 of a-z, 0-9 and _, beginning with a letter") as caught:
        model(name=name)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_a_name_may_have_as_many_characters_as_a_call_can_carry() -> None:
    assert model(name="m" * 64).name == "m" * 64


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(ValueError, match="model 'declared'") as caught:
        model(
            species("prey", symbol="u", diffusion="q", reaction="u +"),
            parameters=(number("d", default=-1.0),),
            noises=(Noise(species="prai", variance="v"),),
        )
    for problem in ("no 'q'", "'u +', column", "invalid default: d is out of range", "no species 'prai'", "no 'v'"):
        assert problem in str(caught.value)


def test_a_declaration_is_immutable_hashable_and_picklable() -> None:
    for declared in (model(), MYCELIUM, MYCELIUM_RD):
        received = pickle.loads(pickle.dumps(declared))
        assert received == declared
        assert hash(received) == hash(declared)
        assert received.dynamics == declared.dynamics
        assert hash(received.dynamics) == hash(declared.dynamics)
        with pytest.raises(FrozenInstanceError):
            declared.name = "other"
    assert model() != model(update="sequential")
    assert replace(MYCELIUM, summary="another") != MYCELIUM


def test_the_range_of_the_field_is_that_of_its_species() -> None:
    assert model(species("u", minimum=0.0)).clamp == (0.0, math.inf)
    assert MYCELIUM.clamp == (-0.095, 0.040)


def test_what_is_made_of_parameters_is_examined_with_every_specification() -> None:
    register_model(
        model(
            species("heat", symbol="u", diffusion="dt * d", reaction="dt * u * (k / (1 - k))"),
            name="examined",
            noises=(Noise(species="heat", variance="k - 0.05"),),
        )
    )
    at_the_limit = FieldSpec(model="examined", grid_size=4, seed=0, parameters={"dt": 0.5, "d": 0.5})
    assert at_the_limit["dt"] == 0.5
    with pytest.raises(SpecError) as caught:
        at_the_limit.with_parameters(d=0.51, k=0.01)
    stability, variance = caught.value.violations
    assert (stability.field, stability.value, stability.bound) == ("dt", 0.255, "0 <= dt * d <= 0.25")
    assert stability.message == (
        "the diffusion coefficient of heat, dt * d, is 0.255; the bound is 0 <= dt * d <= 0.25; change dt or d"
    )
    assert (variance.field, variance.bound) == ("k", "0 <= k - 0.05")
    with pytest.raises(
        SpecError, match=r"a part of the reaction of heat, k / \(1 - k\), is inf; the bound .* is finite"
    ):
        at_the_limit.with_parameters(k=1.0)
    assert [
        each.field for each in FieldSpec.violations(model="examined", grid_size=4, seed=0, parameters={"dt": 7})
    ] == ["dt"]  # its own bound alone: a product with it says nothing new


def test_bounds_of_single_parameters_make_the_examination_needless() -> None:
    assert not MYCELIUM._requirements
    assert not MYCELIUM_RD._requirements


def test_coefficients_stand_in_one_table_whatever_is_switched() -> None:
    dynamics = MYCELIUM_RD.dynamics
    parameters = {each.name: each.default for each in MYCELIUM_RD.parameters}
    values = dynamics.values(parameters)
    potential, activator, inhibitor = dynamics.species
    assert [values[each.diffusion or 0] for each in dynamics.species] == [0.18, 0.1, 0.05]
    assert potential.reaction is None
    assert activator.reaction is not None
    assert inhibitor.reaction is not None
    assert activator.reaction.names == {"a", "h"}
    assert values[potential.outside] == 0.0
    (noise,) = dynamics.noises
    assert values[noise.deviation] == math.sqrt(0.0005)
    off = dynamics.switched({**parameters, "turing_enabled": False, "jitter": False})
    assert off.coefficients == dynamics.coefficients
    assert off.counters == dynamics.counters == ("turing_activations", "clamping_events")
    assert ([each.name for each in off.species], off.kicks, off.noises) == (["potential"], (), ())
    assert off.spikes == dynamics.spikes
    on = dynamics.switched({**parameters, "jitter": True})
    assert on == dynamics


def test_what_acts_on_an_absent_species_is_left_out_with_it() -> None:
    declared = model(
        species("prey", symbol="u"),
        species("predator", symbol="w", when="hunted"),
        spikes=(Spike(species="predator", probability="k", mean="0", deviation="1"),),
        kicks=(
            Kick(species="predator", above="k", target="prey", amount="1", counter="fled"),
            Kick(species="prey", above="k", target="predator", amount="1", counter="fed"),
        ),
        noises=(Noise(species="predator", variance="k"),),
    )
    parameters = {"d": 0.1, "k": 0.1, "dt": 0.1, "hunted": False}
    off = declared.dynamics.switched(parameters)
    assert (off.spikes, off.kicks, off.noises, off.counters) == ((), (), (), ("fled", "fed"))
    assert [each.name for each in declared.present(parameters)] == ["prey"]
    on = declared.dynamics.switched({**parameters, "hunted": True})
    assert (len(on.spikes), len(on.kicks), len(on.noises)) == (1, 2, 1)
