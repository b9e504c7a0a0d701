"""What a numeric request field means while it is unset.

The fields carry presence (`optional`), so that protobuf itself reports an unset one as zero. Services ask
`effective` instead of reading such a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from google.protobuf.message import Message

__all__ = ["UNSET", "effective"]

_MYCELIUM: dict[str, int | float] = {"seed": 0, "grid_size": 64, "alpha": 0.18, "spike_probability": 0.0}
_UNARY = MappingProxyType({**_MYCELIUM, "steps": 0})
_STREAM = MappingProxyType({**_MYCELIUM, "total_steps": 100, "steps_per_frame": 10, "max_frames_per_second": 0.0})

UNSET: Mapping[str, Mapping[str, int | float]] = MappingProxyType(
    {
        "mfn.FeatureRequest": _UNARY,
        "mfn.SimulationRequest": _UNARY,
        "mfn.FeatureStreamRequest": _STREAM,
        "mfn.SimulationStreamRequest": _STREAM,
        "mfn.ValidationRequest": MappingProxyType(
            {"seed": 0, "epochs": 1, "batch_size": 4, "grid_size": 64, "steps": 0}
        ),
        "mycelium.ValidateRequest": MappingProxyType({"seed": 0, "epochs": 1, "grid_size": 32}),
        "mycelium.SimulateRequest": MappingProxyType(
            {"seed": 0, "grid_size": 64, "steps": 100, "alpha": 0.18, "gamma": 0.0}
        ),
        "mycelium.NernstRequest": MappingProxyType({"temperature_k": 310.0}),
        "mycelium.FederatedAggregateRequest": MappingProxyType({"num_clusters": 10, "byzantine_fraction": 0.2}),
        "mfn.v1.SimulationSpec": MappingProxyType({"grid_size": 64, "seed": 0}),
        "mfn.v1.MyceliumParameters": MappingProxyType({"alpha": 0.18, "spike_probability": 0.0}),
        "mfn.v1.FrameOptions": MappingProxyType({"every_n_steps": 10, "max_frames_per_second": 0.0}),
        "mfn.v1.SimulateRequest": MappingProxyType({"steps": 0}),
        "mfn.v1.AnalyzeFieldHeader": MappingProxyType({"threshold_volts": -0.060}),
        "mfn.v1.FeatureOptions": MappingProxyType({"connectivity": 4}),
        "mfn.v1.StartCommand": MappingProxyType({"total_steps": 100}),
        "mfn.v1.InjectCommand": MappingProxyType({"amplitude_volts": 0.020}),
        "mfn.v1.AggregateGradientsHeader": MappingProxyType(
            {
                "num_clusters": 10,
                "byzantine_fraction": 0.2,
                "sample_fraction": 0.1,
                "seed": 42,
                "tolerance": 1e-6,
            }
        ),
    }
)
"""Full name of the message, then name of the field, to the value for unset, in the .proto's unit."""

_ZERO_IS_UNSET = frozenset({"steps_per_frame"})


def effective(message: Message, field: str) -> int | float:
    """The value that a request means: what was sent, or what stands for unset.

    It checks no bounds (`mfn_proto.validation` does), and does not change the message.

    Args:
        message: a message of this distribution.
        field: name of one of its fields that stand in `UNSET`.

    Returns:
        an int or a float, as the field's type is. `steps_per_frame` sent as 0 counts as unset.
        `mfn.v1.StartCommand.total_steps` is 100 where the oneof `length` is empty or says `unlimited`: look
        at `WhichOneof("length")` first.

    Raises:
        KeyError: the message or the field has no such value.
    """
    default = UNSET[message.DESCRIPTOR.full_name][field]
    if not message.HasField(field):
        return default
    value: int | float = getattr(message, field)
    return default if value == 0 and field in _ZERO_IS_UNSET else value
