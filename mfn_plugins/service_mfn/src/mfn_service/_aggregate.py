"""`mfn.v1.AggregationService.AggregateGradients`: gradients are uploaded in chunks and combined."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mfn_core import Call, CancelToken, FieldViolation, MfnError, Operation, Service, Shape
from mfn_core.execution import ComputePool
from mfn_proto.v1.aggregation_pb2 import (
    GRADIENT_TYPE_FLOAT32,
    GRADIENT_TYPE_FLOAT64,
    AggregateGradientsHeader,
    AggregateGradientsRequest,
    AggregateGradientsResponse,
    GradientChunk,
)
from mfn_service._aggregators import METHODS, aborting, rows_breaches
from mfn_service._limits import Breach, WorkLimits, invalid, refuse, rule_breaches
from mfn_service._uploads import UploadBudget, uploading

__all__ = ["AGGREGATION_SERVICE", "aggregation_service"]

AGGREGATION_SERVICE = "mfn.v1.AggregationService"

_TYPES: Mapping[int, np.dtype[Any]] = {GRADIENT_TYPE_FLOAT64: np.dtype("<f8"), GRADIENT_TYPE_FLOAT32: np.dtype("<f4")}

_INDEX_BYTES = 3
"""What a client's number takes in the reply, the most common one."""
_REPLY_HEAD = 256
"""What else stands there, the request id included."""
_INCOMPLETE_NAMED = 8


def aggregation_service(
    compute: ComputePool, limits: WorkLimits, uploads: UploadBudget, *, seconds: float, reply_bytes: int
) -> Service:
    """The service.

    Args:
        compute: combines the gradients.
        limits: how much work one call may ask for.
        uploads: the memory for gradients.
        seconds: that an upload may take.
        reply_bytes: how long a reply may be.
    """

    def validate(request: AggregateGradientsRequest) -> Sequence[FieldViolation]:
        found = rule_breaches(request)
        if not found and request.WhichOneof("part") == "header":
            found.extend(_header_breaches(request.header, limits, uploads, reply_bytes))
        return refuse(found)

    async def handler(requests: AsyncIterator[AggregateGradientsRequest], call: Call) -> AggregateGradientsResponse:
        header = await _header(requests)
        call.decoded_request_id = header.request_id or None
        method = METHODS[header.method]
        await call.charge(method.cost(header.clients, header.coordinates, header))
        with uploads.reserve(_size(header)):
            matrix: npt.NDArray[Any] = np.empty((header.clients, header.coordinates), dtype=_TYPES[header.type])
            async with uploading(seconds):
                await _fill(requests, matrix)

            def job(cancel: CancelToken) -> AggregateGradientsResponse:
                _require_bounded(matrix, cancel)
                return _reply(header, method.combine(matrix, header, aborting(cancel)), matrix.dtype)

            return await compute.run(call, job)

    operation = Operation(
        service=AGGREGATION_SERVICE,
        method="AggregateGradients",
        shape=Shape.CLIENT_STREAM,
        request_type=AggregateGradientsRequest,
        response_type=AggregateGradientsResponse,
        handler=handler,
        idempotent=True,
        deterministic=True,
        validate=validate,
    )
    return Service(name=AGGREGATION_SERVICE, operations=(operation,))


def _size(header: AggregateGradientsHeader) -> int:
    """Bytes of all gradients."""
    return int(header.clients) * int(header.coordinates) * _TYPES[header.type].itemsize


def _header_breaches(
    header: AggregateGradientsHeader, limits: WorkLimits, uploads: UploadBudget, reply_bytes: int
) -> Iterator[Breach]:
    method = METHODS[header.method]
    yield from method.breaches(header)
    if found := list(uploads.beyond("header.coordinates", _size(header), "send fewer or shorter gradients")):
        yield from found
        return
    length = header.coordinates * _TYPES[header.type].itemsize + header.clients * _INDEX_BYTES + _REPLY_HEAD
    if length > reply_bytes:
        yield Breach(
            field="header.coordinates",
            description=f"got {header.coordinates}, for which the reply takes {length} bytes, and this server sends at "
            f"most {reply_bytes} (services.mfn.aggregate_reply_bytes); send gradients in parts, or in float32",
            limit="aggregate_reply_bytes",
        )
        return
    cost = method.cost(header.clients, header.coordinates, header)
    if cost > limits.max_cell_steps:
        yield Breach(
            field="header.clients",
            description=f"got {header.clients}, for which {method.title} over {header.coordinates} coordinates costs "
            f"as much as {cost:.0f} cell-steps, and this server takes at most {limits.max_cell_steps} "
            "(server.max_cell_steps); send fewer gradients, or take another method",
            limit="max_cell_steps",
        )


async def _header(requests: AsyncIterator[AggregateGradientsRequest]) -> AggregateGradientsHeader:
    first = await anext(requests, None)
    if first is None:
        raise invalid("header", "the call carried no message; send the header first, then the chunks")
    if first.WhichOneof("part") != "header":
        raise invalid("header", "a chunk came before it; send the header first")
    return first.header


async def _fill(requests: AsyncIterator[AggregateGradientsRequest], matrix: npt.NDArray[Any]) -> None:
    """Copy the chunks into the rows of `matrix`, which they must fill exactly."""
    clients = len(matrix)
    length = matrix.strides[0]
    room = matrix.reshape(-1).data.cast("B")
    filled = np.zeros(clients, dtype=np.int64)
    async for request in requests:
        if request.WhichOneof("part") == "header":
            raise invalid("header", "a second one was sent; send one header, then chunks alone")
        _place(request.chunk, room, filled, length)
    short = np.flatnonzero(filled < length)
    if len(short):
        raise MfnError.invalid(
            FieldViolation(
                field=f"gradients[{client}]",
                description=f"got {filled[client]} bytes, the header's coordinates and type need {length}; send "
                f"exactly as many{_more(len(short))}",
            )
            for client in short[:_INCOMPLETE_NAMED].tolist()
        )


def _place(chunk: GradientChunk, room: memoryview, filled: npt.NDArray[np.int64], length: int) -> None:
    client, data = chunk.client, chunk.data
    if client >= len(filled):
        raise invalid(
            "chunk.client",
            f"got {client}, the header's clients have the numbers 0 to {len(filled) - 1}; name one of them",
        )
    before = int(filled[client])
    end = before + len(data)
    if end > length:
        raise invalid(
            f"gradients[{client}]",
            f"got at least {end} bytes, the header's coordinates and type need {length}; send exactly as many",
        )
    start = client * length
    room[start + before : start + end] = data
    filled[client] = end


def _more(count: int) -> str:
    return f" ({count} gradients are too short)" if count > _INCOMPLETE_NAMED else ""


def _require_bounded(matrix: npt.NDArray[Any], cancel: CancelToken) -> None:
    found = list(rows_breaches(matrix, cancel))
    if found:
        raise MfnError.invalid(each.violation() for each in found)


def _reply(header: AggregateGradientsHeader, found: Any, type_: np.dtype[Any]) -> AggregateGradientsResponse:
    return AggregateGradientsResponse(
        request_id=header.request_id,
        gradient=np.ascontiguousarray(found.gradient, dtype=type_).tobytes(),
        type=header.type,
        coordinates=header.coordinates,
        accepted=found.accepted,
        rejected=found.rejected,
        sampled_out=found.sampled_out,
    )
