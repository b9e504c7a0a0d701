# protoc leaves the type arguments of Mapping open.
# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AggregationMethod(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_METHOD_UNSPECIFIED: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_HIERARCHICAL_KRUM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_BALANCED_HIERARCHICAL_KRUM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_KRUM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_MULTI_KRUM: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_BULYAN: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_TRIMMED_MEAN: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_COORDINATE_MEDIAN: _ClassVar[AggregationMethod]
    AGGREGATION_METHOD_GEOMETRIC_MEDIAN: _ClassVar[AggregationMethod]

class GradientType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GRADIENT_TYPE_UNSPECIFIED: _ClassVar[GradientType]
    GRADIENT_TYPE_FLOAT64: _ClassVar[GradientType]
    GRADIENT_TYPE_FLOAT32: _ClassVar[GradientType]
AGGREGATION_METHOD_UNSPECIFIED: AggregationMethod
AGGREGATION_METHOD_HIERARCHICAL_KRUM: AggregationMethod
AGGREGATION_METHOD_BALANCED_HIERARCHICAL_KRUM: AggregationMethod
AGGREGATION_METHOD_KRUM: AggregationMethod
AGGREGATION_METHOD_MULTI_KRUM: AggregationMethod
AGGREGATION_METHOD_BULYAN: AggregationMethod
AGGREGATION_METHOD_TRIMMED_MEAN: AggregationMethod
AGGREGATION_METHOD_COORDINATE_MEDIAN: AggregationMethod
AGGREGATION_METHOD_GEOMETRIC_MEDIAN: AggregationMethod
GRADIENT_TYPE_UNSPECIFIED: GradientType
GRADIENT_TYPE_FLOAT64: GradientType
GRADIENT_TYPE_FLOAT32: GradientType

class AggregateGradientsRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: AggregateGradientsHeader
    chunk: GradientChunk
    def __init__(self, header: _Optional[_Union[AggregateGradientsHeader, _Mapping]] = ..., chunk: _Optional[_Union[GradientChunk, _Mapping]] = ...) -> None: ...

class AggregateGradientsHeader(_message.Message):
    __slots__ = ("request_id", "clients", "coordinates", "type", "method", "byzantine", "keep", "num_clusters", "byzantine_fraction", "sample_fraction", "seed", "tolerance")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BYZANTINE_FIELD_NUMBER: _ClassVar[int]
    KEEP_FIELD_NUMBER: _ClassVar[int]
    NUM_CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    BYZANTINE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    clients: int
    coordinates: int
    type: GradientType
    method: AggregationMethod
    byzantine: int
    keep: int
    num_clusters: int
    byzantine_fraction: float
    sample_fraction: float
    seed: int
    tolerance: float
    def __init__(self, request_id: _Optional[str] = ..., clients: _Optional[int] = ..., coordinates: _Optional[int] = ..., type: _Optional[_Union[GradientType, str]] = ..., method: _Optional[_Union[AggregationMethod, str]] = ..., byzantine: _Optional[int] = ..., keep: _Optional[int] = ..., num_clusters: _Optional[int] = ..., byzantine_fraction: _Optional[float] = ..., sample_fraction: _Optional[float] = ..., seed: _Optional[int] = ..., tolerance: _Optional[float] = ...) -> None: ...

class GradientChunk(_message.Message):
    __slots__ = ("client", "data")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    client: int
    data: bytes
    def __init__(self, client: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class AggregateGradientsResponse(_message.Message):
    __slots__ = ("request_id", "gradient", "type", "coordinates", "accepted", "rejected", "sampled_out")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    COORDINATES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_OUT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    gradient: bytes
    type: GradientType
    coordinates: int
    accepted: _containers.RepeatedScalarFieldContainer[int]
    rejected: _containers.RepeatedScalarFieldContainer[int]
    sampled_out: int
    def __init__(self, request_id: _Optional[str] = ..., gradient: _Optional[bytes] = ..., type: _Optional[_Union[GradientType, str]] = ..., coordinates: _Optional[int] = ..., accepted: _Optional[_Iterable[int]] = ..., rejected: _Optional[_Iterable[int]] = ..., sampled_out: _Optional[int] = ...) -> None: ...
