"""The plugin as the kernel sees it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

from mfn_core import ComponentKind, ConfigError
from mfn_core.assembly import plan
from mfn_core.config import Document
from mfn_core.testing.plugin import PluginSuite
from mfn_proto import mfn_pb2, mycelium_pb2, validation
from mfn_proto.v1 import aggregation_pb2, field_pb2, model_pb2
from mfn_service._settings import ServiceSettings


class TestPlugin(PluginSuite):
    plugin = "service_mfn"


def problems(
    tmp_path: Path, plugins: list[str], *, server: dict[str, Any] | None = None, **tables: Any
) -> dict[str, str]:
    """Every problem of a configuration with these plugins, by its path."""
    settings = {"plugins": plugins, "allow": ["anonymous"], **(server or {})}
    document = Document(tables={"server": settings, **tables}, base_dir=tmp_path, source="a test")
    with pytest.raises(ConfigError) as caught:
        plan(document)
    return {f"{each.path}: {each.message}": each.remedy for each in caught.value.problems}


def test_a_server_without_an_engine_is_refused_with_the_remedy(tmp_path: Path) -> None:
    found = problems(tmp_path, ["service_mfn"])
    text = "server.plugins: no plugin provides a compute engine, and the services of service_mfn compute"
    assert "engine_numpy" in found[text]
    assert text not in problems(tmp_path, ["service_mfn", "engine_numpy"])


def test_memory_that_is_too_small_for_one_grid_is_refused(tmp_path: Path) -> None:
    plugins = ["service_mfn", "engine_numpy"]
    small = {"mfn": {"session_cells": 9999, "upload_bytes": 79_999}}
    found = problems(tmp_path, plugins, server={"max_grid": 100}, services=small)
    assert {path.partition(":")[0] for path in found} >= {"services.mfn.session_cells", "services.mfn.upload_bytes"}
    assert "at least 10000" in " ".join(found.values())
    assert "at least 80000" in " ".join(found.values())
    enough = {"mfn": {"session_cells": 10_000, "upload_bytes": 80_000}}
    fine = problems(tmp_path, plugins, server={"max_grid": 100}, services=enough)
    assert not [path for path in fine if path.startswith("services.")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sessions", 0),
        ("sessions_per_principal", 0),
        ("session_steps", -1),
        ("session_seconds", float("nan")),
        ("resume_within_seconds", -1),
        ("resume_within_seconds", 86_401),
        ("pending_commands", 0),
        ("upload_seconds", float("inf")),
        ("aggregate_reply_bytes", 1023),
        ("unknown", 1),
    ],
)
def test_a_setting_out_of_bounds_is_refused_by_its_path(tmp_path: Path, name: str, value: object) -> None:
    found = problems(tmp_path, ["service_mfn", "engine_numpy"], services={"mfn": {name: value}})
    assert any(path.startswith(f"services.mfn.{name}:") for path in found), found


async def test_starting_compiles_the_rules_of_every_request(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[type] = []

    def watch(message: Any) -> tuple[()]:
        checked.append(type(message))
        return ()

    monkeypatch.setattr(validation, "violations", watch)
    await served.provider.start()
    assert set(checked) == {
        mfn_pb2.FeatureRequest,
        mfn_pb2.FeatureStreamRequest,
        mfn_pb2.SimulationRequest,
        mfn_pb2.SimulationStreamRequest,
        field_pb2.SimulateRequest,
        field_pb2.AnalyzeFieldRequest,
        field_pb2.SteerSimulationRequest,
        mfn_pb2.ValidationRequest,
        mycelium_pb2.ValidateRequest,
        mycelium_pb2.SimulateRequest,
        mycelium_pb2.NernstRequest,
        mycelium_pb2.FederatedAggregateRequest,
        mycelium_pb2.HealthCheckRequest,
        model_pb2.ListModelsRequest,
        model_pb2.DescribeModelRequest,
        aggregation_pb2.AggregateGradientsRequest,
    }


def test_every_operation_but_the_health_check_needs_the_role_read_and_no_more(served: Any) -> None:
    operations = served.dispatcher.operations
    assert {operation.role for operation in operations.values()} == {"read"}
    assert [path for path, operation in operations.items() if operation.public] == [
        "/mycelium.MyceliumService/HealthCheck"
    ]


def test_every_method_of_the_definitions_is_an_operation_of_its_types(served: Any) -> None:
    methods = {
        f"/{service.full_name}/{method.name}": method
        for module in (mfn_pb2, mycelium_pb2, field_pb2, model_pb2, aggregation_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    operations = served.dispatcher.operations
    assert operations.keys() == methods.keys()
    for path, method in methods.items():
        operation = operations[path]
        assert operation.request_type.DESCRIPTOR is method.input_type
        assert operation.response_type.DESCRIPTOR is method.output_type
        assert operation.shape.client_streams == method.client_streaming
        assert operation.shape.server_streams == method.server_streaming


def test_the_component_is_a_service(served: Any) -> None:
    from mfn_service.plugin import mfn_services

    (component,) = mfn_services()
    assert component.name == "mfn"
    assert ComponentKind.SERVICE.section == "services"
    assert served.provider.services


def test_the_readme_states_every_setting_with_its_default() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml\n(.*?)```", readme, flags=re.DOTALL)
    stated = tomllib.loads(block)["services"]["mfn"]
    assert stated == asdict(ServiceSettings())
