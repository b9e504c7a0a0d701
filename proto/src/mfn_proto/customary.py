"""What a request says where a person leaves a field out: the values that SDK, command line and REST fill in.

They are not what an unset field means on the wire; that is in `mfn_proto.defaults`.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

__all__ = ["CUSTOMARY", "EXAMPLES", "fill"]

_Values = Mapping[str, int | float | bool]

_SEEDED: dict[str, int | float | bool] = {"seed": 42, "grid_size": 64}
_OF_MYCELIUM: dict[str, int | float | bool] = {"alpha": 0.18, "spike_probability": 0.25, "turing_enabled": True}
_UNARY: _Values = MappingProxyType({**_SEEDED, "steps": 64, **_OF_MYCELIUM})
_STREAM: _Values = MappingProxyType({**_SEEDED, "total_steps": 100, "steps_per_frame": 10, **_OF_MYCELIUM})

CUSTOMARY: Mapping[str, _Values] = MappingProxyType(
    {
        "mfn.FeatureRequest": _UNARY,
        "mfn.SimulationRequest": _UNARY,
        "mfn.FeatureStreamRequest": _STREAM,
        "mfn.SimulationStreamRequest": _STREAM,
        "mfn.ValidationRequest": MappingProxyType(
            {
                **_SEEDED,
                "epochs": 1,
                "batch_size": 4,
                "steps": 64,
                "turing_enabled": True,
                "quantum_jitter": False,
            }
        ),
        "mycelium.NernstRequest": MappingProxyType({"z_valence": 1, "temperature_k": 310.0}),
    }
)
"""Full name of the message, then name of the field, to the value that is filled in. Messages that are not here are left
as they are."""

EXAMPLES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        **CUSTOMARY,
        "mycelium.ValidateRequest": MappingProxyType({"seed": 42, "epochs": 1, "grid_size": 32}),
        "mycelium.SimulateRequest": MappingProxyType({"seed": 42, "grid_size": 64, "steps": 100, "alpha": 0.18}),
        "mycelium.NernstRequest": MappingProxyType(
            {"z_valence": 1, "concentration_out_molar": 0.005, "concentration_in_molar": 0.14, "temperature_k": 310.0}
        ),
        "mycelium.FederatedAggregateRequest": MappingProxyType(
            {
                "gradients": [{"values": [0.9, 2.0]}, {"values": [1.0, 2.1]}, {"values": [1.1, 1.9]}],
                "num_clusters": 2,
                "byzantine_fraction": 0.2,
            }
        ),
        "mfn.v1.SimulateRequest": MappingProxyType(
            {
                "simulation": {"model": "mycelium", "grid_size": 64, "seed": 42},
                "steps": 64,
                "frames": {"every_n_steps": 8},
            }
        ),
        "mfn.v1.DescribeModelRequest": MappingProxyType({"name": "mycelium"}),
    }
)
"""Full name of the message to a request of it, as JSON, that a server takes."""

_MODEL_OF_PARAMETERS = "mycelium"


def fill(message: str, content: MutableMapping[str, Any]) -> None:
    """Fill in what is left out of a request, as JSON of the message of that full name; names may have either form.

    alpha, spike_probability and turing_enabled are parameters of the model "mycelium": they are left out where another
    one is named, and where `parameters` says them. Safe to do twice.
    """
    values = CUSTOMARY.get(message)
    if values is None:
        return
    of_model = content.get("model") in (None, "", _MODEL_OF_PARAMETERS)
    named = content.get("parameters")
    for name, value in values.items():
        if content.get(name) is not None or content.get(_camel(name)) is not None:
            continue
        if name in _OF_MYCELIUM and (not of_model or (isinstance(named, Mapping) and name in named)):
            continue
        content.pop(_camel(name), None)
        content[name] = value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
