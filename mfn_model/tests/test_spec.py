"""Specifications: complete, checked, immutable, portable."""

from __future__ import annotations

import dataclasses
import math
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_model import (
    MODELS,
    FieldModel,
    FieldSpec,
    Parameter,
    ParameterValues,
    SpecError,
    Species,
    UnknownModelError,
    get_model,
    mycelium_spec,
    register_model,
)
from mfn_model.spec import MAXIMUM_SEED


def spec(**changes: Any) -> FieldSpec:
    arguments: dict[str, Any] = {"model": "mycelium", "grid_size": 16, "seed": 1, "parameters": {}}
    return FieldSpec(**{**arguments, **changes})


def fields_of(error: SpecError) -> list[str]:
    return [violation.field for violation in error.violations]


def toy(**changes: Any) -> FieldModel:
    arguments: dict[str, Any] = {
        "name": "toy",
        "summary": "nothing",
        "species": (Species(name="u", unit="1", description="nothing"),),
        "parameters": (Parameter(name="k", default=1.0, unit="1", description="nothing", minimum=0.0),),
        "boundary": "periodic",
        "source": "this test",
    }
    return FieldModel(**{**arguments, **changes})


def test_defaults_are_filled_in() -> None:
    assert dict(spec().parameters) == {
        "alpha": 0.18,
        "spike_probability": 0.25,
        "turing_enabled": True,
        "turing_threshold": 0.75,
        "jitter": False,
        "jitter_variance": 0.0005,
    }
    assert spec() == mycelium_spec(seed=1, grid_size=16)


def test_equal_specifications_are_equal_keys_whatever_was_spelled_out() -> None:
    one, other = spec(), spec(parameters={"jitter": np.bool_(False), "alpha": np.float64(0.18)})
    assert one == other
    assert hash(one) == hash(other)
    assert {one: 1}[other] == 1
    assert one != spec(parameters={"alpha": 0.17})
    assert hash(ParameterValues({"a": 1.0, "b": 2.0})) == hash(ParameterValues({"b": 2.0, "a": 1.0}))


def test_values_become_python_numbers() -> None:
    made = spec(
        grid_size=np.int32(8), seed=np.uint64(5), parameters={"alpha": np.float32(0.25), "spike_probability": 1}
    )
    assert (type(made.grid_size), type(made.seed)) == (int, int)
    assert type(made["alpha"]) is float
    assert type(made["spike_probability"]) is float


def test_a_specification_cannot_be_changed() -> None:
    made = spec()
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 2  # type: ignore[misc]  # what is being tested
    with pytest.raises(TypeError):
        made.parameters["alpha"] = 0.1  # type: ignore[index]  # what is being tested


def test_changing_the_mapping_given_does_not_change_the_specification() -> None:
    given_parameters = {"alpha": 0.1}
    made = spec(parameters=given_parameters)
    given_parameters["alpha"] = 0.2
    assert made["alpha"] == 0.1


def test_a_specification_survives_pickling() -> None:
    made = spec(seed=MAXIMUM_SEED, parameters={"alpha": 0.1})
    received = pickle.loads(pickle.dumps(made))
    assert received == made
    assert hash(received) == hash(made)


def test_a_specification_can_be_made_in_a_fresh_process() -> None:
    code = (
        "import pickle, sys; spec = pickle.loads(sys.stdin.buffer.read()); "
        "print(spec.declaration.name, spec['alpha'], type(spec)(model='mycelium', grid_size=4, seed=0).seed)"
    )
    sent = pickle.dumps(spec(parameters={"alpha": 0.125}))
    done = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["mycelium", "0.125", "0"]


def test_all_violations_are_reported_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        spec(grid_size=0, seed=-1, parameters={"alpha": 0.3, "jitter": 1, "alhpa": 0.1})
    assert fields_of(caught.value) == ["grid_size", "seed", "alpha", "jitter", "alhpa"]
    assert "did you mean 'alpha'?" in str(caught.value)


def test_violations_are_found_without_making_a_specification() -> None:
    assert FieldSpec.violations(model="mycelium", grid_size=8, seed=0) == ()
    (violation,) = FieldSpec.violations(model="mycelium", grid_size=8, seed=0, parameters={"alpha": math.nan})
    assert violation.field == "alpha"
    assert math.isnan(violation.value)  # type: ignore[arg-type]  # it is the nan given above
    assert violation.message == "alpha must be finite, got nan; the bound is 0 < alpha <= 0.25"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400, "0.18", None, True, [0.1], 0.1j])
def test_a_parameter_that_is_no_finite_number_is_refused(value: object) -> None:
    with pytest.raises(SpecError) as caught:
        spec(parameters={"alpha": value})
    assert fields_of(caught.value) == ["alpha"]


@pytest.mark.parametrize("value", [0, 1, 1.0, "true", None, math.nan])
def test_a_switch_that_is_no_truth_value_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="jitter must be true or false"):
        spec(parameters={"jitter": value})


@pytest.mark.parametrize("value", [0, -3, 2.0, "8", None, True, math.nan])
def test_a_grid_that_is_no_positive_integer_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="the bound is 1 <= grid_size"):
        spec(grid_size=value)


@pytest.mark.parametrize("value", [-1, MAXIMUM_SEED + 1, 1.5, None, False])
def test_a_seed_out_of_range_is_refused(value: object) -> None:
    with pytest.raises(SpecError, match="seed"):
        spec(seed=value)


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'mycelium'"):
        spec(model="mycelum")
    with pytest.raises(UnknownModelError, match="did you mean 'mycelium'"):
        get_model("Mycelium")
    with pytest.raises(UnknownModelError, match=r"known: .*'mycelium'"):
        get_model("qqqq")
    for strange in (None, 3, ["mycelium"]):
        with pytest.raises(SpecError, match="no model"):
            spec(model=strange)


def test_parameters_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(SpecError, match="parameters must be a mapping"):
        spec(parameters=[("alpha", 0.1)])


def test_the_boundary_is_the_models_own_unless_another_of_its_own_is_named() -> None:
    model = register_model(toy(name="with_edges", further_boundaries=("neumann",)))
    assert model.boundaries == ("periodic", "neumann")
    default = spec(model="with_edges")
    assert default.boundary == "periodic"
    assert default == spec(model="with_edges", boundary="periodic")
    closed = spec(model="with_edges", boundary="neumann")
    assert closed != default
    assert hash(closed) != hash(default)
    assert closed.with_parameters(k=2.0).boundary == "neumann"
    assert pickle.loads(pickle.dumps(closed)) == closed


@pytest.mark.parametrize("boundary", ["dirichlet", "Periodic", None, 0, np.zeros(2)])
def test_a_boundary_that_the_model_does_not_know_is_refused(boundary: Any) -> None:
    with pytest.raises(SpecError, match="boundary") as caught:
        spec(boundary=boundary, parameters={"alpha": 7.0})
    assert fields_of(caught.value) == ["boundary", "alpha"]
    assert caught.value.violations[0].bound == "boundary is one of periodic"


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(SpecError, match="no parameter 7"):
        spec(parameters={7: 0.1})


def test_a_huge_value_is_shown_abbreviated() -> None:
    with pytest.raises(SpecError) as caught:
        spec(parameters={"alpha": "x" * 100_000})
    assert len(str(caught.value)) < 300


def test_of_many_unknown_names_the_first_are_told_and_the_others_counted() -> None:
    with pytest.raises(SpecError) as caught:
        spec(parameters={f"k{index}": 1.0 for index in range(100_000)})
    assert fields_of(caught.value) == [*(f"k{index}" for index in range(20)), "parameters"]
    assert str(caught.value).endswith("and 99980 more names that model 'mycelium' does not have; leave them out")


def test_a_long_name_is_shown_abbreviated_and_is_near_to_none() -> None:
    with pytest.raises(SpecError, match="known: ") as caught:
        spec(parameters={"alpha" * 1000: 1.0})
    (field,) = fields_of(caught.value)
    assert len(field) == 80
    assert len(str(caught.value)) < 400


def test_a_value_whose_repr_raises_is_refused_all_the_same() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(SpecError, match="Hostile whose repr raises RuntimeError"):
        spec(parameters={"alpha": Hostile()})


def test_an_error_survives_pickling_with_its_violations() -> None:
    with pytest.raises(SpecError) as caught:
        spec(grid_size=0, parameters={"alpha": 1.0})
    received = pickle.loads(pickle.dumps(caught.value))
    assert received.violations == caught.value.violations
    assert str(received) == str(caught.value)
    unknown = pickle.loads(pickle.dumps(UnknownModelError("x")))
    assert unknown.name == "x"


def test_changes_are_checked_as_a_new_specification() -> None:
    made = spec(parameters={"alpha": 0.1})
    assert made.with_parameters(jitter=True).parameters == {**made.parameters, "jitter": True}
    assert made["jitter"] is False
    with pytest.raises(SpecError, match="alpha"):
        made.with_parameters(alpha=-1.0)
    with pytest.raises(SpecError, match="no parameter 'beta'"):
        made.with_parameters(beta=1.0)


def test_parameters_that_one_model_has_taken_are_examined_by_another() -> None:
    taken = FieldSpec(model="mycelium", grid_size=8, seed=1, parameters={"alpha": 0.1}).parameters
    again = FieldSpec(model="mycelium", grid_size=9, seed=2, parameters=taken)
    assert again.parameters == taken
    with pytest.raises(SpecError) as refused:
        FieldSpec(model="gray_scott", grid_size=8, seed=1, parameters=taken)
    assert {each.field for each in refused.value.violations} == set(taken)


def test_a_parameter_of_another_model_is_no_item() -> None:
    assert spec().number("alpha") == 0.18
    assert spec().switch("turing_enabled") is True
    with pytest.raises(KeyError):
        spec()["beta"]
    with pytest.raises(SpecError, match="did you mean 'alpha'"):
        get_model("mycelium").parameter("alhpa")


@given(
    alpha=st.floats(allow_nan=True, allow_infinity=True),
    grid_size=st.integers(-5, 5000),
    seed=st.integers(-5, 2**64),
)
def test_making_a_specification_and_examining_its_arguments_agree(alpha: float, grid_size: int, seed: int) -> None:
    arguments: dict[str, Any] = {"grid_size": grid_size, "seed": seed, "parameters": {"alpha": alpha}}
    violations = FieldSpec.violations(model="mycelium", **arguments)
    expected = [
        *([] if grid_size >= 1 else ["grid_size"]),
        *([] if 0 <= seed <= MAXIMUM_SEED else ["seed"]),
        *([] if 0 < alpha <= 0.25 else ["alpha"]),
    ]
    assert [violation.field for violation in violations] == expected
    if expected:
        with pytest.raises(SpecError):
            spec(**arguments)
    else:
        assert spec(**arguments)["alpha"] == alpha


def test_the_catalogue_is_read_only_and_registering_again_changes_nothing() -> None:
    model = toy(name="registered_twice")
    assert register_model(model) is model
    assert register_model(toy(name="registered_twice")) == MODELS["registered_twice"]
    with pytest.raises(ValueError, match="a different model 'registered_twice'"):
        register_model(toy(name="registered_twice", boundary="neumann"))
    with pytest.raises(TypeError):
        MODELS["x"] = model  # type: ignore[index]  # what is being tested


def test_a_declaration_with_an_invalid_default_is_refused() -> None:
    parameter = Parameter(name="k", default=-1.0, unit="1", description="", minimum=0.0)
    with pytest.raises(ValueError, match="invalid default: k is out of range"):
        toy(parameters=(parameter,))


def test_a_declaration_without_species_or_with_a_parameter_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="no species"):
        toy(species=())
    with pytest.raises(ValueError, match="a parameter twice: k, k"):
        toy(parameters=2 * toy().parameters)


@pytest.mark.parametrize(
    ("changes", "bound"),
    [
        ({}, "k"),
        ({"minimum": 0.0}, "0 <= k"),
        ({"maximum": 2.0, "maximum_exclusive": True}, "k < 2"),
        ({"minimum": 0.0, "maximum": 2.0, "minimum_exclusive": True}, "0 < k <= 2"),
    ],
)
def test_a_bound_reads_as_mathematics(changes: dict[str, Any], bound: str) -> None:
    assert Parameter(name="k", default=1.0, unit="1", description="", **changes).bound == bound
