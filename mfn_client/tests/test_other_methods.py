"""The validation training, Nernst potentials and health: what goes out, and what comes back."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from mfn_client import Code, Credentials, MFNClient, MfnRpcError, ServingStatus, Validation
from mfn_proto import mfn_pb2, mycelium_pb2

VALIDATE = "/mfn.MFNValidationService/ValidatePattern"
NERNST = "/mycelium.MyceliumService/ComputeNernst"
CHECK = "/grpc.health.v1.Health/Check"
CREDENTIALS = Credentials(key_id="lab-1", secret=bytes(range(32)))


async def test_a_validation_sends_every_field_and_tells_every_number(server: Any, client: MFNClient) -> None:
    async def reply(call: Any) -> None:
        request = mfn_pb2.ValidationRequest.FromString(call.first)
        await call.write(
            mfn_pb2.ValidationResult(
                request_id=request.request_id,
                meta=mfn_pb2.ResponseMeta(meta={"server": "tiny"}),
                loss_start=2.0,
                loss_final=0.5,
                loss_drop=1.5,
                pot_min_mV=-72.0,
                pot_max_mV=-3.0,
                example_fractal_dim=1.25,
                lyapunov_exponent=-0.75,
                growth_events=17.0,
                nernst_symbolic_mV=-89.0,
                nernst_numeric_mV=-89.5,
            )
        )

    server.serve(VALIDATE, reply)
    result = await client.validate_pattern(request_id="mine")
    assert mfn_pb2.ValidationRequest.FromString(server.calls[0].first) == mfn_pb2.ValidationRequest(
        request_id="mine",
        seed=42,
        epochs=1,
        batch_size=4,
        grid_size=64,
        steps=64,
        turing_enabled=True,
        quantum_jitter=False,
    )
    assert result == Validation(
        request_id="mine",
        loss_start=2.0,
        loss_final=0.5,
        loss_drop=1.5,
        pot_min_mv=-72.0,
        pot_max_mv=-3.0,
        example_fractal_dimension=1.25,
        lyapunov_exponent=-0.75,
        growth_events=17,
        nernst_symbolic_mv=-89.0,
        nernst_numeric_mv=-89.5,
        server={"server": "tiny"},
    )
    await client.validate_pattern(
        seed=1, epochs=2, batch_size=3, grid_size=8, steps=0, turing_enabled=False, quantum_jitter=True
    )
    second = mfn_pb2.ValidationRequest.FromString(server.calls[1].first)
    assert (second.seed, second.epochs, second.batch_size, second.grid_size) == (1, 2, 3, 8)
    assert second.HasField("steps")
    assert (second.steps, second.turing_enabled, second.quantum_jitter) == (0, False, True)


async def test_a_server_without_the_training_says_so(client: MFNClient) -> None:
    with pytest.raises(MfnRpcError) as caught:
        await client.validate_pattern()
    assert (caught.value.code, caught.value.attempts) == (Code.UNIMPLEMENTED, 1)


async def test_a_fraction_of_a_growth_event_breaks_the_contract(server: Any, client: MFNClient) -> None:
    async def reply(call: Any) -> None:
        request = mfn_pb2.ValidationRequest.FromString(call.first)
        await call.write(mfn_pb2.ValidationResult(request_id=request.request_id, growth_events=1.5))

    server.serve(VALIDATE, reply)
    with pytest.raises(MfnRpcError, match=r"growth_events is 1\.5, not a whole number"):
        await client.validate_pattern()


async def test_a_nernst_potential_is_in_millivolts_and_its_request_is_named_in_metadata(
    server: Any, client: MFNClient
) -> None:
    async def reply(call: Any) -> None:
        await call.write(mycelium_pb2.NernstResponse(potential_mV=-89.01))

    server.serve(NERNST, reply)
    potential = await client.nernst(
        z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.140, request_id="mine"
    )
    assert potential == -89.01
    (call,) = server.calls
    assert mycelium_pb2.NernstRequest.FromString(call.first) == mycelium_pb2.NernstRequest(
        z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.140, temperature_k=310.0
    )
    assert call.header("x-request-id") == "mine"


async def test_a_request_id_that_metadata_cannot_carry_is_refused_by_name(client: MFNClient) -> None:
    for request_id in ("größe", "two\nlines"):
        with pytest.raises(ValueError, match="request_id is metadata here, and must be printable ASCII"):
            await client.nernst(
                z_valence=1, concentration_out_molar=1.0, concentration_in_molar=1.0, request_id=request_id
            )
    with pytest.raises(TypeError, match="z_valence cannot be sent as 'K'"):
        await client.nernst(
            z_valence="K",  # type: ignore[arg-type] # what is refused
            concentration_out_molar=1.0,
            concentration_in_molar=1.0,
        )


@pytest.mark.parametrize(
    ("number", "status"),
    [(0, "UNKNOWN"), (1, "SERVING"), (2, "NOT_SERVING"), (3, "SERVICE_UNKNOWN"), (77, "UNKNOWN")],
)
async def test_health_is_asked_for_without_credentials(server: Any, number: int, status: str) -> None:
    async def reply(call: Any) -> None:
        await call.write(health_pb2.HealthCheckResponse(status=number))

    server.secret = None
    server.serve(CHECK, reply)
    async with MFNClient(server.address, credentials=CREDENTIALS) as client:
        found = await client.health_check("mfn.v1.FieldService")
    assert found is ServingStatus(status)
    assert found == status
    (call,) = server.calls
    assert health_pb2.HealthCheckRequest.FromString(call.first).service == "mfn.v1.FieldService"
    assert not [key for key, _ in call.metadata if key.startswith("x-mfn-")]


async def test_a_service_that_does_not_exist_is_not_found(server: Any) -> None:
    async def refuse(call: Any) -> None:
        await call.context.abort(grpc.StatusCode.NOT_FOUND, "no service 'other'")

    server.secret = None
    server.serve(CHECK, refuse)
    async with MFNClient(server.address) as client:
        with pytest.raises(MfnRpcError, match="NOT_FOUND: no service 'other'"):
            await client.health_check("other")
