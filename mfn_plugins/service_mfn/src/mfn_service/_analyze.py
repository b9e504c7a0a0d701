"""`mfn.v1.FieldService.AnalyzeField`: a field is uploaded in chunks and measured."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from mfn_core import Call, CancelToken, Code, FieldViolation, MfnError, Operation, Shape
from mfn_core.execution import ComputePool
from mfn_model import FieldStatistics, field_statistics
from mfn_proto.defaults import effective
from mfn_proto.v1.field_pb2 import AnalyzeFieldHeader, AnalyzeFieldRequest, AnalyzeFieldResponse
from mfn_service._limits import Breach, WorkLimits, invalid, refuse, rule_breaches
from mfn_service._measures import dimension
from mfn_service._messages import CELL_TYPES, fractal_dimension, statistics_message

__all__ = ["UploadBudget", "analyze_operation"]

RETRY_AFTER_UPLOADS = 1.0
"""Seconds that a caller is asked to wait when other uploads take all the memory that uploads may take."""


class UploadBudget:
    """The memory that uploads may take together. Used from one event loop."""

    def __init__(self, capacity: int) -> None:
        """Allow `capacity` bytes."""
        self._capacity = capacity
        self.taken = 0
        """Bytes that uploads take now."""

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Take `size` bytes for as long as the block runs.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, when they are not free.
        """
        if self.taken + size > self._capacity:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"uploads take {self.taken} of {self._capacity} bytes and this one needs {size} "
                f"(services.mfn.upload_bytes); retry after {RETRY_AFTER_UPLOADS} s",
                retry_after=RETRY_AFTER_UPLOADS,
                details={"limit": "upload_bytes"},
            )
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


def analyze_operation(
    service: str, compute: ComputePool, limits: WorkLimits, uploads: UploadBudget, *, seconds: float
) -> Operation:
    """The operation, in the service of this name; an upload may take so many seconds."""

    def validate(request: AnalyzeFieldRequest) -> Sequence[FieldViolation]:
        found = rule_breaches(request)
        if not found and request.WhichOneof("part") == "header":
            found.extend(_shape_breaches(request.header, limits))
        return refuse(found)

    async def handler(requests: AsyncIterator[AnalyzeFieldRequest], call: Call) -> AnalyzeFieldResponse:
        header = await _header(requests)
        call.decoded_request_id = header.request_id or None
        side = header.shape[0]
        cell = CELL_TYPES[header.encoding]
        await call.charge(float(side * side))
        with uploads.reserve(side * side * cell.itemsize):
            buffer: npt.NDArray[Any] = np.empty(side * side, dtype=cell)
            try:
                async with asyncio.timeout(seconds):
                    await _fill(requests, buffer.data.cast("B"))
            except TimeoutError:
                raise MfnError(
                    Code.DEADLINE_EXCEEDED,
                    f"the upload took longer than {seconds:g} s (services.mfn.upload_seconds); send it faster",
                    details={"limit": "upload_seconds"},
                ) from None
            threshold = float(effective(header, "threshold_volts"))

            def job(cancel: CancelToken) -> AnalyzeFieldResponse:
                return _measured(buffer.reshape(side, side), threshold, header.request_id)

            return await compute.run(call, job)

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


def _shape_breaches(header: AnalyzeFieldHeader, limits: WorkLimits) -> list[Breach]:
    rows, columns = header.shape
    if rows != columns:
        return [
            Breach(
                field="header.shape",
                description=f"got {rows} x {columns}, box counting needs as many rows as columns; "
                "cut or pad the field to a square",
            )
        ]
    return [limits.too_large("header.shape", rows)] if rows > limits.max_grid else []


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


def _measured(uploaded: npt.NDArray[np.floating], threshold: float, request_id: str) -> AnalyzeFieldResponse:
    finite = np.isfinite(uploaded)
    wrong = uploaded.size - int(np.count_nonzero(finite))
    if wrong:
        row, column = divmod(int(np.argmin(finite)), uploaded.shape[1])
        raise invalid(
            "chunk",
            f"{wrong} of {uploaded.size} cells are NaN or infinite, the first at row {row}, column {column}: "
            f"{float(uploaded[row, column])!r}; send finite values",
        )
    field = uploaded.astype(np.float64, copy=False)
    found = _statistics(field, threshold)
    estimate, legacy = dimension(field, threshold)
    return AnalyzeFieldResponse(
        request_id=request_id,
        statistics=statistics_message(found),
        dimension=fractal_dimension(estimate),
        fractal_dimension=legacy,
        active_fraction=found.active_fraction,
        threshold_volts=threshold,
    )


def _statistics(field: npt.NDArray[np.float64], threshold: float) -> FieldStatistics:
    """Statistics of any finite field, also where the sums of its values or of their squares overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = field_statistics(field, threshold)
    if math.isfinite(found.mean) and math.isfinite(found.std):
        return found
    # A power of two scales exactly; the deviation is at most half the range, so that nothing overflows again.
    largest = max(abs(found.minimum), abs(found.maximum))
    exponent = math.frexp(largest)[1]
    scaled = field_statistics(np.ldexp(field, -exponent))
    return FieldStatistics(
        minimum=found.minimum,
        maximum=found.maximum,
        mean=math.ldexp(scaled.mean, exponent),
        std=math.ldexp(scaled.std, exponent),
        active_fraction=found.active_fraction,
        active_cells=found.active_cells,
        cells=found.cells,
    )
