"""Methods of `mycelium.MyceliumService`."""

from __future__ import annotations

from mfn_client import _replies
from mfn_client._caller import Caller
from mfn_client._requests import filled, new_request_id
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto import mycelium_pb2

__all__ = ["nernst"]


async def nernst(
    self: Caller,
    *,
    z_valence: int,
    concentration_out_molar: float,
    concentration_in_molar: float,
    temperature_k: float = 310.0,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> float:
    """The equilibrium potential of an ion across a membrane, inside against outside, in mV.

    It is R·T / (z·F) · ln(out / in), the Nernst equation, with R = 8.314 J/(mol·K) and F = 96485.33212 C/mol.

    Args:
        z_valence: charge of the ion: -2, -1, 1 or 2.
        concentration_out_molar: outside, mol/L, positive; below 1e-6 it counts as 1e-6.
        concentration_in_molar: inside, mol/L, likewise.
        temperature_k: absolute temperature, 273 to 373 K.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    request = filled(
        mycelium_pb2.NernstRequest(),
        z_valence=z_valence,
        concentration_out_molar=concentration_out_molar,
        concentration_in_molar=concentration_in_molar,
        temperature_k=temperature_k,
    )
    return await self._calls.unary(
        "/mycelium.MyceliumService/ComputeNernst",
        request.SerializeToString(),
        _replies.nernst_potential,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )
