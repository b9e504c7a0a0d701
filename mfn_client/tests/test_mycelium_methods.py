"""Runs and trainings of package `mycelium`: what goes out, and what comes back."""

from __future__ import annotations

from typing import Any

import pytest

from mfn_client import MFNClient, MfnRpcError, RunHistory, RunUpdate, ShortValidation
from mfn_proto import mycelium_pb2 as pb

SERVICE = "/mycelium.MyceliumService/"


async def test_a_run_and_its_updates_are_typed_and_named_in_metadata(server: Any, client: MFNClient) -> None:
    async def whole(call: Any) -> None:
        await call.write(
            pb.SimulateResponse(
                field_mean=[-0.07, -0.06],
                field_std=[0.001, 0.002],
                growth_events=3,
                fractal_dimension=1.5,
                field_stats=pb.FieldStats(mean=-0.06, std=0.002, min=-0.08, max=-0.05),
            )
        )

    async def updates(call: Any) -> None:
        for step in range(2):
            await call.write(
                pb.SimulationUpdate(
                    step=step,
                    total_steps=2,
                    pot_mean_mV=-70.0 + step,
                    pot_std_mV=1.0,
                    growth_events=step,
                    completed=step == 1,
                )
            )

    server.serve(SERVICE + "Simulate", whole)
    server.serve(SERVICE + "SimulateStream", updates)
    assert await client.simulate_history(request_id="mine") == RunHistory(
        mean_volts=(-0.07, -0.06),
        std_volts=(0.001, 0.002),
        growth_events=3,
        fractal_dimension=1.5,
        last_min_volts=-0.08,
        last_max_volts=-0.05,
        last_mean_volts=-0.06,
        last_std_volts=0.002,
    )
    assert [update async for update in client.stream_history(request_id="mine")] == [
        RunUpdate(
            step=step,
            total_steps=2,
            pot_mean_mv=-70.0 + step,
            pot_std_mv=1.0,
            growth_events=step,
            completed=step == 1,
        )
        for step in range(2)
    ]
    for call in server.calls:
        assert call.header("x-request-id") == "mine"
        assert pb.SimulateRequest.FromString(call.first) == pb.SimulateRequest(
            seed=42, grid_size=64, steps=100, alpha=0.18, turing_enabled=True
        )


async def test_a_training_is_typed(server: Any, client: MFNClient) -> None:
    async def reply(call: Any) -> None:
        await call.write(
            pb.ValidateResponse(
                loss_start=2.0,
                loss_final=0.5,
                loss_drop=1.5,
                pot_min_mV=-72.0,
                pot_max_mV=-60.0,
                lyapunov_exponent=-2.0,
                nernst_symbolic_mV=-89.0,
            )
        )

    server.serve(SERVICE + "Validate", reply)
    assert await client.validate(seed=0, epochs=2) == ShortValidation(
        loss_start=2.0,
        loss_final=0.5,
        loss_drop=1.5,
        pot_min_mv=-72.0,
        pot_max_mv=-60.0,
        lyapunov_exponent=-2.0,
        nernst_symbolic_mv=-89.0,
    )
    request = pb.ValidateRequest.FromString(server.calls[0].first)
    assert request == pb.ValidateRequest(seed=0, epochs=2, grid_size=32)
    assert request.HasField("seed")


async def test_lists_of_one_run_have_one_length(server: Any, client: MFNClient) -> None:
    async def reply(call: Any) -> None:
        await call.write(pb.SimulateResponse(field_mean=[-0.07]))

    server.serve(SERVICE + "Simulate", reply)
    with pytest.raises(MfnRpcError, match="1 means and 0 deviations of one run"):
        await client.simulate_history()


async def test_a_request_id_that_metadata_cannot_carry_is_refused(client: MFNClient) -> None:
    with pytest.raises(ValueError, match="request_id is metadata here"):
        client.stream_history(request_id="größe")
