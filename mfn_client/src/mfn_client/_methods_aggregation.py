"""Methods of `mfn.v1.AggregationService`: gradients combined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mfn_client._aggregation_results import GradientAggregate
from mfn_client._caller import Caller
from mfn_client._replies import parsed
from mfn_client._requests import CHUNK_BYTES, filled, new_request_id
from mfn_client.timeouts import CLIENT_TIMEOUT, Timeout
from mfn_proto.v1 import aggregation_pb2 as pb

__all__ = ["AggregationMethod", "aggregate_gradients", "gradient_vectors"]

AggregationMethod = Literal[
    "hierarchical_krum",
    "balanced_hierarchical_krum",
    "krum",
    "multi_krum",
    "bulyan",
    "trimmed_mean",
    "coordinate_median",
    "geometric_median",
]

_METHODS = {
    name.removeprefix("AGGREGATION_METHOD_").lower(): name
    for name, number in pb.AggregationMethod.items()
    if number != pb.AGGREGATION_METHOD_UNSPECIFIED
}
_TYPES = {"<f8": pb.GRADIENT_TYPE_FLOAT64, "<f4": pb.GRADIENT_TYPE_FLOAT32}


async def aggregate_gradients(
    self: Caller,
    gradients: npt.ArrayLike | Iterable[npt.ArrayLike],
    *,
    method: AggregationMethod,
    byzantine: int = 0,
    keep: int | None = None,
    num_clusters: int | None = None,
    byzantine_fraction: float | None = None,
    sample_fraction: float | None = None,
    seed: int | None = None,
    tolerance: float | None = None,
    request_id: str | None = None,
    timeout: Timeout = CLIENT_TIMEOUT,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> GradientAggregate:
    """Upload the gradients of clients of whom some may be wrong, and combine them.

    Args:
        gradients: one vector for each client: an array [clients, coordinates], or any iterable of vectors of one
            length, which is read to its end first. float32 travels as it is, where all are; other numbers as float64.
        method: how to combine them; what each bears is in the documentation of `mfn.v1.AggregationMethod`.
        byzantine: how many may be wrong, for the methods that ask.
        keep: gradients that `multi_krum` keeps; None: as many as it may.
        num_clusters: of the hierarchical methods; None: 10.
        byzantine_fraction: of `hierarchical_krum`; None: 0.2.
        sample_fraction: of more than 1000 gradients, of `hierarchical_krum`; None: 0.1.
        seed: of the hierarchical methods; None: 42.
        tolerance: of `geometric_median`; None: 1e-6.
        request_id: to correlate; a random UUID unless given.
        timeout: seconds until the deadline, the upload included.

    Raises:
        ValueError: the gradients are no vectors of real numbers of one length, or there is no such method.
    """
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    vectors = gradient_vectors(gradients)
    given = new_request_id() if request_id is None else request_id
    options = {
        "keep": keep,
        "num_clusters": num_clusters,
        "byzantine_fraction": byzantine_fraction,
        "sample_fraction": sample_fraction,
        "seed": seed,
        "tolerance": tolerance,
    }
    header = filled(
        pb.AggregateGradientsHeader(type=_TYPES[vectors[0].dtype.str], method=_METHODS[method]),
        request_id=given,
        clients=len(vectors),
        coordinates=len(vectors[0]),
        byzantine=byzantine,
        **{name: value for name, value in options.items() if value is not None},
    )
    return await self._calls.client_stream(
        "/mfn.v1.AggregationService/AggregateGradients",
        lambda: _messages(header, vectors),
        _aggregate,
        request_id=given,
        timeout=timeout,
    )


def gradient_vectors(gradients: npt.ArrayLike | Iterable[npt.ArrayLike]) -> Sequence[npt.NDArray[Any]]:
    """The gradients as they travel: vectors of one length, little-endian, in float32 where all are.

    Raises:
        ValueError: there is none, or one is no vector of real numbers, empty, or of another length than the first.
    """
    rows = gradients if isinstance(gradients, np.ndarray) else list(gradients)  # type: ignore[arg-type] # any iterable
    vectors: list[npt.NDArray[Any]] = []
    for number, row in enumerate(rows):
        vector = np.asarray(row)
        if vector.ndim != 1:
            raise ValueError(f"gradient {number} must have one dimension, got an array of shape {vector.shape}")
        if not len(vector):
            raise ValueError(f"gradient {number} has no values; at least one is needed")
        if vector.dtype.kind not in "fiu":
            raise ValueError(f"gradient {number} must hold real numbers, got an array of {vector.dtype}")
        if vectors and len(vector) != len(vectors[0]):
            raise ValueError(f"gradient {number} has {len(vector)} values where gradient 0 has {len(vectors[0])}")
        vectors.append(vector)
    if not vectors:
        raise ValueError("there are no gradients; at least one is needed")
    narrow = all(vector.dtype.kind == "f" and vector.dtype.itemsize == 4 for vector in vectors)
    return [np.ascontiguousarray(vector, dtype="<f4" if narrow else "<f8") for vector in vectors]


def _messages(header: pb.AggregateGradientsHeader, vectors: Sequence[npt.NDArray[Any]]) -> Iterator[bytes]:
    """The encoded messages of an upload: the header, then chunks, client by client."""
    yield pb.AggregateGradientsRequest(header=header).SerializeToString()
    for client, vector in enumerate(vectors):
        content = vector.view(np.uint8)
        for start in range(0, content.size, CHUNK_BYTES):
            chunk = pb.GradientChunk(client=client, data=content[start : start + CHUNK_BYTES].tobytes())
            yield pb.AggregateGradientsRequest(chunk=chunk).SerializeToString()


def _aggregate(raw: bytes) -> GradientAggregate:
    """The reply of AggregateGradients."""
    reply = parsed(pb.AggregateGradientsResponse, raw)
    kinds = {number: np.dtype(kind) for kind, number in _TYPES.items()}
    kind = kinds.get(reply.type)
    if kind is None:
        raise ValueError(f"a gradient of type {reply.type} cannot be read")
    if len(reply.gradient) != reply.coordinates * kind.itemsize:
        raise ValueError(f"a gradient of {reply.coordinates} {kind.name} numbers came in {len(reply.gradient)} bytes")
    gradient = np.frombuffer(reply.gradient, kind)
    if not kind.isnative:
        gradient = gradient.astype(kind.newbyteorder("="))
        gradient.flags.writeable = False
    return GradientAggregate(
        request_id=reply.request_id,
        gradient=gradient,
        accepted=tuple(reply.accepted),
        rejected=tuple(reply.rejected),
        sampled_out=reply.sampled_out,
    )
