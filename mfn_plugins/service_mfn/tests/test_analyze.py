"""`mfn.v1.FieldService.AnalyzeField`."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from mfn_core import Code
from mfn_model import box_counting_dimension_legacy, estimate_dimension
from mfn_proto.v1 import field_pb2 as pb

ANALYZE = "/mfn.v1.FieldService/AnalyzeField"
FLOAT64 = pb.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN
FLOAT32 = pb.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN


def header(side: int, encoding: pb.FieldEncoding = FLOAT64, **fields: Any) -> pb.AnalyzeFieldRequest:
    return pb.AnalyzeFieldRequest(
        header=pb.AnalyzeFieldHeader(request_id="photo", shape=(side, side), encoding=encoding, **fields)
    )


def chunks(data: bytes, size: int) -> list[pb.AnalyzeFieldRequest]:
    return [pb.AnalyzeFieldRequest(chunk=data[k : k + size]) for k in range(0, len(data), size)]


def random_field(side: int = 32) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.random.default_rng(7).normal(-0.065, 0.01, (side, side))


async def analyse(served: Any, *messages: pb.AnalyzeFieldRequest) -> Any:
    conversation = served.open(ANALYZE)
    conversation.send(*messages)
    conversation.half_close()
    return await conversation.outcome()


async def analysed(served: Any, *messages: pb.AnalyzeFieldRequest) -> pb.AnalyzeFieldResponse:
    outcome = await analyse(served, *messages)
    assert outcome.code is Code.OK, outcome.message
    return pb.AnalyzeFieldResponse.FromString(outcome.reply)


@pytest.mark.parametrize("size", [1, 13, 4096, 1_048_576])
async def test_a_field_cut_anywhere_is_measured(served: Any, size: int) -> None:
    field = random_field()
    reply = await analysed(served, header(32), *chunks(field.tobytes(), size))
    mask = field > -0.060
    assert reply.request_id == "photo"
    assert reply.statistics.min_volts == field.min()
    assert reply.statistics.max_volts == field.max()
    assert reply.statistics.mean_volts == pytest.approx(field.mean(), rel=1e-12)
    assert reply.statistics.std_volts == pytest.approx(field.std(), rel=1e-12)
    assert reply.active_fraction == mask.mean()
    assert reply.threshold_volts == -0.060
    assert reply.dimension.value == estimate_dimension(mask).value
    assert reply.fractal_dimension == box_counting_dimension_legacy(mask)


async def test_float32_is_widened_before_it_is_compared(served: Any) -> None:
    field = random_field().astype("<f4")
    reply = await analysed(served, header(32, FLOAT32, threshold_volts=-0.065), *chunks(field.tobytes(), 1000))
    wide = field.astype(np.float64)
    assert reply.active_fraction == (wide > -0.065).mean()
    assert reply.statistics.mean_volts == pytest.approx(wide.mean(), rel=1e-12)


@pytest.mark.parametrize("side", [1, 2, 5, 17, 128])
async def test_any_square_up_to_the_limit_is_taken(served: Any, side: int) -> None:
    reply = await analysed(served, header(side), *chunks(np.zeros((side, side)).tobytes(), 100_000))
    assert reply.active_fraction == 1.0
    assert reply.statistics.std_volts == 0.0
    assert reply.dimension.HasField("value") == (side >= 8)
    assert bool(reply.dimension.reason) == (side < 8)


async def test_statistics_of_huge_values_do_not_overflow(served: Any) -> None:
    field = np.full((8, 8), 1.5e308)
    field[::2] = -1.5e308
    field[0, 0] = 1e-300
    reply = await analysed(served, header(8), *chunks(field.tobytes(), 512))
    expected = np.ldexp(field, -1024)
    assert reply.statistics.max_volts == 1.5e308
    assert reply.statistics.mean_volts == pytest.approx(expected.mean() * 2.0**1023 * 2.0, rel=1e-12)
    assert reply.statistics.std_volts == pytest.approx(expected.std() * 2.0**1023 * 2.0, rel=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("encoding", [FLOAT64, FLOAT32])
async def test_a_value_that_is_not_finite_is_refused_with_its_place(
    served: Any, encoding: pb.FieldEncoding, value: float
) -> None:
    field = random_field(8)
    field[3, 5] = field[7, 7] = value
    data = field.astype("<f8" if encoding == FLOAT64 else "<f4").tobytes()
    outcome = await analyse(served, header(8, encoding), *chunks(data, 100))
    assert outcome.code is Code.INVALID_ARGUMENT
    assert outcome.error.violations[0].field == "chunk"
    assert outcome.error.violations[0].description.startswith(
        f"2 of 64 cells are NaN or infinite, the first at row 3, column 5: {value!r};"
    )


WHOLE = chunks(random_field(8).tobytes(), 100)


@pytest.mark.parametrize(
    ("messages", "field", "text"),
    [
        ([], "header", "carried no message"),
        (WHOLE, "header", "a chunk came before it"),
        ([header(8), *WHOLE, header(8)], "header", "a second one"),
        ([header(8), header(8), *WHOLE], "header", "a second one"),
        ([header(8)], "chunk", "got 0 bytes in all, the header's shape and encoding need 512"),
        ([header(8), *WHOLE[:-1]], "chunk", "got 500 bytes in all"),
        ([header(8), *WHOLE, pb.AnalyzeFieldRequest(chunk=b"x")], "chunk", "got at least 513 bytes in all"),
        ([header(8), pb.AnalyzeFieldRequest(chunk=b""), *WHOLE], "chunk", "got 0 bytes"),
        ([header(8), pb.AnalyzeFieldRequest()], "part", "nothing is set"),
    ],
)
async def test_messages_that_do_not_make_a_field_are_refused(
    served: Any, messages: list[pb.AnalyzeFieldRequest], field: str, text: str
) -> None:
    outcome = await analyse(served, *messages)
    assert outcome.code is Code.INVALID_ARGUMENT
    assert [violation.field for violation in outcome.error.violations] == [field]
    assert text in outcome.error.violations[0].description


async def test_a_shape_beyond_the_limit_is_refused_before_anything_is_reserved(served: Any) -> None:
    conversation = served.open(ANALYZE)
    conversation.send(header(129))  # and no half-close: the refusal does not wait for the bytes
    outcome = await conversation.outcome()
    assert outcome.code is Code.INVALID_ARGUMENT
    assert outcome.error.details == {"limit": "max_grid"}
    assert served.charges == []


async def test_uploads_together_stay_within_their_memory(serve: Any) -> None:
    served = serve(service={"upload_bytes": 1000})
    first, second = served.open(ANALYZE), served.open(ANALYZE)
    first.send(header(8))
    await served.until(lambda: served.provider.uploads.taken == 512)
    second.send(header(8))
    refused = await second.outcome()
    assert refused.code is Code.RESOURCE_EXHAUSTED
    assert refused.error.details == {"limit": "upload_bytes"}
    assert refused.error.retry_after == 1.0
    first.send(*WHOLE)
    first.half_close()
    assert (await first.outcome()).code is Code.OK
    assert served.provider.uploads.taken == 0


async def test_an_upload_that_does_not_come_is_ended(serve: Any) -> None:
    served = serve(service={"upload_seconds": 0.1})
    conversation = served.open(ANALYZE)
    conversation.send(header(8), WHOLE[0])
    outcome = await conversation.outcome()
    assert outcome.code is Code.DEADLINE_EXCEEDED
    assert outcome.error.details == {"limit": "upload_seconds"}
    assert served.provider.uploads.taken == 0


async def test_a_cancelled_upload_gives_its_memory_back(served: Any) -> None:
    conversation = served.open(ANALYZE)
    conversation.send(header(64), pb.AnalyzeFieldRequest(chunk=bytes(1000)))
    await served.until(lambda: served.provider.uploads.taken == 64 * 64 * 8)
    conversation.break_off()
    assert (await conversation.outcome()).code is Code.CANCELLED
    assert served.provider.uploads.taken == 0


async def test_an_upload_is_charged_for_its_cells_once(served: Any) -> None:
    await analysed(served, header(8), *WHOLE)
    assert served.charges == [("AnalyzeField", 64.0)]
    served.refuse_charges_from = 1
    outcome = await analyse(served, header(8), *WHOLE)
    assert outcome.code is Code.RESOURCE_EXHAUSTED


async def test_many_uploads_at_once_do_not_mix(served: Any) -> None:
    async def one(number: int) -> None:
        field = np.full((16, 16), number / 1000.0)
        reply = await analysed(served, header(16), *chunks(field.tobytes(), 64))
        assert reply.statistics.min_volts == reply.statistics.max_volts == number / 1000.0

    await asyncio.gather(*(one(number) for number in range(20)))
