"""The validation training of packages `mfn` and `mycelium`: its numbers, its slices, what it refuses."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn_core import Code, Dispatcher, MfnError
from mfn_core.cache import ResultCache
from mfn_model import FieldSpec
from mfn_model.dynamics import Dynamics
from mfn_model.expressions import evaluate
from mfn_model.initial import draw_initial_state
from mfn_model.stencil import laplacian
from mfn_model.validation import run_validation
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2

VALIDATE = "/mfn.MFNValidationService/ValidatePattern"
VALIDATE_W2 = "/mycelium.MyceliumService/Validate"

LOSSES = ("loss_start", "loss_final", "loss_drop")
QUICK: dict[str, Any] = {"grid_size": 8, "steps": 4}


@pytest.mark.parametrize("row", range(5))
async def test_a_training_has_the_recorded_numbers_in_all_twelve_fields(
    serve: Any, recorded: dict[str, Any], row: int
) -> None:
    run = recorded["trainings"][row]
    request = w1.ValidationRequest(request_id="mine", turing_enabled=True, **run["request"])
    reply = await serve().reply(VALIDATE, request)
    for name, expected in run["result"].items():
        tolerance = 2e-6 if name in LOSSES else 1e-9
        assert getattr(reply, name) == pytest.approx(expected, abs=tolerance, nan_ok=False), name
    assert reply.request_id == "mine"
    assert set(reply.meta.meta) == {"server", "version"}
    assert (reply.nernst_symbolic_mV, reply.nernst_numeric_mV) == pytest.approx(
        (-89.01066911987905, -89.01066911987907)
    )
    assert len(reply.ListFields()) >= 11  # of twelve, one may be 0: a dimension that is undefined


async def test_the_other_package_gives_the_numbers_of_the_same_training(served: Any) -> None:
    reply = await served.reply(VALIDATE_W2, w2.ValidateRequest(seed=42, grid_size=16, epochs=2))
    same = await served.reply(
        VALIDATE, w1.ValidationRequest(seed=42, grid_size=16, epochs=2, steps=64, turing_enabled=True)
    )
    for name in (*LOSSES, "pot_min_mV", "pot_max_mV", "lyapunov_exponent", "nernst_symbolic_mV"):
        assert getattr(reply, name) == getattr(same, name), name


async def test_unset_is_the_documented_default(served: Any) -> None:
    explicit = w1.ValidationRequest(
        seed=0, epochs=1, batch_size=4, grid_size=64, steps=0, turing_enabled=False, quantum_jitter=False
    )
    assert await served.reply(VALIDATE, w1.ValidationRequest()) == await served.reply(VALIDATE, explicit)
    explicit_w2 = w2.ValidateRequest(seed=0, epochs=1, grid_size=32)
    assert await served.reply(VALIDATE_W2, w2.ValidateRequest()) == await served.reply(VALIDATE_W2, explicit_w2)


async def test_noise_and_the_reaction_change_the_fields(served: Any) -> None:
    replies = [
        await served.reply(
            VALIDATE, w1.ValidationRequest(seed=1, turing_enabled=turing, quantum_jitter=jitter, **QUICK)
        )
        for turing, jitter in ((False, False), (True, False), (False, True))
    ]
    assert len({reply.pot_max_mV for reply in replies}) == 3


@pytest.mark.parametrize(
    ("message", "field", "limit", "text"),
    [
        (w1.ValidationRequest(epochs=1001), "epochs", "max_steps", "got 1001, this server takes at most 1000"),
        (w1.ValidationRequest(steps=1001), "steps", "max_steps", "got 1001, this server takes at most 1000"),
        (w1.ValidationRequest(grid_size=129), "grid_size", "max_grid", "got 129, this server takes at most 128"),
        (
            w1.ValidationRequest(grid_size=100, steps=59),
            "steps",
            "max_cell_steps",
            "got 59, which on 100 x 100 cells in 17 runs is 10030000 cell-steps, and this server takes at most "
            "10000000 (server.max_cell_steps); ask for at most 58 steps, or for a smaller grid",
        ),
        (
            w2.ValidateRequest(grid_size=96),
            "grid_size",
            "max_cell_steps",
            "got 96, which in 17 runs of 64 steps is 10027008 cell-steps, and this server takes at most 10000000 "
            "(server.max_cell_steps); ask for a smaller grid",
        ),
        (w2.ValidateRequest(epochs=1001), "epochs", "max_steps", "got 1001, this server takes at most 1000"),
    ],
)
async def test_what_exceeds_the_limits_of_the_server_is_refused_by_name(
    served: Any, message: Any, field: str, limit: str, text: str
) -> None:
    path = VALIDATE if isinstance(message, w1.ValidationRequest) else VALIDATE_W2
    outcome = await served.unary(path, message)
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == field
    assert violation.description.startswith(text)
    assert outcome.error.details == {"limit": limit}
    assert served.charges == []


async def test_the_limits_themselves_are_allowed(served: Any) -> None:
    await served.reply(VALIDATE, w1.ValidationRequest(grid_size=4, steps=1000))
    await served.reply(VALIDATE, w1.ValidationRequest(grid_size=100, steps=58))


async def test_a_server_that_takes_no_run_of_64_steps_says_so(serve: Any) -> None:
    outcome = await serve(max_steps=50).unary(VALIDATE_W2, w2.ValidateRequest(grid_size=8))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert "64 steps, and this server takes at most 50 (server.max_steps)" in violation.description


async def test_every_field_at_fault_is_named_at_once(served: Any) -> None:
    request = w1.ValidationRequest(seed=-1, epochs=0, batch_size=-4, grid_size=129, steps=-1)
    request.parameters["leak"] = 0.1
    outcome = await served.unary(VALIDATE, request)
    assert {violation.field for violation in outcome.error.violations} == {
        "seed",
        "epochs",
        "batch_size",
        "grid_size",
        "steps",
        "parameters[leak]",
    }


@pytest.mark.parametrize(
    ("batch_size", "epochs", "batches"), [(4, 1, 4), (5, 2, 8), (16, 3, 3), (1000, 3, 3), (1, 1, 16)]
)
async def test_a_training_is_charged_for_seventeen_fields_and_its_batches(
    served: Any, batch_size: int, epochs: int, batches: int
) -> None:
    await served.reply(VALIDATE, w1.ValidationRequest(batch_size=batch_size, epochs=epochs, **QUICK))
    assert served.charges == [("ValidatePattern", 17.0 * 64 * 4 + batches * 10_000)]


async def test_a_field_without_steps_is_charged_as_one(served: Any) -> None:
    await served.reply(VALIDATE, w1.ValidationRequest(grid_size=8, steps=0))
    assert served.charges == [("ValidatePattern", 17.0 * 64 + 40_000)]


async def test_equal_trainings_are_answered_from_the_cache_under_their_own_ids(served: Any) -> None:
    served.dispatcher = Dispatcher(served.provider.services, cache=ResultCache(1 << 20), charge=served._charge)
    first, second = [
        await served.reply(VALIDATE, w1.ValidationRequest(request_id=name, **QUICK)) for name in ("first", "second")
    ]
    assert (first.request_id, second.request_id) == ("first", "second")
    assert first.loss_final == second.loss_final
    assert len(served.charges) == 1


# Slices.


def watched(served: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of `ComputePool.run` in the order in which their jobs were submitted."""
    submitted: list[Any] = []
    run = served.compute.run

    async def watching(call: Any, job: Any, **expected: Any) -> Any:
        submitted.append(call.operation.method)
        return await run(call, job, **expected)

    monkeypatch.setattr(served.compute, "run", watching)
    return submitted


async def test_a_training_is_done_in_many_short_jobs(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mfn_service._training.SLICE_SECONDS", 0.0)
    submitted = watched(served, monkeypatch)
    request = w1.ValidationRequest(seed=42, grid_size=64, steps=64, epochs=3, turing_enabled=True)
    reply = await served.reply(VALIDATE, request)
    # Five pieces of a field of 262,144 cell-steps, seventeen of them, and twelve batches.
    assert len(submitted) == 17 * 5 + 12 + 1
    assert reply.loss_final == run_validation(seed=42, epochs=3).loss_final


async def test_a_short_call_waits_for_slices_of_the_trainings_before_it_and_not_for_the_trainings(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(threads=1)
    monkeypatch.setattr("mfn_service._training.SLICE_SECONDS", 0.0)
    submitted = watched(served, monkeypatch)
    trainings = [
        served.open(VALIDATE, w1.ValidationRequest(seed=seed, grid_size=32, steps=64, epochs=20)) for seed in range(4)
    ]
    await served.until(lambda: len(submitted) > 8)
    before = len(submitted)
    short = await served.unary("/mycelium.MyceliumService/Simulate", w2.SimulateRequest(grid_size=4, steps=1))
    assert short.code is Code.OK
    assert len(submitted) - before <= 12  # the four that waited, and a few that came after them
    for training in trainings:
        training.break_off()
        assert (await training.outcome()).code is Code.CANCELLED


async def test_trainings_at_the_same_time_do_not_mix(served: Any) -> None:
    requests = [w1.ValidationRequest(seed=seed, turing_enabled=True, **QUICK) for seed in range(8)]
    together = await asyncio.gather(*(served.reply(VALIDATE, request) for request in requests))
    for seed, reply in enumerate(together):
        expected = run_validation(seed=seed, grid_size=8, steps=4)
        assert (reply.loss_start, reply.loss_final) == (expected.loss_start, expected.loss_final)
        assert reply.growth_events == expected.growth_events


async def test_a_cancelled_training_is_over_within_a_slice(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    submitted = watched(served, monkeypatch)
    training = served.open(VALIDATE, w1.ValidationRequest(epochs=1000, batch_size=1, **QUICK))
    await served.until(lambda: len(submitted) >= 3)
    training.break_off()
    assert (await training.outcome()).code is Code.CANCELLED
    after = len(submitted)
    await served.reply(VALIDATE, w1.ValidationRequest(request_id="another", grid_size=4))
    assert len(submitted) >= after
    assert served.compute.expected_wait == 0.0


async def test_a_deadline_ends_a_training(served: Any) -> None:
    request = w1.ValidationRequest(epochs=1000, batch_size=1, **QUICK)
    outcome = await served.open(VALIDATE, request, timeout=0.05).outcome()
    assert outcome.code is Code.DEADLINE_EXCEEDED


async def test_a_full_queue_refuses_a_training_that_comes_and_not_one_that_is_under_way(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfn_service._training.SLICE_SECONDS", 0.0)
    run, calls = served.compute.run, 0

    async def full_now_and_then(call: Any, job: Any, **expected: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1 or calls % 7 == 0:
            raise MfnError(Code.RESOURCE_EXHAUSTED, "the compute queue is full", retry_after=0.001)
        return await run(call, job, **expected)

    monkeypatch.setattr(served.compute, "run", full_now_and_then)
    request = w1.ValidationRequest(seed=3, turing_enabled=True, **QUICK)
    assert (await served.unary(VALIDATE, request)).code is Code.RESOURCE_EXHAUSTED
    reply = await served.reply(VALIDATE, request)
    assert calls > 20
    assert reply.loss_final == run_validation(seed=3, grid_size=8, steps=4).loss_final


# Models by name.


def named(message: Any, model: str = "", **parameters: float) -> Any:
    """The message, about this model."""
    if model:
        message.model = model
    for name, value in parameters.items():
        message.parameters[name] = value
    return message


def drawn_plainly(spec: FieldSpec, steps: int, generator: np.random.Generator) -> tuple[npt.NDArray[np.float64], int]:
    """A field of a declared model without noise, from a generator that goes on, written out for this test."""
    dynamics: Dynamics = spec.declaration.dynamics.switched(spec.parameters)
    values, n = dynamics.values(spec.parameters), spec.grid_size
    fields = {terms.name: np.empty((n, n)) for terms in dynamics.species}
    draw_initial_state(spec, generator, list(fields.values()))
    events = 0
    for _ in range(steps):
        for spike in dynamics.spikes:
            if generator.random() < values[spike.probability]:
                cell = int(generator.integers(0, n)), int(generator.integers(0, n))
                fields[spike.species][cell] += generator.normal(values[spike.mean], values[spike.deviation])
                events += 1
        symbols = {terms.symbol: fields[terms.name] for terms in dynamics.species}
        for terms in dynamics.species:
            change = 0.0
            if terms.diffusion is not None:
                change = values[terms.diffusion] * laplacian(
                    symbols[terms.symbol], spec.boundary, values[terms.outside]
                )
            if terms.reaction is not None:
                change = change + evaluate(terms.reaction, symbols, coefficients=values)
            fields[terms.name] = symbols[terms.symbol] + change
            if dynamics.sequential:
                symbols[terms.symbol] = fields[terms.name]
        for kick in dynamics.kicks:
            fields[kick.target][fields[kick.species] > values[kick.above]] += values[kick.amount]
        for terms in dynamics.species:
            fields[terms.name] = np.clip(fields[terms.name], terms.minimum, terms.maximum)
    return next(iter(fields.values())), events


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("mycelium", {}),
        ("mycelium", {"alpha": 0.05, "spike_probability": 1.0}),
        ("mycelium_rd", {"d_inhibitor": 0.2}),
        ("mycelium_turing", {"leak": 0.02}),
    ],
)
async def test_fields_of_a_model_by_name_are_drawn_by_the_engine_one_after_the_other(
    served: Any, model: str, parameters: dict[str, float]
) -> None:
    reply = await served.reply(
        VALIDATE, named(w1.ValidationRequest(seed=9, turing_enabled=True, grid_size=8, steps=30), model, **parameters)
    )
    spec = FieldSpec(model=model, grid_size=8, seed=0, parameters={"turing_enabled": True, **parameters})
    expected = run_validation(seed=9, grid_size=8, steps=30, simulate=lambda rng: drawn_plainly(spec, 30, rng))
    assert reply.loss_start == pytest.approx(expected.loss_start, abs=1e-6)
    assert reply.loss_final == pytest.approx(expected.loss_final, abs=1e-6)
    assert (reply.pot_min_mV, reply.pot_max_mV) == pytest.approx((expected.pot_min_mv, expected.pot_max_mv), rel=1e-12)
    assert reply.growth_events == expected.growth_events
    assert reply.lyapunov_exponent == pytest.approx(expected.lyapunov_exponent, rel=1e-12)
    assert len(served.backend.sessions) == 17
    assert all(session.closed for session in served.backend.sessions)


async def test_a_parameter_that_says_the_default_changes_no_number(served: Any) -> None:
    plain = await served.reply(VALIDATE, w1.ValidationRequest(seed=5, turing_enabled=True, **QUICK))
    said = named(w1.ValidationRequest(seed=5, turing_enabled=True, **QUICK), alpha=0.18, turing_threshold=0.75)
    assert await served.reply(VALIDATE, said) == plain
    plain_w2 = await served.reply(VALIDATE_W2, w2.ValidateRequest(seed=5, grid_size=8))
    assert await served.reply(VALIDATE_W2, named(w2.ValidateRequest(seed=5, grid_size=8), "mycelium")) == plain_w2


@pytest.mark.parametrize(
    ("message", "field", "text"),
    [
        (
            named(w1.ValidationRequest(**QUICK), "gray_scott"),
            "model",
            "got 'gray_scott', whose field is 'autocatalyst' in the unit '1', and this package tells potentials in mV",
        ),
        (named(w1.ValidationRequest(**QUICK), alpha=0.3), "parameters[alpha]", "alpha is out of range, got 0.3"),
        (named(w1.ValidationRequest(**QUICK), jitter=0.5), "parameters[jitter]", "got 0.5, and jitter is a switch"),
        (
            named(w1.ValidationRequest(quantum_jitter=True, **QUICK), jitter=1.0),
            "parameters[jitter]",
            "got 1.0, and quantum_jitter says it too; send one of them",
        ),
        (named(w2.ValidateRequest(grid_size=8), "schnakenberg"), "model", "got 'schnakenberg'"),
        (named(w2.ValidateRequest(grid_size=8), alpha=math.nan), "parameters[alpha]", "alpha must be finite, got nan"),
    ],
)
async def test_a_model_or_parameter_that_does_not_fit_is_refused_by_name(
    served: Any, message: Any, field: str, text: str
) -> None:
    outcome = await served.unary(VALIDATE if isinstance(message, w1.ValidationRequest) else VALIDATE_W2, message)
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert violation.field == field
    assert violation.description.startswith(text)
    assert "; " in violation.description
    assert served.charges == []


async def test_a_switch_may_be_sent_by_name(served: Any) -> None:
    by_field = await served.reply(VALIDATE, named(w1.ValidationRequest(turing_enabled=True, **QUICK), "mycelium"))
    assert await served.reply(VALIDATE, named(w1.ValidationRequest(**QUICK), turing_enabled=1.0)) == by_field


class PlainBackend:
    """An engine that opens sessions and can do no more."""

    def __init__(self, backend: Any) -> None:
        self.supports, self.open = backend.supports, backend.open


async def test_an_engine_that_cannot_go_on_with_a_generator_is_told_of_and_costs_nothing(served: Any) -> None:
    served.compute.use({"plain": PlainBackend(served.backend)})
    outcome = await served.unary(VALIDATE, named(w1.ValidationRequest(**QUICK), "mycelium_rd"))
    assert outcome.code is Code.UNIMPLEMENTED
    assert "leave model and parameters unset" in outcome.message
    assert served.charges == []
    await served.reply(VALIDATE, w1.ValidationRequest(**QUICK))


async def test_a_model_that_nobody_knows_is_unimplemented(served: Any) -> None:
    for path, message in ((VALIDATE, w1.ValidationRequest()), (VALIDATE_W2, w2.ValidateRequest())):
        outcome = await served.unary(path, named(message, "myceliun"))
        assert outcome.code is Code.UNIMPLEMENTED
        assert outcome.error.details == {"model": "myceliun"}


async def test_a_training_on_an_engine_takes_no_step_after_its_deadline_and_closes_its_session(served: Any) -> None:
    gate = served.backend.gate = threading.Semaphore(3)
    training = served.open(VALIDATE, named(w1.ValidationRequest(grid_size=64, steps=64), "mycelium"), timeout=0.3)
    assert (await training.outcome()).code is Code.DEADLINE_EXCEEDED
    for _ in range(100):
        gate.release()
    assert [(session.steps, session.closed) for session in served.backend.sessions] == [(3, True)]
