"""What is filled in where a person leaves a field out."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_proto.customary import CUSTOMARY, EXAMPLES, fill
from mfn_proto.v1 import field_pb2, model_pb2
from mfn_proto.validation import violations

_FILES: tuple[Any, ...] = tuple(module.DESCRIPTOR for module in (mfn_pb2, mycelium_pb2, field_pb2, model_pb2))


def _message(name: str, content: dict[str, Any]) -> Any:
    package, _, short = name.rpartition(".")
    (found,) = [
        file.message_types_by_name[short]
        for file in _FILES
        if file.package == package and short in file.message_types_by_name
    ]
    return ParseDict(content, GetMessageClass(found)())


@pytest.mark.parametrize("name", CUSTOMARY)
def test_what_is_filled_in_is_within_the_bounds_of_fields_that_exist(name: str) -> None:
    content = dict(EXAMPLES[name])
    fill(name, content)
    assert violations(_message(name, content)) == ()


def test_an_empty_simulation_is_the_one_that_everybody_knows() -> None:
    content: dict[str, Any] = {}
    fill("mfn.SimulationRequest", content)
    assert content == {
        "seed": 42,
        "grid_size": 64,
        "steps": 64,
        "alpha": 0.18,
        "spike_probability": 0.25,
        "turing_enabled": True,
    }


def test_what_is_said_stays() -> None:
    content: dict[str, Any] = {"seed": 0, "gridSize": 8, "turing_enabled": False, "steps": None}
    fill("mfn.SimulationRequest", content)
    found = _message("mfn.SimulationRequest", content)
    assert (found.seed, found.grid_size, found.turing_enabled, found.steps) == (0, 8, False, 64)
    again = dict(content)
    fill("mfn.SimulationRequest", again)
    assert again == content


@pytest.mark.parametrize(
    "content", [{"model": "gray_scott"}, {"parameters": {"alpha": 0.1, "spike_probability": 0.0, "turing_enabled": 0}}]
)
def test_parameters_of_the_model_are_left_to_other_models_and_to_who_names_them(content: dict[str, Any]) -> None:
    fill("mfn.FeatureRequest", content)
    assert not {"alpha", "spike_probability", "turing_enabled"} & content.keys()
    assert content["seed"] == 42


@pytest.mark.parametrize("name", ["mfn.v1.SimulateRequest", "mycelium.SimulateRequest", "of.a.Stranger"])
def test_other_messages_are_left_as_they_are(name: str) -> None:
    content: dict[str, Any] = {}
    fill(name, content)
    assert content == {}
