"""`mfn.v1.FieldService.AnalyzeField`: a field is uploaded in chunks and measured."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mfn_core import Call, CancelToken, FieldViolation, Operation, Shape
from mfn_core.execution import ComputePool
from mfn_proto.v1.field_pb2 import AnalyzeFieldHeader, AnalyzeFieldRequest, AnalyzeFieldResponse
from mfn_service._analysis import Analysis, unit_of
from mfn_service._limits import Breach, WorkLimits, invalid, refuse, rule_breaches
from mfn_service._messages import CELL_TYPES
from mfn_service._models import POTENTIAL
from mfn_service._uploads import UploadBudget, uploading

__all__ = ["FEATURES_COST", "analyze_operation"]

FEATURES_COST = 50
"""What features and further dimensions cost, in cell-steps a cell."""


def analyze_operation(
    service: str, compute: ComputePool, limits: WorkLimits, uploads: UploadBudget, *, seconds: float
) -> Operation:
    """The operation, in the service of this name; an upload may take so many seconds."""

    def validate(request: AnalyzeFieldRequest) -> Sequence[FieldViolation]:
        found = rule_breaches(request)
        if not found and request.WhichOneof("part") == "header":
            found.extend(_header_breaches(request.header, limits))
        return refuse(found)

    async def handler(requests: AsyncIterator[AnalyzeFieldRequest], call: Call) -> AnalyzeFieldResponse:
        header = await _header(requests)
        call.decoded_request_id = header.request_id or None
        rows, columns = header.shape
        cell = CELL_TYPES[header.encoding]
        await call.charge(float(rows * columns * (1 + FEATURES_COST * header.HasField("features"))))
        with uploads.reserve(rows * columns * cell.itemsize):
            buffer: npt.NDArray[Any] = np.empty(rows * columns, dtype=cell)
            async with uploading(seconds):
                await _fill(requests, buffer.data.cast("B"))
            analysis = Analysis(header, buffer.reshape(rows, columns))
            for step in analysis.steps():
                await compute.run(call, _job(step))
            return analysis.reply

    return Operation(
        service=service,
        method="AnalyzeField",
        shape=Shape.CLIENT_STREAM,
        request_type=AnalyzeFieldRequest,
        response_type=AnalyzeFieldResponse,
        handler=handler,
        idempotent=True,
        deterministic=True,
        validate=validate,
    )


def _job(step: Callable[[], None]) -> Callable[[CancelToken], None]:
    return lambda cancel: step()


def _header_breaches(header: AnalyzeFieldHeader, limits: WorkLimits) -> Iterator[Breach]:
    largest = max(header.shape)
    if largest > limits.max_grid:
        yield limits.too_large("header.shape", largest)
    if header.HasField("threshold_volts"):
        if unit_of(header) != POTENTIAL:
            yield Breach(
                field="header.threshold_volts",
                description=f"got {header.threshold_volts!r}, and the field is in the unit {header.unit!r}; send "
                "threshold instead",
            )
        elif header.HasField("threshold"):
            yield Breach(
                field="header.threshold_volts",
                description=f"got {header.threshold_volts!r}, and threshold says which cells are active too; send one "
                "of them",
            )


async def _header(requests: AsyncIterator[AnalyzeFieldRequest]) -> AnalyzeFieldHeader:
    first = await anext(requests, None)
    if first is None:
        raise invalid("header", "the call carried no message; send the header first, then the chunks")
    if first.WhichOneof("part") != "header":
        raise invalid("header", "a chunk came before it; send the header first")
    return first.header


async def _fill(requests: AsyncIterator[AnalyzeFieldRequest], room: memoryview) -> None:
    """Copy the chunks into `room`, which they must fill exactly."""
    filled = 0
    async for request in requests:
        if request.WhichOneof("part") == "header":
            raise invalid("header", "a second one was sent; send one header, then chunks alone")
        end = filled + len(request.chunk)
        if end > len(room):
            raise invalid(
                "chunk",
                f"got at least {end} bytes in all, the header's shape and encoding need {len(room)}; "
                "send exactly as many",
            )
        room[filled:end] = request.chunk
        filled = end
    if filled < len(room):
        raise invalid(
            "chunk",
            f"got {filled} bytes in all, the header's shape and encoding need {len(room)}; send exactly as many",
        )
