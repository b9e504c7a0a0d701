"""Methods of `grpc.health.v1.Health`."""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from mfn_client import _replies
from mfn_client._caller import Caller
from mfn_client._requests import filled, new_request_id
from mfn_client.results import ServingStatus
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout

__all__ = ["health_check"]


async def health_check(
    self: Caller,
    service: str = "",
    *,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> ServingStatus:
    """Whether the server, or one of its services, takes calls. Asked without credentials: health is public.

    Args:
        service: full name, such as `mfn.v1.FieldService`; empty: the server as a whole.
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.

    Raises:
        MfnRpcError: NOT_FOUND, when the server has no such service; UNAVAILABLE, when there is no server.
    """
    return await self._calls.unary(
        "/grpc.health.v1.Health/Check",
        filled(health_pb2.HealthCheckRequest(), service=service).SerializeToString(),
        _replies.serving_status,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        signed=False,
        id_in_metadata=True,
    )
