# protoc leaves the type arguments of Mapping open.
# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FieldEncoding(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIELD_ENCODING_UNSPECIFIED: _ClassVar[FieldEncoding]
    FIELD_ENCODING_NONE: _ClassVar[FieldEncoding]
    FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: _ClassVar[FieldEncoding]
    FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: _ClassVar[FieldEncoding]

class SessionEndReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SESSION_END_REASON_UNSPECIFIED: _ClassVar[SessionEndReason]
    SESSION_END_REASON_COMPLETED: _ClassVar[SessionEndReason]
    SESSION_END_REASON_STOPPED: _ClassVar[SessionEndReason]
    SESSION_END_REASON_SUPERSEDED: _ClassVar[SessionEndReason]
    SESSION_END_REASON_LIMIT: _ClassVar[SessionEndReason]
    SESSION_END_REASON_DRAINING: _ClassVar[SessionEndReason]
FIELD_ENCODING_UNSPECIFIED: FieldEncoding
FIELD_ENCODING_NONE: FieldEncoding
FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN: FieldEncoding
FIELD_ENCODING_FLOAT32_LITTLE_ENDIAN: FieldEncoding
SESSION_END_REASON_UNSPECIFIED: SessionEndReason
SESSION_END_REASON_COMPLETED: SessionEndReason
SESSION_END_REASON_STOPPED: SessionEndReason
SESSION_END_REASON_SUPERSEDED: SessionEndReason
SESSION_END_REASON_LIMIT: SessionEndReason
SESSION_END_REASON_DRAINING: SessionEndReason

class SimulationSpec(_message.Message):
    __slots__ = ("model", "grid_size", "seed", "boundary", "mycelium", "parameter_values")
    class ParameterValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    GRID_SIZE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    BOUNDARY_FIELD_NUMBER: _ClassVar[int]
    MYCELIUM_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_VALUES_FIELD_NUMBER: _ClassVar[int]
    model: str
    grid_size: int
    seed: int
    boundary: str
    mycelium: MyceliumParameters
    parameter_values: _containers.ScalarMap[str, float]
    def __init__(self, model: _Optional[str] = ..., grid_size: _Optional[int] = ..., seed: _Optional[int] = ..., boundary: _Optional[str] = ..., mycelium: _Optional[_Union[MyceliumParameters, _Mapping]] = ..., parameter_values: _Optional[_Mapping[str, float]] = ...) -> None: ...

class MyceliumParameters(_message.Message):
    __slots__ = ("alpha", "spike_probability", "turing_enabled", "jitter")
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    SPIKE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TURING_ENABLED_FIELD_NUMBER: _ClassVar[int]
    JITTER_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    spike_probability: float
    turing_enabled: bool
    jitter: bool
    def __init__(self, alpha: _Optional[float] = ..., spike_probability: _Optional[float] = ..., turing_enabled: _Optional[bool] = ..., jitter: _Optional[bool] = ...) -> None: ...

class FrameOptions(_message.Message):
    __slots__ = ("every_n_steps", "max_frames_per_second", "field_encoding", "species", "threshold")
    EVERY_N_STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    FIELD_ENCODING_FIELD_NUMBER: _ClassVar[int]
    SPECIES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    every_n_steps: int
    max_frames_per_second: float
    field_encoding: FieldEncoding
    species: _containers.RepeatedScalarFieldContainer[str]
    threshold: float
    def __init__(self, every_n_steps: _Optional[int] = ..., max_frames_per_second: _Optional[float] = ..., field_encoding: _Optional[_Union[FieldEncoding, str]] = ..., species: _Optional[_Iterable[str]] = ..., threshold: _Optional[float] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("request_id", "step", "is_final", "statistics", "growth_events", "dimension", "fractal_dimension", "field", "species")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    GROWTH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FRACTAL_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    SPECIES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    step: int
    is_final: bool
    statistics: FieldStatistics
    growth_events: int
    dimension: FractalDimension
    fractal_dimension: float
    field: Field
    species: _containers.RepeatedCompositeFieldContainer[SpeciesFrame]
    def __init__(self, request_id: _Optional[str] = ..., step: _Optional[int] = ..., is_final: _Optional[bool] = ..., statistics: _Optional[_Union[FieldStatistics, _Mapping]] = ..., growth_events: _Optional[int] = ..., dimension: _Optional[_Union[FractalDimension, _Mapping]] = ..., fractal_dimension: _Optional[float] = ..., field: _Optional[_Union[Field, _Mapping]] = ..., species: _Optional[_Iterable[_Union[SpeciesFrame, _Mapping]]] = ...) -> None: ...

class SpeciesFrame(_message.Message):
    __slots__ = ("name", "unit", "min", "max", "mean", "std", "field")
    NAME_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    unit: str
    min: float
    max: float
    mean: float
    std: float
    field: Field
    def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., mean: _Optional[float] = ..., std: _Optional[float] = ..., field: _Optional[_Union[Field, _Mapping]] = ...) -> None: ...

class FieldStatistics(_message.Message):
    __slots__ = ("min_volts", "max_volts", "mean_volts", "std_volts")
    MIN_VOLTS_FIELD_NUMBER: _ClassVar[int]
    MAX_VOLTS_FIELD_NUMBER: _ClassVar[int]
    MEAN_VOLTS_FIELD_NUMBER: _ClassVar[int]
    STD_VOLTS_FIELD_NUMBER: _ClassVar[int]
    min_volts: float
    max_volts: float
    mean_volts: float
    std_volts: float
    def __init__(self, min_volts: _Optional[float] = ..., max_volts: _Optional[float] = ..., mean_volts: _Optional[float] = ..., std_volts: _Optional[float] = ...) -> None: ...

class FractalDimension(_message.Message):
    __slots__ = ("value", "reason", "r_squared", "scales")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    R_SQUARED_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    value: float
    reason: str
    r_squared: float
    scales: _containers.RepeatedCompositeFieldContainer[BoxCount]
    def __init__(self, value: _Optional[float] = ..., reason: _Optional[str] = ..., r_squared: _Optional[float] = ..., scales: _Optional[_Iterable[_Union[BoxCount, _Mapping]]] = ...) -> None: ...

class BoxCount(_message.Message):
    __slots__ = ("box_size", "occupied_boxes")
    BOX_SIZE_FIELD_NUMBER: _ClassVar[int]
    OCCUPIED_BOXES_FIELD_NUMBER: _ClassVar[int]
    box_size: float
    occupied_boxes: int
    def __init__(self, box_size: _Optional[float] = ..., occupied_boxes: _Optional[int] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("data", "encoding", "shape", "unit")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    encoding: FieldEncoding
    shape: _containers.RepeatedScalarFieldContainer[int]
    unit: str
    def __init__(self, data: _Optional[bytes] = ..., encoding: _Optional[_Union[FieldEncoding, str]] = ..., shape: _Optional[_Iterable[int]] = ..., unit: _Optional[str] = ...) -> None: ...

class SimulateRequest(_message.Message):
    __slots__ = ("request_id", "simulation", "steps", "frames")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SIMULATION_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    simulation: SimulationSpec
    steps: int
    frames: FrameOptions
    def __init__(self, request_id: _Optional[str] = ..., simulation: _Optional[_Union[SimulationSpec, _Mapping]] = ..., steps: _Optional[int] = ..., frames: _Optional[_Union[FrameOptions, _Mapping]] = ...) -> None: ...

class SimulateResponse(_message.Message):
    __slots__ = ("frame",)
    FRAME_FIELD_NUMBER: _ClassVar[int]
    frame: Frame
    def __init__(self, frame: _Optional[_Union[Frame, _Mapping]] = ...) -> None: ...

class AnalyzeFieldRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: AnalyzeFieldHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[AnalyzeFieldHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class AnalyzeFieldHeader(_message.Message):
    __slots__ = ("request_id", "shape", "encoding", "unit", "threshold_volts", "threshold", "features")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ENCODING_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_VOLTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    encoding: FieldEncoding
    unit: str
    threshold_volts: float
    threshold: Threshold
    features: FeatureOptions
    def __init__(self, request_id: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., encoding: _Optional[_Union[FieldEncoding, str]] = ..., unit: _Optional[str] = ..., threshold_volts: _Optional[float] = ..., threshold: _Optional[_Union[Threshold, _Mapping]] = ..., features: _Optional[_Union[FeatureOptions, _Mapping]] = ...) -> None: ...

class Threshold(_message.Message):
    __slots__ = ("value", "percentile", "otsu", "adaptive", "invert")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PERCENTILE_FIELD_NUMBER: _ClassVar[int]
    OTSU_FIELD_NUMBER: _ClassVar[int]
    ADAPTIVE_FIELD_NUMBER: _ClassVar[int]
    INVERT_FIELD_NUMBER: _ClassVar[int]
    value: float
    percentile: float
    otsu: bool
    adaptive: AdaptiveThreshold
    invert: bool
    def __init__(self, value: _Optional[float] = ..., percentile: _Optional[float] = ..., otsu: _Optional[bool] = ..., adaptive: _Optional[_Union[AdaptiveThreshold, _Mapping]] = ..., invert: _Optional[bool] = ...) -> None: ...

class AdaptiveThreshold(_message.Message):
    __slots__ = ("block", "offset")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    block: int
    offset: float
    def __init__(self, block: _Optional[int] = ..., offset: _Optional[float] = ...) -> None: ...

class FeatureOptions(_message.Message):
    __slots__ = ("connectivity", "periodic")
    CONNECTIVITY_FIELD_NUMBER: _ClassVar[int]
    PERIODIC_FIELD_NUMBER: _ClassVar[int]
    connectivity: int
    periodic: bool
    def __init__(self, connectivity: _Optional[int] = ..., periodic: _Optional[bool] = ...) -> None: ...

class AnalyzeFieldResponse(_message.Message):
    __slots__ = ("request_id", "statistics", "dimension", "fractal_dimension", "active_fraction", "threshold_volts", "values", "threshold", "features", "dimensions", "warnings")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FRACTAL_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_VOLTS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    statistics: FieldStatistics
    dimension: FractalDimension
    fractal_dimension: float
    active_fraction: float
    threshold_volts: float
    values: SpeciesFrame
    threshold: ThresholdUsed
    features: _containers.RepeatedCompositeFieldContainer[Feature]
    dimensions: _containers.RepeatedCompositeFieldContainer[DimensionEstimate]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., statistics: _Optional[_Union[FieldStatistics, _Mapping]] = ..., dimension: _Optional[_Union[FractalDimension, _Mapping]] = ..., fractal_dimension: _Optional[float] = ..., active_fraction: _Optional[float] = ..., threshold_volts: _Optional[float] = ..., values: _Optional[_Union[SpeciesFrame, _Mapping]] = ..., threshold: _Optional[_Union[ThresholdUsed, _Mapping]] = ..., features: _Optional[_Iterable[_Union[Feature, _Mapping]]] = ..., dimensions: _Optional[_Iterable[_Union[DimensionEstimate, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class ThresholdUsed(_message.Message):
    __slots__ = ("method", "value", "unit")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    method: str
    value: float
    unit: str
    def __init__(self, method: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ...) -> None: ...

class Feature(_message.Message):
    __slots__ = ("name", "value", "unit", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    unit: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., unit: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DimensionEstimate(_message.Message):
    __slots__ = ("name", "value", "reason", "r_squared", "standard_error", "interval_low", "interval_high", "points")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    R_SQUARED_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERROR_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_LOW_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_HIGH_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    reason: str
    r_squared: float
    standard_error: float
    interval_low: float
    interval_high: float
    points: _containers.RepeatedCompositeFieldContainer[DimensionPoint]
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., reason: _Optional[str] = ..., r_squared: _Optional[float] = ..., standard_error: _Optional[float] = ..., interval_low: _Optional[float] = ..., interval_high: _Optional[float] = ..., points: _Optional[_Iterable[_Union[DimensionPoint, _Mapping]]] = ...) -> None: ...

class DimensionPoint(_message.Message):
    __slots__ = ("scale", "entropy")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    ENTROPY_FIELD_NUMBER: _ClassVar[int]
    scale: float
    entropy: float
    def __init__(self, scale: _Optional[float] = ..., entropy: _Optional[float] = ...) -> None: ...

class SteerSimulationRequest(_message.Message):
    __slots__ = ("sequence", "start", "resume_session", "pause", "resume", "change", "inject", "stop")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    RESUME_SESSION_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    INJECT_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    start: StartCommand
    resume_session: ResumeSessionCommand
    pause: PauseCommand
    resume: ResumeCommand
    change: ChangeCommand
    inject: InjectCommand
    stop: StopCommand
    def __init__(self, sequence: _Optional[int] = ..., start: _Optional[_Union[StartCommand, _Mapping]] = ..., resume_session: _Optional[_Union[ResumeSessionCommand, _Mapping]] = ..., pause: _Optional[_Union[PauseCommand, _Mapping]] = ..., resume: _Optional[_Union[ResumeCommand, _Mapping]] = ..., change: _Optional[_Union[ChangeCommand, _Mapping]] = ..., inject: _Optional[_Union[InjectCommand, _Mapping]] = ..., stop: _Optional[_Union[StopCommand, _Mapping]] = ...) -> None: ...

class StartCommand(_message.Message):
    __slots__ = ("request_id", "simulation", "total_steps", "unlimited", "frames")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SIMULATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    UNLIMITED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    simulation: SimulationSpec
    total_steps: int
    unlimited: bool
    frames: FrameOptions
    def __init__(self, request_id: _Optional[str] = ..., simulation: _Optional[_Union[SimulationSpec, _Mapping]] = ..., total_steps: _Optional[int] = ..., unlimited: _Optional[bool] = ..., frames: _Optional[_Union[FrameOptions, _Mapping]] = ...) -> None: ...

class ResumeSessionCommand(_message.Message):
    __slots__ = ("session_id", "last_step")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_STEP_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    last_step: int
    def __init__(self, session_id: _Optional[str] = ..., last_step: _Optional[int] = ...) -> None: ...

class PauseCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResumeCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ChangeCommand(_message.Message):
    __slots__ = ("alpha", "spike_probability", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    SPIKE_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    spike_probability: float
    parameters: _containers.ScalarMap[str, float]
    def __init__(self, alpha: _Optional[float] = ..., spike_probability: _Optional[float] = ..., parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class InjectCommand(_message.Message):
    __slots__ = ("row", "column", "amplitude_volts", "amplitude")
    ROW_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    AMPLITUDE_VOLTS_FIELD_NUMBER: _ClassVar[int]
    AMPLITUDE_FIELD_NUMBER: _ClassVar[int]
    row: int
    column: int
    amplitude_volts: float
    amplitude: float
    def __init__(self, row: _Optional[int] = ..., column: _Optional[int] = ..., amplitude_volts: _Optional[float] = ..., amplitude: _Optional[float] = ...) -> None: ...

class StopCommand(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SteerSimulationResponse(_message.Message):
    __slots__ = ("started", "resumed", "frame", "acknowledged", "ended")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    started: Session
    resumed: Session
    frame: Frame
    acknowledged: CommandAcknowledgement
    ended: SessionEnded
    def __init__(self, started: _Optional[_Union[Session, _Mapping]] = ..., resumed: _Optional[_Union[Session, _Mapping]] = ..., frame: _Optional[_Union[Frame, _Mapping]] = ..., acknowledged: _Optional[_Union[CommandAcknowledgement, _Mapping]] = ..., ended: _Optional[_Union[SessionEnded, _Mapping]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("session_id", "resume_within_seconds", "step", "sequence", "paused")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_WITHIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    resume_within_seconds: int
    step: int
    sequence: int
    paused: bool
    def __init__(self, session_id: _Optional[str] = ..., resume_within_seconds: _Optional[int] = ..., step: _Optional[int] = ..., sequence: _Optional[int] = ..., paused: _Optional[bool] = ...) -> None: ...

class CommandAcknowledgement(_message.Message):
    __slots__ = ("sequence", "step", "duplicate")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    step: int
    duplicate: bool
    def __init__(self, sequence: _Optional[int] = ..., step: _Optional[int] = ..., duplicate: _Optional[bool] = ...) -> None: ...

class SessionEnded(_message.Message):
    __slots__ = ("reason", "step")
    REASON_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    reason: SessionEndReason
    step: int
    def __init__(self, reason: _Optional[_Union[SessionEndReason, str]] = ..., step: _Optional[int] = ...) -> None: ...
