"""Models by name in runs: package `mfn`, package `mycelium`, `Simulate`, and steering of parameters by name."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mfn_core import Code
from mfn_model import (
    MODELS,
    FieldSpec,
    FieldState,
    SpecError,
    active_mask,
    box_counting_dimension_legacy,
    estimate_dimension,
    reference,
)
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2
from mfn_proto.v1 import field_pb2 as v1
from mfn_service._commands import set_together

EXTRACT = "/mfn.MFNFeaturesService/ExtractFeatures"
STREAM_FEATURES = "/mfn.MFNFeaturesService/StreamFeatures"
RUN = "/mfn.MFNSimulationService/RunSimulation"
STREAM = "/mfn.MFNSimulationService/StreamSimulation"
SIMULATE_W2 = "/mycelium.MyceliumService/Simulate"
STREAM_W2 = "/mycelium.MyceliumService/SimulateStream"
SIMULATE = "/mfn.v1.FieldService/Simulate"
STEER = "/mfn.v1.FieldService/SteerSimulation"
FLOAT64 = v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN

POTENTIALS = sorted(name for name, model in MODELS.items() if model.species[0].unit == "V")
OTHERS = sorted(set(MODELS) - set(POTENTIALS))


def named(message: Any, model: str = "", **parameters: float) -> Any:
    """The message, about this model."""
    if model:
        message.model = model
    for name, value in parameters.items():
        message.parameters[name] = value
    return message


def close(found: float, expected: float) -> bool:
    return math.isclose(found, expected, rel_tol=1e-9, abs_tol=1e-12)


def array(field: v1.Field) -> Any:
    return np.frombuffer(field.data, "<f8").reshape(tuple(field.shape))


# Packages of long standing.


@pytest.mark.parametrize("model", POTENTIALS)
async def test_a_run_of_any_potential_has_the_numbers_of_its_model(served: Any, model: str) -> None:
    spec = FieldSpec(
        model=model,
        grid_size=16,
        seed=3,
        parameters={"alpha": 0.12, "spike_probability": 0.9, "turing_enabled": True, "jitter": True},
    )
    last = reference(spec, 20)
    fields: dict[str, Any] = {
        "seed": 3,
        "grid_size": 16,
        "alpha": 0.12,
        "spike_probability": 0.9,
        "turing_enabled": True,
    }
    features = await served.reply(EXTRACT, named(w1.FeatureRequest(steps=20, **fields), model, jitter=1.0))
    assert close(features.pot_mean_mV, float(last.field.mean()) * 1000.0)
    assert close(features.pot_std_mV, float(last.field.std()) * 1000.0)
    assert close(features.pot_max_mV, float(last.field.max()) * 1000.0)
    assert features.growth_events == last.growth_events
    assert features.fractal_dimension == box_counting_dimension_legacy(active_mask(last.field))
    result = await served.reply(RUN, named(w1.SimulationRequest(steps=20, **fields), model, jitter=1.0))
    streamed = named(w1.FeatureStreamRequest(total_steps=20, steps_per_frame=7, **fields), model, jitter=1.0)
    plain = named(w1.SimulationStreamRequest(total_steps=20, steps_per_frame=7, **fields), model, jitter=1.0)
    frames = await served.frames(STREAM_FEATURES, streamed)
    simulated = await served.frames(STREAM, plain)
    for name in ("pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV", "growth_events"):
        expected = getattr(features, name)
        assert getattr(result, name) == getattr(frames[-1], name) == getattr(simulated[-1], name) == expected, name


@pytest.mark.parametrize("model", POTENTIALS)
async def test_a_described_run_of_any_potential_has_the_numbers_of_its_model(served: Any, model: str) -> None:
    spike_probability = (
        0.25 if model in ("mycelium", "mycelium_rd") else MODELS[model].parameter("spike_probability").default
    )
    spec = FieldSpec(
        model=model,
        grid_size=12,
        seed=4,
        parameters={
            "alpha": 0.1,
            "turing_enabled": True,
            "spike_probability": spike_probability,
            "turing_threshold": 0.7,
        },
    )
    last = reference(spec, 15)
    request = named(
        w2.SimulateRequest(seed=4, grid_size=12, steps=15, alpha=0.1, turing_enabled=True), model, turing_threshold=0.7
    )
    reply = await served.reply(SIMULATE_W2, request)
    assert close(reply.field_mean[-1], float(last.field.mean()))
    assert close(reply.field_stats.std, float(last.field.std()))
    assert reply.growth_events == last.growth_events
    updates = await served.frames(STREAM_W2, request)
    assert [update.pot_mean_mV for update in updates] == [volts * 1000.0 for volts in reply.field_mean]


async def test_a_model_that_is_unset_empty_or_the_default_is_the_same(served: Any) -> None:
    for path, message, default in (
        (EXTRACT, w1.FeatureRequest(seed=1, grid_size=8, steps=3), "mycelium"),
        (SIMULATE_W2, w2.SimulateRequest(seed=1, grid_size=8, steps=3), "mycelium_rd"),
    ):
        expected = await served.reply(path, message)
        for name in ("", default):
            message.model = name
            assert await served.reply(path, message) == expected


async def test_what_is_unset_is_what_stands_at_the_field_for_historic_models_and_the_default_of_others(
    served: Any,
) -> None:
    async def growth(model: str, **parameters: float) -> int:
        request = named(w1.SimulationRequest(seed=1, grid_size=8, steps=200), model, **parameters)
        return int((await served.reply(RUN, request)).growth_events)

    assert await growth("mycelium") == await growth("mycelium_rd") == 0
    assert await growth("mycelium", spike_probability=1.0) == 200
    default = FieldSpec(model="mycelium_turing", grid_size=8, seed=1, parameters={"turing_enabled": False})
    assert await growth("mycelium_turing") == reference(default, 200).growth_events > 0
    described = await served.reply(SIMULATE_W2, named(w2.SimulateRequest(seed=1, grid_size=8, steps=200), "mycelium"))
    assert described.growth_events > 0  # this package has always had a probability of 0.25
    none = named(w2.SimulateRequest(seed=1, grid_size=8, steps=200), spike_probability=0.0)
    assert (await served.reply(SIMULATE_W2, none)).growth_events == 0


@pytest.mark.parametrize("model", OTHERS)
async def test_a_field_that_is_no_potential_is_not_told_in_millivolts(served: Any, model: str) -> None:
    for path, message in (
        (EXTRACT, w1.FeatureRequest()),
        (STREAM_FEATURES, w1.FeatureStreamRequest()),
        (RUN, w1.SimulationRequest()),
        (STREAM, w1.SimulationStreamRequest()),
        (SIMULATE_W2, w2.SimulateRequest()),
        (STREAM_W2, w2.SimulateRequest()),
    ):
        outcome = await served.open(path, named(message, model)).outcome()
        assert outcome.code is Code.INVALID_ARGUMENT
        (violation,) = outcome.error.violations
        assert violation.field == "model"
        # Other tests of this process may have registered potentials of their own.
        potentials = sorted(name for name, each in MODELS.items() if each.species[0].unit == "V")
        assert f"take one of {', '.join(potentials)}, or" in violation.description
        assert violation.description.endswith("or mfn.v1.FieldService")
    assert served.charges == []
    assert served.backend.sessions == []


@pytest.mark.parametrize(
    ("message", "field", "text"),
    [
        (named(w1.FeatureRequest(), leak=0.1), "parameters[leak]", "model 'mycelium' has no parameter 'leak'; known:"),
        (named(w1.FeatureRequest(), turing_treshold=0.1), "parameters[turing_treshold]", "model 'mycelium' has no"),
        (named(w1.FeatureRequest(alpha=0.24), "mycelium_turing"), "alpha", "alpha is out of range, got 0.24"),
        (named(w1.FeatureRequest(alpha=0.1), alpha=0.1), "parameters[alpha]", "got 0.1, and alpha says it too"),
        (named(w1.FeatureRequest(), jitter=2.0), "parameters[jitter]", "got 2.0, and jitter is a switch; send 1 or 0"),
        (named(w1.FeatureRequest(), jitter=math.nan), "parameters[jitter]", "got nan, and jitter is a switch"),
        (
            named(w1.FeatureRequest(), turing_threshold=math.inf),
            "parameters[turing_threshold]",
            "turing_threshold must",
        ),
        (named(w1.FeatureRequest(), **{"x" * 65: 1.0}), f"parameters[{'x' * 64}]", "got a name of 65 characters"),
        (named(w1.FeatureRequest(turing_enabled=True), turing_enabled=1.0), "parameters[turing_enabled]", "got 1.0"),
        (named(w1.FeatureRequest(), "mycelium_turing", leak=0.2), "parameters[leak]", "leak is out of range, got 0.2"),
    ],
)
async def test_a_parameter_that_does_not_fit_its_model_is_refused_by_name(
    served: Any, message: Any, field: str, text: str
) -> None:
    outcome = await served.unary(EXTRACT, message)
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == field
    assert violation.description.startswith(text)
    assert "; " in violation.description
    assert served.charges == []


async def test_of_too_many_names_none_is_looked_at(served: Any) -> None:
    names = {f"k{index}": 1.0 for index in range(65)}
    for path, message, field in (
        (EXTRACT, w1.FeatureRequest(parameters=names), "parameters"),
        (STREAM_W2, w2.SimulateRequest(parameters=names), "parameters"),
        ("/mfn.MFNValidationService/ValidatePattern", w1.ValidationRequest(parameters=names), "parameters"),
        (
            SIMULATE,
            v1.SimulateRequest(simulation=v1.SimulationSpec(parameter_values=names)),
            "simulation.parameter_values",
        ),
    ):
        outcome = await served.open(path, message).outcome()
        assert [each.field for each in outcome.error.violations] == [field]
    for command, field in (
        ({"start": {"simulation": {"parameter_values": names}}}, "start.simulation.parameter_values"),
        ({"change": {"parameters": names}}, "change.parameters"),
    ):
        steered = served.open(STEER)
        steered.send(v1.SteerSimulationRequest(**command))
        outcome = await steered.outcome()
        assert [each.field for each in outcome.error.violations] == [field]


async def test_of_many_unknown_names_the_first_are_told_and_the_others_counted(served: Any) -> None:
    names = {f"k{index}": 1.0 for index in range(64)}
    outcome = await served.unary(EXTRACT, w1.FeatureRequest(parameters=names))
    *told, rest = outcome.error.violations
    assert len(told) == 20
    assert {each.field for each in told} <= {f"parameters[{name}]" for name in names}
    assert (rest.field, rest.description) == (
        "parameters",
        "and 44 more names that model 'mycelium' does not have; leave them out",
    )


async def test_a_field_that_the_model_has_no_parameter_for_is_refused(served: Any, bare_model: str) -> None:
    request = named(w1.FeatureRequest(alpha=0.1, spike_probability=0.5, turing_enabled=True), bare_model)
    outcome = await served.unary(EXTRACT, request)
    assert [(each.field, each.description) for each in outcome.error.violations] == [
        ("alpha", f"got 0.1, and model '{bare_model}' has no parameter alpha; leave it unset"),
        ("spike_probability", f"got 0.5, and model '{bare_model}' has no parameter spike_probability; leave it unset"),
        ("turing_enabled", f"got true, and model '{bare_model}' has no parameter turing_enabled; leave it unset"),
    ]
    await served.reply(EXTRACT, named(w1.FeatureRequest(grid_size=8, steps=2), bare_model, decay=0.5))
    described = w2.SimulateRequest(grid_size=8, steps=2, turing_enabled=True)
    outcome = await served.unary(SIMULATE_W2, named(described, bare_model))
    assert [each.field for each in outcome.error.violations] == ["turing_enabled"]


async def test_bounds_of_the_definition_of_the_model_and_of_the_server_are_told_together(served: Any) -> None:
    request = named(w1.FeatureRequest(seed=-1, grid_size=500, steps=2000, alpha=0.9), "mycelium_rd", d_activator=0.5)
    outcome = await served.unary(EXTRACT, request)
    assert {each.field for each in outcome.error.violations} == {
        "seed",
        "grid_size",
        "steps",
        "alpha",
        "parameters[d_activator]",
    }
    assert outcome.error.details == {"limit": "max_grid,max_steps"}


async def test_a_model_that_nobody_knows_or_no_engine_computes_is_unimplemented_and_costs_nothing(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = await served.unary(EXTRACT, named(w1.FeatureRequest(), "myceliun"))
    assert outcome.code is Code.UNIMPLEMENTED
    monkeypatch.setattr(served.backend, "supports", lambda spec: spec.model == "mycelium")
    for path, message in ((EXTRACT, w1.FeatureRequest()), (SIMULATE_W2, w2.SimulateRequest())):
        outcome = await served.unary(path, named(message, "mycelium_turing"))
        assert outcome.code is Code.UNIMPLEMENTED
        assert outcome.message == "no engine of this server computes the model 'mycelium_turing'"
    assert served.charges == []


# Frames of any model.


@pytest.mark.parametrize("model", sorted(MODELS))
async def test_frames_of_any_model_show_its_first_species_in_its_own_unit(served: Any, model: str) -> None:
    names = {"spike_probability", "turing_enabled", "jitter", "alpha"}
    historic = model in ("mycelium", "mycelium_rd")
    spec = FieldSpec(
        model=model,
        grid_size=16,
        seed=6,
        parameters={"spike_probability": 0.0, "turing_enabled": False} if historic else {},
    )
    assert names <= {each.name for each in spec.declaration.parameters} or not historic
    species = spec.declaration.species[0]
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model=model, grid_size=16, seed=6),
        steps=9,
        frames=v1.FrameOptions(every_n_steps=4, field_encoding=FLOAT64),
    )
    frames = [reply.frame for reply in await served.frames(SIMULATE, message)]
    assert [frame.step for frame in frames] == [4, 8, 9]
    for frame in frames:
        state = reference(spec, frame.step)
        assert np.allclose(array(frame.field), state.field, rtol=1e-12, atol=1e-15)
        assert frame.field.unit == species.unit
        (described,) = frame.species
        assert (described.name, described.unit) == (species.name, species.unit)
        assert close(described.mean, float(state.field.mean()))
        assert close(described.std, float(state.field.std()))
        assert (described.min, described.max) == (array(frame.field).min(), array(frame.field).max())
        assert not described.HasField("field")
        assert frame.HasField("statistics") == (species.unit == "V")
        if species.unit == "V":
            assert frame.statistics.mean_volts == described.mean
        else:
            assert not frame.dimension.HasField("value")
            assert "frames.threshold" in frame.dimension.reason


async def test_frames_carry_the_species_that_are_named_in_that_order(served: Any) -> None:
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model="gray_scott", grid_size=16, seed=2, parameter_values={"feed": 0.03}),
        steps=5,
        frames=v1.FrameOptions(field_encoding=FLOAT64, species=["substrate", "autocatalyst"]),
    )
    (reply,) = await served.frames(SIMULATE, message)
    frame = reply.frame
    state = reference(FieldSpec(model="gray_scott", grid_size=16, seed=2, parameters={"feed": 0.03}), 5)
    assert [species.name for species in frame.species] == ["substrate", "autocatalyst"]
    for species, values in zip(frame.species, (state.species["substrate"], state.field), strict=True):
        assert np.allclose(array(species.field), values, rtol=1e-12)
        assert close(species.mean, float(values.mean()))
        assert (species.unit, species.field.unit) == ("1", "1")
    assert not frame.HasField("field")


async def test_species_are_described_without_fields_where_none_are_asked_for(served: Any) -> None:
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(grid_size=8, mycelium=v1.MyceliumParameters(turing_enabled=True)),
        frames=v1.FrameOptions(species=["inhibitor"]),
    )
    (reply,) = await served.frames(SIMULATE, message)
    (inhibitor,) = reply.frame.species
    assert (inhibitor.name, inhibitor.unit, inhibitor.HasField("field")) == ("inhibitor", "1", False)
    assert 0.0 <= inhibitor.min < inhibitor.max < 0.1
    assert reply.frame.HasField("statistics")


@pytest.mark.parametrize(
    ("species", "field", "text"),
    [
        (["activator"], "frames.species[0]", "got 'activator', and this simulation of 'mycelium' has potential"),
        (["potential", "v" * 100], "frames.species[1]", "got "),
        (["potential", "potential"], "frames.species[1]", "got 'potential' a second time"),
    ],
)
async def test_a_species_that_is_not_there_is_refused_by_its_place(
    served: Any, species: list[str], field: str, text: str
) -> None:
    message = v1.SimulateRequest(frames=v1.FrameOptions(species=species))
    outcome = await served.open(SIMULATE, message).outcome()
    (violation,) = outcome.error.violations
    assert violation.field == field
    assert violation.description.startswith(text)
    assert len(violation.description) < 200
    start = v1.SteerSimulationRequest(start=v1.StartCommand(frames=message.frames))
    conversation = served.open(STEER)
    conversation.send(start)
    outcome = await conversation.outcome()
    assert [each.field for each in outcome.error.violations] == [f"start.{field}"]
    assert served.charges == []


async def test_a_threshold_says_which_cells_are_active_in_the_unit_of_the_field(served: Any) -> None:
    spec = FieldSpec(model="gray_scott", grid_size=32, seed=1)
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model="gray_scott", grid_size=32, seed=1),
        steps=10,
        frames=v1.FrameOptions(threshold=0.1),
    )
    (reply,) = await served.frames(SIMULATE, message)
    expected = estimate_dimension(reference(spec, 10).field > 0.1)
    assert reply.frame.dimension.value == pytest.approx(expected.value)
    assert reply.frame.fractal_dimension > 0.0
    potential = v1.SimulateRequest(steps=0, frames=v1.FrameOptions(threshold=1.0))
    (reply,) = await served.frames(SIMULATE, potential)
    assert reply.frame.dimension.reason == "the mask is empty"


@pytest.mark.parametrize("boundary", ["periodic", "neumann", "dirichlet"])
async def test_the_boundary_of_a_simulation_is_its_own(served: Any, boundary: str) -> None:
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model="mycelium_rd", grid_size=12, seed=1, boundary=boundary),
        steps=20,
        frames=v1.FrameOptions(every_n_steps=20, field_encoding=FLOAT64),
    )
    (reply,) = await served.frames(SIMULATE, message)
    spec = FieldSpec(
        model="mycelium_rd",
        grid_size=12,
        seed=1,
        parameters={"spike_probability": 0.0, "turing_enabled": False},
        boundary=boundary,
    )
    assert np.allclose(array(reply.frame.field), reference(spec, 20).field, rtol=1e-12)


@pytest.mark.parametrize(
    ("simulation", "field", "text"),
    [
        (
            v1.SimulationSpec(boundary="neumann"),
            "simulation.boundary",
            "boundary 'neumann' is not one of model 'mycelium'",
        ),
        (
            v1.SimulationSpec(model="gray_scott", mycelium=v1.MyceliumParameters()),
            "simulation.mycelium",
            "model 'gray_scott' has parameters of another kind; leave it unset",
        ),
        (
            v1.SimulationSpec(mycelium=v1.MyceliumParameters(), parameter_values={"jitter": 1.0}),
            "simulation.parameter_values[jitter]",
            "got 1.0, and simulation.mycelium.jitter says it too; send one of them",
        ),
        (
            v1.SimulationSpec(model="gray_scott", parameter_values={"fed": 0.03}),
            "simulation.parameter_values[fed]",
            "model 'gray_scott' has no parameter 'fed'; did you mean 'feed'?",
        ),
        (
            v1.SimulationSpec(model="mycelium_turing", mycelium=v1.MyceliumParameters(alpha=0.24)),
            "simulation.mycelium.alpha",
            "alpha is out of range, got 0.24",
        ),
    ],
)
async def test_a_simulation_that_does_not_fit_its_model_is_refused_by_name(
    served: Any, simulation: v1.SimulationSpec, field: str, text: str
) -> None:
    outcome = await served.open(SIMULATE, v1.SimulateRequest(simulation=simulation)).outcome()
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert (violation.field, violation.description[: len(text)]) == (field, text)
    conversation = served.open(STEER)
    conversation.send(v1.SteerSimulationRequest(start=v1.StartCommand(simulation=simulation)))
    outcome = await conversation.outcome()
    assert [each.field for each in outcome.error.violations] == [f"start.{field}"]


async def test_parameters_that_are_not_named_are_unset_for_historic_models_and_defaults_for_others(served: Any) -> None:
    async def growth(model: str, **values: float) -> int:
        simulation = v1.SimulationSpec(model=model, grid_size=8, parameter_values=values)
        request = v1.SimulateRequest(simulation=simulation, steps=100, frames=v1.FrameOptions(every_n_steps=100))
        return int((await served.frames(SIMULATE, request))[-1].frame.growth_events)

    assert await growth("mycelium") == await growth("mycelium_rd", alpha=0.1) == 0
    assert await growth("mycelium", spike_probability=1.0) == 100
    assert await growth("mycelium_turing") > 0


# Steering.


def start(model: str, steps: int | None = None, **values: float) -> v1.SteerSimulationRequest:
    length: dict[str, Any] = {"unlimited": True} if steps is None else {"total_steps": steps}
    return v1.SteerSimulationRequest(
        start=v1.StartCommand(
            simulation=v1.SimulationSpec(model=model, grid_size=16, seed=3, parameter_values=values),
            frames=v1.FrameOptions(every_n_steps=10, field_encoding=FLOAT64),
            **length,
        )
    )


PAUSE = v1.SteerSimulationRequest(pause=v1.PauseCommand())
STOP = v1.SteerSimulationRequest(stop=v1.StopCommand())


def change(**values: float) -> v1.SteerSimulationRequest:
    return v1.SteerSimulationRequest(change=v1.ChangeCommand(parameters=values))


async def paused(served: Any, opening: v1.SteerSimulationRequest) -> Any:
    """A steered simulation that is paused."""
    conversation = served.open(STEER)
    conversation.send(opening, PAUSE)
    while not (await conversation.next()).HasField("acknowledged"):
        pass
    return conversation


async def test_any_parameter_is_steered_by_name(served: Any) -> None:
    conversation = await paused(served, start("gray_scott"))
    conversation.send(change(feed=0.05, kill=0.06), STOP)
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    changed_at = events[0].acknowledged.step
    last = next(event.frame for event in reversed(events) if event.HasField("frame"))
    assert last.step >= changed_at
    assert last.is_final
    session = served.backend.sessions[0]
    assert session.closed
    assert session._session._spec["feed"] == 0.05
    assert session._session._spec["kill"] == 0.06


async def test_a_steered_run_is_that_of_an_engine_that_is_told_the_same(served: Any) -> None:
    conversation = await paused(served, start("fitzhugh_nagumo", 60))
    parameter = MODELS["fitzhugh_nagumo"].parameters[0]
    value = parameter.default * 0.5
    conversation.send(change(**{parameter.name: value}), v1.SteerSimulationRequest(resume=v1.ResumeCommand()))
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    changed_at = events[0].acknowledged.step
    last = [event.frame for event in events if event.HasField("frame")][-1]
    engine = served.backend._numpy.open(FieldSpec(model="fitzhugh_nagumo", grid_size=16, seed=3))
    never = type("Never", (), {"is_set": staticmethod(lambda: False)})()
    engine.step(changed_at, never)
    engine.set_parameter(parameter.name, value)
    engine.step(60 - changed_at, never)
    assert last.step == 60
    assert last.field.data == engine.state().field.tobytes()
    assert last.field.unit == "1"


@pytest.mark.parametrize(
    ("model", "values", "command", "fields"),
    [
        ("gray_scott", {}, {"parameters": {"fed": 0.1}}, ["change.parameters[fed]"]),
        ("gray_scott", {}, {"parameters": {"feed": 0.5}}, ["change.parameters[feed]"]),
        ("gray_scott", {}, {"alpha": 0.1}, ["change.alpha"]),
        ("mycelium", {}, {"alpha": 0.1, "parameters": {"alpha": 0.2}}, ["change.parameters[alpha]"]),
        ("mycelium", {}, {"parameters": {"jitter": 0.5}}, ["change.parameters[jitter]"]),
        ("mycelium", {}, {"parameters": {"turing_enabled": 1.0}}, ["change.parameters[turing_enabled]"]),
        ("mycelium_rd", {"alpha": 0.1}, {"alpha": 0.01}, ["change.alpha"]),
        ("mycelium", {}, {}, ["change"]),
    ],
)
async def test_a_change_that_does_not_fit_is_refused_by_name_and_changes_nothing(
    served: Any, model: str, values: dict[str, float], command: dict[str, Any], fields: list[str]
) -> None:
    conversation = await paused(served, start(model, **values))
    engine = served.backend.sessions[0]._session
    before = engine._spec
    conversation.send(v1.SteerSimulationRequest(change=v1.ChangeCommand(**command)))
    _, outcome = await conversation.rest()
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == fields
    assert engine._spec == before
    assert served.provider.sessions.live == 1  # it waits to be resumed


async def test_a_switch_of_noise_can_be_steered(served: Any) -> None:
    conversation = await paused(served, start("mycelium"))
    conversation.send(change(jitter=1.0, jitter_variance=1e-4), STOP)
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert events[0].HasField("acknowledged")
    assert served.backend.sessions[0]._session._spec["jitter"] is True


class Particular:
    """An engine that refuses what breaks `first + second <= 1`, one parameter after the other."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {"first": 0.8, "second": 0.1}
        self.refused: set[str] = set()

    def set_parameter(self, name: str, value: float) -> None:
        changed = {**self.values, name: value}
        if sum(changed.values()) > 1.0 or name in self.refused:
            raise SpecError([])
        self.values = changed

    def inject(self, row: int, column: int, amplitude: float) -> None:
        raise AssertionError("nobody asked for it")


def test_parameters_that_are_valid_together_are_set_in_an_order_that_the_engine_takes() -> None:
    engine = Particular()
    set_together(engine, {"second": 0.7, "first": 0.2}, dict(engine.values))
    assert engine.values == {"first": 0.2, "second": 0.7}


def test_parameters_of_which_one_is_refused_in_any_order_are_left_as_they_were() -> None:
    engine = Particular()
    before = dict(engine.values)
    engine.refused.add("second")
    with pytest.raises(SpecError):
        set_together(engine, {"first": 0.2, "second": 0.7}, before)
    assert engine.values == before


async def test_an_injection_is_in_the_unit_of_the_field(served: Any) -> None:
    def inject(**amplitude: float) -> v1.SteerSimulationRequest:
        return v1.SteerSimulationRequest(inject=v1.InjectCommand(row=3, column=4, **amplitude))

    conversation = await paused(served, start("gray_scott", seeds=0.0))
    conversation.send(inject(amplitude=0.75), STOP)
    events, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    last = next(event.frame for event in reversed(events) if event.HasField("frame"))
    assert array(last.field)[3, 4] == 0.75
    assert last.growth_events == 0
    for amplitude, field in (({}, "inject.amplitude"), ({"amplitude_volts": 0.02}, "inject.amplitude_volts")):
        conversation = await paused(served, start("gray_scott"))
        conversation.send(inject(**amplitude))
        outcome = await conversation.outcome()
        (violation,) = outcome.error.violations
        assert violation.field == field
        assert "the field of this session is 'autocatalyst' in the unit '1'; send amplitude" in violation.description
    conversation = await paused(served, start("mycelium"))
    conversation.send(inject(amplitude=0.02, amplitude_volts=0.02))
    outcome = await conversation.outcome()
    assert [violation.field for violation in outcome.error.violations] == ["inject.amplitude_volts"]


async def test_numbers_of_a_further_species_that_became_unstable_end_the_call(served: Any) -> None:
    def spoil(state: FieldState) -> FieldState:
        substrate = state.species["substrate"].copy()
        substrate[1, 1] = np.nan
        return FieldState(step=state.step, field=state.field, species={"substrate": substrate})

    served.backend.spoil = spoil
    message = v1.SimulateRequest(
        simulation=v1.SimulationSpec(model="gray_scott", grid_size=8),
        steps=5,
        frames=v1.FrameOptions(species=["autocatalyst", "substrate"]),
    )
    outcome = await served.open(SIMULATE, message).outcome()
    assert outcome.code is Code.FAILED_PRECONDITION
    assert outcome.error.details == {"reason": "numerical_instability", "step": "5", "cells": "1"}
