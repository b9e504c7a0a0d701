"""Package `mycelium`: numbers of whole runs and of their updates, Nernst potentials, health."""

from __future__ import annotations

import json
import math
import tracemalloc
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Code, Dispatcher
from mfn_core.cache import ResultCache
from mfn_model import (
    FieldState,
    active_mask,
    box_counting_dimension_legacy,
    equilibrium_potential,
    mycelium_rd_spec,
    reference_mycelium_rd,
)
from mfn_proto import mycelium_pb2 as pb
from mfn_proto.validation import violations
from mfn_service._condition import Condition, health_operation
from mfn_service._nernst import plainly_valid

SERVICE = "/mycelium.MyceliumService/"
SIMULATE = SERVICE + "Simulate"
STREAM = SERVICE + "SimulateStream"
NERNST = SERVICE + "ComputeNernst"
HEALTH = SERVICE + "HealthCheck"

RECORDED = json.loads((Path(__file__).parent / "data" / "mycelium_rd_runs.json").read_text(encoding="utf-8"))


def request_of(run: dict[str, Any]) -> pb.SimulateRequest:
    return pb.SimulateRequest(**{name: run[name] for name in ("seed", "grid_size", "steps", "alpha", "turing_enabled")})


# Runs.


@pytest.mark.parametrize("run", RECORDED["runs"])
async def test_a_run_has_the_recorded_numbers_unary_and_streamed(serve: Any, run: dict[str, Any]) -> None:
    served = serve()
    reply = await served.reply(SIMULATE, request_of(run))
    assert reply.growth_events == run["growth_events"]
    assert reply.fractal_dimension == pytest.approx(run["fractal_dimension"], rel=1e-12)
    stats = reply.field_stats
    found = {"mean_mv": stats.mean, "std_mv": stats.std, "min_mv": stats.min, "max_mv": stats.max}
    assert {name: value * 1000.0 for name, value in found.items()} == pytest.approx(
        {name: run[name] for name in found}, rel=1e-12
    )
    last = (await served.frames(STREAM, request_of(run)))[-1]
    assert last.pot_mean_mV == pytest.approx(run["mean_mv"], rel=1e-12)
    assert last.pot_std_mV == pytest.approx(run["std_mv"], rel=1e-12)
    assert last.growth_events == run["growth_events"]


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": 3, "grid_size": 12, "steps": 40, "alpha": 0.05, "turing_enabled": True},
        {"seed": 2**31 - 1, "grid_size": 9, "steps": 25, "alpha": 0.2499},
        {"grid_size": 4, "steps": 1},
    ],
)
async def test_every_step_is_described_as_the_model_defines_it(served: Any, fields: dict[str, Any]) -> None:
    request = pb.SimulateRequest(**fields)
    reply = await served.reply(SIMULATE, request)
    updates = await served.frames(STREAM, request)
    spec = mycelium_rd_spec(
        seed=fields.get("seed", 0),
        grid_size=fields["grid_size"],
        alpha=fields.get("alpha", 0.18),
        turing_enabled=fields.get("turing_enabled", False),
    )
    steps = fields["steps"]
    assert len(reply.field_mean) == len(reply.field_std) == len(updates) == steps
    for k, update in enumerate(updates):
        expected = reference_mycelium_rd(spec, k + 1)
        assert reply.field_mean[k] == pytest.approx(expected.field.mean(), rel=1e-14)
        assert reply.field_std[k] == pytest.approx(expected.field.std(), rel=1e-12)
        assert (update.step, update.total_steps, update.completed) == (k, steps, k == steps - 1)
        assert update.growth_events == expected.growth_events
        assert update.pot_mean_mV == reply.field_mean[k] * 1000.0
        assert update.pot_std_mV == reply.field_std[k] * 1000.0
    last = reference_mycelium_rd(spec, steps)
    assert reply.growth_events == updates[-1].growth_events == last.growth_events
    assert reply.fractal_dimension == box_counting_dimension_legacy(active_mask(last.field))
    stats = reply.field_stats
    assert (stats.min, stats.max) == (last.field.min(), last.field.max())
    assert (stats.mean, stats.std) == (reply.field_mean[-1], reply.field_std[-1])


async def test_an_empty_request_means_the_documented_defaults(served: Any) -> None:
    explicit = pb.SimulateRequest(seed=0, grid_size=64, steps=100, turing_enabled=False, alpha=0.18, gamma=0.0)
    assert await served.reply(SIMULATE, pb.SimulateRequest()) == await served.reply(SIMULATE, explicit)
    assert served.charges == [("Simulate", 409_600.0)] * 2


async def test_the_switch_changes_nothing_below_the_threshold(served: Any) -> None:
    replies = [
        await served.reply(SIMULATE, pb.SimulateRequest(seed=7, grid_size=16, steps=30, turing_enabled=enabled))
        for enabled in (False, True)
    ]
    assert replies[0] == replies[1]


async def test_gamma_is_refused_with_its_remedy(served: Any) -> None:
    outcome = await served.unary(SIMULATE, pb.SimulateRequest(gamma=0.1))
    assert outcome.code is Code.INVALID_ARGUMENT
    (violation,) = outcome.error.violations
    assert (violation.field, violation.description) == (
        "gamma",
        "got 0.1, must equal 0; send that, or leave it unset",
    )
    assert served.charges == []


async def test_a_whole_run_is_one_compute_job(served: Any) -> None:
    submitted = 0
    run = served.compute.run

    async def counting(*arguments: Any, **expected: Any) -> Any:
        nonlocal submitted
        submitted += 1
        return await run(*arguments, **expected)

    served.compute.run = counting
    await served.reply(SIMULATE, pb.SimulateRequest(grid_size=8, steps=200))
    assert submitted == 1
    await served.frames(STREAM, pb.SimulateRequest(grid_size=8, steps=200))
    assert 3 <= submitted - 1 <= 100  # one opens the session; the others make several updates each
    assert all(session.closed for session in served.backend.sessions)


async def test_the_first_update_comes_before_the_run_ends_and_a_slow_reader_slows_it(served: Any) -> None:
    conversation = served.open(STREAM, pb.SimulateRequest(grid_size=64, steps=1000), window=1)
    assert (await conversation.next()).step == 0
    await served.until(lambda: conversation._outbound.full())
    assert served.backend.sessions[0].steps <= 1 + 2 * 64  # the updates of two compute jobs at most
    updates, outcome = await conversation.rest()
    assert outcome.code is Code.OK
    assert [update.step for update in updates] == list(range(1, 1000))


async def test_the_memory_of_a_stream_does_not_grow_with_its_steps(serve: Any) -> None:
    served = serve(max_steps=10_000)

    async def peak(steps: int) -> int:
        conversation = served.open(STREAM, pb.SimulateRequest(grid_size=4, steps=steps), window=1)
        tracemalloc.start()
        try:
            seen = 0
            while isinstance(await conversation.next(), pb.SimulationUpdate):
                seen += 1
            assert seen == steps
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    await peak(100)
    short, long = await peak(200), await peak(4000)
    assert long < short + 100_000  # 3800 further updates would take more


async def test_unstable_numbers_end_the_call(served: Any) -> None:
    def spoil(state: FieldState) -> FieldState:
        field = state.field.copy()
        if state.step >= 3:
            field[1, 1] = np.nan
        return FieldState(step=state.step, field=field)

    served.backend.spoil = spoil
    for path in (SIMULATE, STREAM):
        _, outcome = await served.open(path, pb.SimulateRequest(grid_size=8, steps=10)).rest()
        assert outcome.code is Code.FAILED_PRECONDITION
        assert outcome.error.details == {"reason": "numerical_instability", "step": "3", "cells": "1"}


async def test_a_server_without_an_engine_for_the_model_says_so_and_charges_nothing(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.backend, "supports", lambda spec: spec.model == "mycelium")
    for path in (SIMULATE, STREAM):
        outcome = await served.open(path, pb.SimulateRequest()).outcome()
        assert outcome.code is Code.UNIMPLEMENTED
        assert outcome.message == "no engine of this server computes the model 'mycelium_rd'"
    assert served.charges == []


async def test_an_engine_that_stops_without_being_asked_to_is_a_defect(
    served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfn_engine_numpy.session.NumpySession.step", lambda self, n, cancel: 0)
    outcome = await served.unary(SIMULATE, pb.SimulateRequest(grid_size=8, steps=3))
    assert outcome.code is Code.INTERNAL


async def test_an_equal_run_is_answered_from_the_cache(served: Any) -> None:
    served.dispatcher = Dispatcher(served.provider.services, cache=ResultCache(1 << 20))
    requests = [pb.SimulateRequest(grid_size=8, steps=5, seed=seed) for seed in (1, 1, 2)]
    replies = [await served.reply(SIMULATE, request) for request in requests]
    assert replies[0] == replies[1] != replies[2]
    assert len(served.backend.sessions) == 2


def test_a_run_can_be_kept_and_a_stream_and_a_potential_not(served: Any) -> None:
    operations = served.dispatcher.operations
    assert operations[SIMULATE].cache_key(b"\x08\x2a") == b"\x08\x2a"
    assert operations[STREAM].cache_key is None
    assert operations[NERNST].cache_key is None
    assert operations[SIMULATE].stamp is None
    for path in (SIMULATE, STREAM, NERNST):
        assert operations[path].idempotent
        assert operations[path].deterministic


# Potentials.


@pytest.mark.parametrize("row", RECORDED["nernst"], ids=lambda row: f"valence {row['z_valence']}")
async def test_a_potential_has_the_recorded_number(served: Any, row: dict[str, Any]) -> None:
    ion = {name: value for name, value in row.items() if name != "potential_mV"}
    reply = await served.reply(NERNST, pb.NernstRequest(**ion))
    assert reply.potential_mV == pytest.approx(row["potential_mV"], rel=1e-12)


async def test_a_temperature_that_is_not_sent_is_that_of_the_body(served: Any) -> None:
    potassium: dict[str, Any] = {"z_valence": 1, "concentration_out_molar": 0.005, "concentration_in_molar": 0.14}
    unset = await served.reply(NERNST, pb.NernstRequest(**potassium))
    assert unset == await served.reply(NERNST, pb.NernstRequest(**potassium, temperature_k=310.0))
    assert unset.potential_mV == pytest.approx(-89.01066911987907, rel=1e-12)


async def test_a_low_concentration_counts_as_the_floor(served: Any) -> None:
    calcium: dict[str, Any] = {"z_valence": 2, "concentration_out_molar": 2e-3}
    low = await served.reply(NERNST, pb.NernstRequest(**calcium, concentration_in_molar=1e-7))
    assert low == await served.reply(NERNST, pb.NernstRequest(**calcium, concentration_in_molar=1e-6))
    assert low.potential_mV == pytest.approx(101.51859, abs=5e-6)


@pytest.mark.parametrize("ion", [{}, {"z_valence": 1}, {"z_valence": 1, "concentration_out_molar": 0.1}])
async def test_an_ion_that_is_not_wholly_described_is_refused_by_name(served: Any, ion: dict[str, Any]) -> None:
    outcome = await served.unary(NERNST, pb.NernstRequest(**ion))
    assert outcome.code is Code.INVALID_ARGUMENT
    missing = ["z_valence", "concentration_out_molar", "concentration_in_molar"][len(ion) :]
    assert [violation.field for violation in outcome.error.violations] == missing
    assert {violation.description for violation in outcome.error.violations} == {
        "is not set and has no default; send a value"
    }


async def test_a_potential_is_computed_on_the_loop_and_costs_nothing(served: Any) -> None:
    async def forbidden(*arguments: Any) -> Any:
        raise AssertionError("it went to the compute pool")

    served.compute.run = forbidden
    await served.reply(NERNST, pb.NernstRequest(z_valence=1, concentration_out_molar=1.0, concentration_in_molar=2.0))
    assert served.charges == []


numbers = st.one_of(
    st.none(), st.floats(), st.sampled_from([0.0, -0.0, 5e-324, 1e-7, 0.14, 273.0, 310.0, 373.0, math.inf, math.nan])
)


@given(
    z_valence=st.none() | st.integers(-4, 4),
    concentration_out_molar=numbers,
    concentration_in_molar=numbers,
    temperature_k=numbers,
)
def test_what_is_seen_to_be_valid_is_exactly_what_the_rules_allow(**fields: Any) -> None:
    request = pb.NernstRequest.FromString(pb.NernstRequest(**fields).SerializeToString())
    assert plainly_valid(request) == (violations(request) == ())


@given(
    z_valence=st.sampled_from([-2, -1, 1, 2]),
    concentration_out_molar=st.floats(1e-6, 1e6),
    concentration_in_molar=st.floats(1e-6, 1e6),
    temperature_k=st.floats(273.0, 373.0),
)
def test_what_the_rules_allow_the_model_allows_too(**fields: Any) -> None:
    assert violations(pb.NernstRequest(**fields)) == ()
    assert math.isfinite(equilibrium_potential(*fields.values()))


# Health.


async def test_health_follows_the_life_of_the_service(served: Any) -> None:
    async def status() -> str:
        reply = await served.reply(HEALTH, pb.HealthCheckRequest())
        assert reply.version == version("mfn-service")
        return str(reply.status)

    assert await status() == "starting"
    await served.provider.start()
    assert await status() == "healthy"
    await served.provider.drain()
    await served.provider.drain()
    assert await status() == "draining"
    assert served.charges == []


async def test_uptime_is_counted_in_whole_seconds_from_the_start() -> None:
    now = 100.0
    condition = Condition(lambda: now)
    handler: Any = health_operation("s", condition).handler
    assert (await handler(pb.HealthCheckRequest(), None)).uptime_seconds == 0
    condition.started()
    now += 61.9
    assert (await handler(pb.HealthCheckRequest(), None)).uptime_seconds == 61
    condition.draining()
    now += 0.2
    reply = await handler(pb.HealthCheckRequest(), None)
    assert (reply.status, reply.uptime_seconds) == ("draining", 62)
