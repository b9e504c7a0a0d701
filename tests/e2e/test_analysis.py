"""An uploaded field is measured as `mfn_model` measures it, to the last bit, however it was cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from mfn_client.raw import RawClient
from mfn_e2e.calls import exchange
from mfn_e2e.deployment import Deployment
from mfn_model import (
    active_mask,
    box_counting_dimension_legacy,
    estimate_dimension,
    field_statistics,
    mycelium_spec,
    reference_mycelium,
)
from mfn_proto.v1 import field_pb2 as v1

ANALYZE = "/mfn.v1.FieldService/AnalyzeField"

Field = npt.NDArray[np.float64]


def noisy() -> Field:
    return np.random.default_rng(4).normal(-0.065, 0.01, (256, 256))


def simulated() -> Field:
    spec = mycelium_spec(seed=11, grid_size=256, alpha=0.18, spike_probability=0.5, turing_enabled=True, jitter=True)
    return reference_mycelium(spec, steps=30).field


def flat() -> Field:
    return np.full((256, 256), -0.07)


def messages(field: Field, cell: str, chunk: int, threshold: float | None) -> Iterator[v1.AnalyzeFieldRequest]:
    encoding = v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN if cell == "<f8" else v1.FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN
    yield v1.AnalyzeFieldRequest(
        header=v1.AnalyzeFieldHeader(
            request_id="upload", shape=field.shape, encoding=encoding, unit="V", threshold_volts=threshold
        )
    )
    data = field.astype(cell).tobytes()
    for start in range(0, len(data), chunk):
        yield v1.AnalyzeFieldRequest(chunk=data[start : start + chunk])


@pytest.mark.parametrize("chunk", [4099, 65_536, 1_048_576], ids=["odd", "64K", "1M"])
@pytest.mark.parametrize("cell", ["<f8", "<f4"])
@pytest.mark.parametrize("make", [noisy, simulated, flat])
@pytest.mark.parametrize("threshold", [None, -0.068])
async def test_an_uploaded_field_has_the_numbers_that_it_has_here(
    server: Deployment, client: RawClient, make: Callable[[], Field], cell: str, chunk: int, threshold: float | None
) -> None:
    field: Field = make()
    sent = [message.SerializeToString() for message in messages(field, cell, chunk, threshold)]
    ended = await exchange(client, ANALYZE, sent, server.caller().headers(ANALYZE, None))
    assert ended.status.ok, ended.status
    (raw,) = ended.replies
    reply = v1.AnalyzeFieldResponse.FromString(raw)

    level = -0.060 if threshold is None else threshold
    measured = field.astype(cell).astype(np.float64)
    statistics, mask = field_statistics(measured, level), active_mask(measured, level)
    estimate = estimate_dimension(mask)
    assert (reply.request_id, reply.threshold_volts) == ("upload", level)
    assert reply.statistics.min_volts == statistics.minimum
    assert reply.statistics.max_volts == statistics.maximum
    assert reply.statistics.mean_volts == statistics.mean
    assert reply.statistics.std_volts == statistics.std
    assert reply.active_fraction == statistics.active_fraction
    assert reply.fractal_dimension == box_counting_dimension_legacy(mask)
    found = reply.dimension
    assert (found.value if found.HasField("value") else None) == estimate.value
    assert (found.r_squared if found.HasField("r_squared") else None) == estimate.r_squared
    assert found.reason == (estimate.reason or "")
    assert [(each.box_size, each.occupied_boxes) for each in found.scales] == [
        (round(size), count) for size, count in zip(estimate.scales, estimate.counts, strict=True)
    ]
