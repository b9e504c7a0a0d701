"""Methods of `mfn.v1.ModelService`: which models a server knows."""

from __future__ import annotations

from mfn_client import _model_replies
from mfn_client._caller import Caller
from mfn_client._model_results import Model
from mfn_client._requests import filled, new_request_id
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto.v1 import model_pb2

__all__ = ["describe_model", "list_models"]


async def list_models(
    self: Caller,
    *,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> tuple[Model, ...]:
    """Every model of the server, in alphabetic order.

    Args:
        request_id: to correlate, in metadata; a random UUID unless given.
        timeout: seconds until the deadline.
    """
    return await self._calls.unary(
        "/mfn.v1.ModelService/ListModels",
        model_pb2.ListModelsRequest().SerializeToString(),
        _model_replies.listed,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )


async def describe_model(
    self: Caller,
    name: str,
    *,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> Model:
    """One model of the server; arguments otherwise as in `list_models`.

    Raises:
        MfnRpcError: NOT_FOUND, with the nearest name, when there is no such model.
    """
    return await self._calls.unary(
        "/mfn.v1.ModelService/DescribeModel",
        filled(model_pb2.DescribeModelRequest(), name=name).SerializeToString(),
        _model_replies.described,
        request_id=new_request_id() if request_id is None else request_id,
        timeout=timeout,
        id_in_metadata=True,
    )
