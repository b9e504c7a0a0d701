# protoc leaves the type arguments of Mapping open.
# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ParameterKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PARAMETER_KIND_UNSPECIFIED: _ClassVar[ParameterKind]
    PARAMETER_KIND_NUMBER: _ClassVar[ParameterKind]
    PARAMETER_KIND_SWITCH: _ClassVar[ParameterKind]
PARAMETER_KIND_UNSPECIFIED: ParameterKind
PARAMETER_KIND_NUMBER: ParameterKind
PARAMETER_KIND_SWITCH: ParameterKind

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class DescribeModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DescribeModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "summary", "species", "parameters", "boundaries", "equations", "sequential", "source", "instability", "computed", "potential")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    SPECIES_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    BOUNDARIES_FIELD_NUMBER: _ClassVar[int]
    EQUATIONS_FIELD_NUMBER: _ClassVar[int]
    SEQUENTIAL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    INSTABILITY_FIELD_NUMBER: _ClassVar[int]
    COMPUTED_FIELD_NUMBER: _ClassVar[int]
    POTENTIAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    summary: str
    species: _containers.RepeatedCompositeFieldContainer[Species]
    parameters: _containers.RepeatedCompositeFieldContainer[Parameter]
    boundaries: _containers.RepeatedScalarFieldContainer[str]
    equations: _containers.RepeatedScalarFieldContainer[str]
    sequential: bool
    source: str
    instability: str
    computed: bool
    potential: bool
    def __init__(self, name: _Optional[str] = ..., summary: _Optional[str] = ..., species: _Optional[_Iterable[_Union[Species, _Mapping]]] = ..., parameters: _Optional[_Iterable[_Union[Parameter, _Mapping]]] = ..., boundaries: _Optional[_Iterable[str]] = ..., equations: _Optional[_Iterable[str]] = ..., sequential: _Optional[bool] = ..., source: _Optional[str] = ..., instability: _Optional[str] = ..., computed: _Optional[bool] = ..., potential: _Optional[bool] = ...) -> None: ...

class Species(_message.Message):
    __slots__ = ("name", "unit", "description", "symbol", "when", "minimum", "maximum", "initial", "outside")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    INITIAL_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    description: str
    symbol: str
    when: str
    minimum: float
    maximum: float
    initial: str
    outside: str
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., description: _Optional[str] = ..., symbol: _Optional[str] = ..., when: _Optional[str] = ..., minimum: _Optional[float] = ..., maximum: _Optional[float] = ..., initial: _Optional[str] = ..., outside: _Optional[str] = ...) -> None: ...

class Parameter(_message.Message):
    __slots__ = ("name", "kind", "default_value", "unit", "description", "minimum", "minimum_exclusive", "maximum", "maximum_exclusive")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    MINIMUM_EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_EXCLUSIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: ParameterKind
    default_value: float
    unit: str
    description: str
    minimum: float
    minimum_exclusive: bool
    maximum: float
    maximum_exclusive: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[ParameterKind, str]] = ..., default_value: _Optional[float] = ..., unit: _Optional[str] = ..., description: _Optional[str] = ..., minimum: _Optional[float] = ..., minimum_exclusive: _Optional[bool] = ..., maximum: _Optional[float] = ..., maximum_exclusive: _Optional[bool] = ...) -> None: ...
