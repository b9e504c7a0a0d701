# protoc leaves the type arguments of Mapping open.
# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ValidateRequest(_message.Message):
    __slots__ = ("seed", "epochs", "grid_size", "model", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SEED_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    GRID_SIZE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    epochs: int
    grid_size: int
    model: str
    parameters: _containers.ScalarMap[str, float]
    def __init__(self, seed: _Optional[int] = ..., epochs: _Optional[int] = ..., grid_size: _Optional[int] = ..., model: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class ValidateResponse(_message.Message):
    __slots__ = ("loss_start", "loss_final", "loss_drop", "pot_min_mV", "pot_max_mV", "lyapunov_exponent", "nernst_symbolic_mV")
    LOSS_START_FIELD_NUMBER: _ClassVar[int]
    LOSS_FINAL_FIELD_NUMBER: _ClassVar[int]
    LOSS_DROP_FIELD_NUMBER: _ClassVar[int]
    POT_MIN_MV_FIELD_NUMBER: _ClassVar[int]
    POT_MAX_MV_FIELD_NUMBER: _ClassVar[int]
    LYAPUNOV_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    NERNST_SYMBOLIC_MV_FIELD_NUMBER: _ClassVar[int]
    loss_start: float
    loss_final: float
    loss_drop: float
    pot_min_mV: float
    pot_max_mV: float
    lyapunov_exponent: float
    nernst_symbolic_mV: float
    def __init__(self, loss_start: _Optional[float] = ..., loss_final: _Optional[float] = ..., loss_drop: _Optional[float] = ..., pot_min_mV: _Optional[float] = ..., pot_max_mV: _Optional[float] = ..., lyapunov_exponent: _Optional[float] = ..., nernst_symbolic_mV: _Optional[float] = ...) -> None: ...

class SimulateRequest(_message.Message):
    __slots__ = ("seed", "grid_size", "steps", "turing_enabled", "alpha", "gamma", "model", "parameters")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    SEED_FIELD_NUMBER: _ClassVar[int]
    GRID_SIZE_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    TURING_ENABLED_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    GAMMA_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    seed: int
    grid_size: int
    steps: int
    turing_enabled: bool
    alpha: float
    gamma: float
    model: str
    parameters: _containers.ScalarMap[str, float]
    def __init__(self, seed: _Optional[int] = ..., grid_size: _Optional[int] = ..., steps: _Optional[int] = ..., turing_enabled: _Optional[bool] = ..., alpha: _Optional[float] = ..., gamma: _Optional[float] = ..., model: _Optional[str] = ..., parameters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class SimulateResponse(_message.Message):
    __slots__ = ("field_mean", "field_std", "growth_events", "fractal_dimension", "field_stats")
    FIELD_MEAN_FIELD_NUMBER: _ClassVar[int]
    FIELD_STD_FIELD_NUMBER: _ClassVar[int]
    GROWTH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    FRACTAL_DIMENSION_FIELD_NUMBER: _ClassVar[int]
    FIELD_STATS_FIELD_NUMBER: _ClassVar[int]
    field_mean: _containers.RepeatedScalarFieldContainer[float]
    field_std: _containers.RepeatedScalarFieldContainer[float]
    growth_events: int
    fractal_dimension: float
    field_stats: FieldStats
    def __init__(self, field_mean: _Optional[_Iterable[float]] = ..., field_std: _Optional[_Iterable[float]] = ..., growth_events: _Optional[int] = ..., fractal_dimension: _Optional[float] = ..., field_stats: _Optional[_Union[FieldStats, _Mapping]] = ...) -> None: ...

class SimulationUpdate(_message.Message):
    __slots__ = ("step", "total_steps", "pot_mean_mV", "pot_std_mV", "growth_events", "completed")
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    POT_MEAN_MV_FIELD_NUMBER: _ClassVar[int]
    POT_STD_MV_FIELD_NUMBER: _ClassVar[int]
    GROWTH_EVENTS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    step: int
    total_steps: int
    pot_mean_mV: float
    pot_std_mV: float
    growth_events: int
    completed: bool
    def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., pot_mean_mV: _Optional[float] = ..., pot_std_mV: _Optional[float] = ..., growth_events: _Optional[int] = ..., completed: _Optional[bool] = ...) -> None: ...

class FieldStats(_message.Message):
    __slots__ = ("mean", "std", "min", "max")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STD_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    mean: float
    std: float
    min: float
    max: float
    def __init__(self, mean: _Optional[float] = ..., std: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class NernstRequest(_message.Message):
    __slots__ = ("z_valence", "concentration_out_molar", "concentration_in_molar", "temperature_k")
    Z_VALENCE_FIELD_NUMBER: _ClassVar[int]
    CONCENTRATION_OUT_MOLAR_FIELD_NUMBER: _ClassVar[int]
    CONCENTRATION_IN_MOLAR_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_K_FIELD_NUMBER: _ClassVar[int]
    z_valence: int
    concentration_out_molar: float
    concentration_in_molar: float
    temperature_k: float
    def __init__(self, z_valence: _Optional[int] = ..., concentration_out_molar: _Optional[float] = ..., concentration_in_molar: _Optional[float] = ..., temperature_k: _Optional[float] = ...) -> None: ...

class NernstResponse(_message.Message):
    __slots__ = ("potential_mV",)
    POTENTIAL_MV_FIELD_NUMBER: _ClassVar[int]
    potential_mV: float
    def __init__(self, potential_mV: _Optional[float] = ...) -> None: ...

class FederatedAggregateRequest(_message.Message):
    __slots__ = ("gradients", "num_clusters", "byzantine_fraction")
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    NUM_CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    BYZANTINE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    gradients: _containers.RepeatedCompositeFieldContainer[Gradient]
    num_clusters: int
    byzantine_fraction: float
    def __init__(self, gradients: _Optional[_Iterable[_Union[Gradient, _Mapping]]] = ..., num_clusters: _Optional[int] = ..., byzantine_fraction: _Optional[float] = ...) -> None: ...

class Gradient(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class FederatedAggregateResponse(_message.Message):
    __slots__ = ("aggregated_gradient", "num_accepted", "num_rejected")
    AGGREGATED_GRADIENT_FIELD_NUMBER: _ClassVar[int]
    NUM_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    NUM_REJECTED_FIELD_NUMBER: _ClassVar[int]
    aggregated_gradient: _containers.RepeatedScalarFieldContainer[float]
    num_accepted: int
    num_rejected: int
    def __init__(self, aggregated_gradient: _Optional[_Iterable[float]] = ..., num_accepted: _Optional[int] = ..., num_rejected: _Optional[int] = ...) -> None: ...

class HealthCheckRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class HealthCheckResponse(_message.Message):
    __slots__ = ("status", "version", "uptime_seconds")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    status: str
    version: str
    uptime_seconds: int
    def __init__(self, status: _Optional[str] = ..., version: _Optional[str] = ..., uptime_seconds: _Optional[int] = ...) -> None: ...
