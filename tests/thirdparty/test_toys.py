"""Plugins of strangers: small, on public names alone, installed from wheels, proved by the suites, chosen by a file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mfn_core.testing.process import ServerProcess, toml_text
from mfn_environments import FOLDERS, ROOT, run
from mfn_model import field_statistics, mycelium_spec, reference_mycelium
from mfn_source import code_lines, private_names

HERE = Path(__file__).parent
TOYS = sorted(path.parent.name for path in HERE.glob("*_toy/pyproject.toml"))

pytestmark = pytest.mark.timeout(120)


def source(toy: str) -> str:
    return (HERE / toy / f"{toy}.py").read_text("utf-8")


def test_a_backend_takes_thirty_lines_with_its_imports_and_its_declaration() -> None:
    assert code_lines(source("engine_toy")) <= 30


def test_thirty_lines_are_counted_as_they_are_formatted() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", *(str(HERE / toy) for toy in TOYS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("toy", TOYS)
def test_it_uses_public_names_alone(toy: str) -> None:
    assert list(private_names(source(toy))) == []


def test_a_private_name_would_be_found() -> None:
    text = "import mfn_core.auth\nfrom mfn_core.auth import Call\nfrom mfn_core.cli._output import show\na._b + self._c"
    assert list(private_names(text)) == ["import mfn_core.auth", "mfn_core.auth.Call", "mfn_core.cli._output", "_b"]


# Where they are installed.


def python(toys: Path) -> Path:
    return toys / "env" / "bin" / "python"


@pytest.mark.parametrize("toy", TOYS)
def test_it_passes_its_suites_where_it_is_installed(toys: Path, toy: str) -> None:
    # No configuration at all: neither of pytest nor of pytest-asyncio.
    ran = run(python(toys), "-m", "pytest", "-q", "-p", "no:cacheprovider", toys / toy / "tests", cwd=toys / toy)
    assert re.search(r"\b([2-9]\d) passed", ran.stdout), ran.stdout


def test_the_environment_has_nothing_of_this_checkout(toys: Path) -> None:
    code = "import mfn_core, mfn_model, engine_toy, sys; print(mfn_core.__file__, mfn_model.__file__, *sys.path)"
    ran = run(python(toys), "-P", "-c", code, cwd=toys)
    assert str(ROOT) not in ran.stdout
    assert "site-packages/mfn_core" in ran.stdout


def test_the_plugins_are_listed(toys: Path) -> None:
    listed = json.loads(run(python(toys).with_name("mfn"), "plugins", "--json", cwd=toys).stdout)["plugins"]
    sections = {c["section"]: (plugin["name"], c["summary"]) for plugin in listed for c in plugin["components"]}
    assert sections["engines.toy"] == ("engine_toy", "diffusion alone")
    assert {"auth.toy", "audit.toy"} <= set(sections)


@pytest.mark.parametrize("key", ["sesame", "barley"])
def test_a_server_without_any_other_plugin_is_made_of_them(toys: Path, tmp_path: Path, key: str) -> None:
    tables = {
        "server": {"plugins": ["engine_toy", "auth_toy", "audit_toy", "in_process:plugin"], "engine": "toy"},
        "auth": {"toy": {"key": "sesame"}},
        "audit": {"toy": {"path": "toy.jsonl"}},
    }
    (tmp_path / "mfn.toml").write_text(toml_text(tables), "utf-8")
    script = HERE / "in_process.py"
    ran = run(python(toys), script, tmp_path / "mfn.toml", key, cwd=tmp_path)
    mean = reference_mycelium(mycelium_spec(spike_probability=0.0, turing_enabled=False), 5).field.mean()
    (record,) = (json.loads(line) for line in (tmp_path / "toy.jsonl").read_text("utf-8").splitlines())
    if key == "sesame":
        assert ran.stdout.split() == ["OK", str(mean)]
        assert (record["principal"], record["status"]) == ("friend", "OK")
    else:
        assert ran.stdout.split() == ["UNAUTHENTICATED", "none"]
        assert (record["principal"], record["reason"]) == (None, "not the key")


# In a server, where there are a service and a transport to call it by.


@pytest.fixture
def tables() -> dict[str, Any]:
    if not {"mfn-service", "mfn-transport-grpc"} <= set(FOLDERS):
        pytest.skip("this checkout has no service or no transport")
    return {
        "server": {
            "plugins": ["engine_toy", "auth_toy", "audit_toy", "service_mfn", "transport_grpc"],
            "engine": "toy",
            "log_format": "text",
        },
        "auth": {"toy": {"key": "sesame"}},
        "audit": {"toy": {"path": "toy.jsonl"}},
        "transports": {"grpc": {"listen": "127.0.0.1:0"}},
    }


def test_check_says_that_the_server_is_made_of_them(toys: Path, tables: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mfn.toml").write_text(toml_text(tables), "utf-8")
    ran = run(python(toys).with_name("mfn"), "check", "-c", tmp_path / "mfn.toml", "--json", cwd=tmp_path)
    sections = {component["section"] for component in json.loads(ran.stdout)["components"]}
    assert {"engines.toy", "auth.toy", "audit.toy", "transports.grpc"} <= sections
    assert "sesame" not in ran.stdout


def test_a_served_call_is_authenticated_computed_and_recorded_by_them(
    toys: Path, tables: dict[str, Any], tmp_path: Path
) -> None:
    import grpc

    from mfn_proto import mfn_pb2

    request = mfn_pb2.SimulationRequest(seed=7, grid_size=32, steps=50, alpha=0.2)
    spiking = mfn_pb2.SimulationRequest(seed=7, grid_size=32, steps=50, spike_probability=0.5)
    refusals = []
    with (
        ServerProcess(tables, tmp_path, python=python(toys)) as server,
        grpc.insecure_channel(server.address("grpc")) as channel,
    ):
        run_simulation = channel.unary_unary(
            "/mfn.MFNSimulationService/RunSimulation",
            request_serializer=mfn_pb2.SimulationRequest.SerializeToString,
            response_deserializer=mfn_pb2.SimulationResult.FromString,
        )
        result = run_simulation(request, timeout=30.0, metadata=(("x-toy-key", "sesame"),))
        for message, key in ((request, "barley"), (spiking, "sesame")):
            with pytest.raises(grpc.RpcError) as refused:
                run_simulation(message, timeout=30.0, metadata=(("x-toy-key", key),))
            refusals.append((refused.value.code(), refused.value.details()))
    expected = field_statistics(
        reference_mycelium(
            mycelium_spec(seed=7, grid_size=32, alpha=0.2, spike_probability=0.0, turing_enabled=False), 50
        ).field
    )
    assert result.pot_mean_mV == pytest.approx(expected.mean_mv, abs=1e-9)
    assert [code for code, _ in refusals] == [grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.INVALID_ARGUMENT]
    assert "'toy'" in str(refusals[1][1])
    records = [json.loads(line) for line in (tmp_path / "toy.jsonl").read_text("utf-8").splitlines()]
    assert [(record["principal"], record["status"]) for record in records] == [
        ("friend", "OK"),
        (None, "UNAUTHENTICATED"),
        ("friend", "INVALID_ARGUMENT"),
    ]
