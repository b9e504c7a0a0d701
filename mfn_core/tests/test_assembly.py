"""From a document to a plan and a server: every rule, and every problem at once."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from mfn_core import ComponentContext, Page
from mfn_core.assembly import is_loopback, plan
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Document
from mfn_core.operation import Catalogue
from mfn_core.server import Server, assemble
from mfn_model import FieldSpec, mycelium_spec

pytestmark = pytest.mark.usefixtures("toy_parts")


@pytest.fixture
def toy_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "toy"))


def document(tmp_path: Path, **sections: Any) -> Document:
    tables: dict[str, Any] = {
        "server": {"plugins": ["mfn_toy.parts"], "drain_seconds": 1.0},
        "audit": {"file": {"path": "audit.jsonl"}},
    }
    for name, table in sections.items():
        tables[name] = {**tables.get(name, {}), **table} if isinstance(table, Mapping) else table
    return Document(tables=tables, base_dir=tmp_path, source="test")


def problems(found: Document) -> dict[str, str]:
    with pytest.raises(ConfigError) as refused:
        plan(found)
    found_: dict[str, str] = {}
    for problem in refused.value.problems:
        found_[problem.path] = found_.get(problem.path, "") + f"{problem.message} | {problem.remedy}\n"
    return found_


def test_a_component_of_a_named_plugin_runs_with_its_defaults(tmp_path: Path) -> None:
    planned = plan(document(tmp_path))
    assert [c.name for c in planned.of(ComponentKind.TRANSPORT)] == ["line"]
    assert [c.path for c in planned.of(ComponentKind.LIMITER)] == ["limits.slots"]
    assert planned.of(ComponentKind.AUDIT_SINK)[0].config.path == tmp_path / "audit.jsonl"


def test_what_components_offer_to_be_read_is_in_the_catalogue(tmp_path: Path) -> None:
    class Observing:
        def __init__(self) -> None:
            self.pages = [Page(path="/metrics", content_type="text/plain", read=self.read)]

        async def read(self) -> bytes:
            return b""

    planned = plan(document(tmp_path))
    limiter = planned.of(ComponentKind.LIMITER)[0]
    observing = Observing()

    def factory(config: Any, context: ComponentContext) -> Any:
        catalogues.append(context.catalogue)
        return observing

    catalogues: list[Catalogue] = []
    registered = evolve(limiter.registered, spec=evolve(limiter.registered.spec, factory=factory))
    changed = tuple(evolve(each, registered=registered) if each is limiter else each for each in planned.components)
    Server(evolve(planned, components=changed))
    assert catalogues[0].pages == tuple(observing.pages)


@pytest.mark.parametrize("path", ["metrics", "/", "/a/", "/a?b", "/a b", "//a"])
def test_a_page_has_a_plain_path(path: str) -> None:
    async def read() -> bytes:
        return b""

    with pytest.raises(ValueError, match="path"):
        Page(path=path, content_type="text/plain", read=read)


def test_a_second_instance_has_a_table_of_its_own(tmp_path: Path) -> None:
    planned = plan(document(tmp_path, transports={"line": {}, "line/second": {"listen": "127.0.0.1:7"}}))
    assert [c.name for c in planned.of(ComponentKind.TRANSPORT)] == ["line", "line/second"]
    assert planned.of(ComponentKind.TRANSPORT)[1].path == 'transports."line/second"'


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    found = problems(
        document(
            tmp_path,
            server={"min_grid": 0, "engin": "x"},
            audit={"file": {}},
            transports={"line": {"lisen": "127.0.0.1:1"}, "lime": {}},
            limits={"slots": {"free": "many"}},
            authh={},
        )
    )
    assert {"server.min_grid", "server.engin", "authh"} <= set(found)
    assert "engine" in found["server.engin"]
    assert "auth" in found["authh"]


def test_a_misspelt_component_or_key_is_named_with_what_is_meant(tmp_path: Path) -> None:
    found = problems(document(tmp_path, transports={"line": {"lisen": "x"}, "lime": {}}))
    assert "listen" in found["transports.line.lisen"]
    assert "line" in found["transports.lime"]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (["auth", "audit", "telemetry", "limit"], "audit must stand first"),
        (["audit", "telemetry", "limit", "auth"], "limit stands before auth"),
        (["audit", "auth", "telemetry", "limit"], "telemetry stands after auth"),
        (["audit", "telemetry", "auth"], "'limit' is missing"),
        (["audit", "telemetry", "auth", "limit", "limit"], "twice"),
        (["audit", "telemetry", "auth", "limit", "shuot"], "unknown stage"),
    ],
)
def test_a_chain_in_a_wrong_order_is_refused(tmp_path: Path, order: list[str], said: str) -> None:
    assert said in problems(document(tmp_path, pipeline={"order": order}))["pipeline.order"]


def test_a_middleware_must_have_its_place_in_the_chain(tmp_path: Path) -> None:
    plugins = ["mfn_toy.parts", "mfn_toy.shout"]
    assert "'shout' is missing" in problems(document(tmp_path, server={"plugins": plugins}))["pipeline.order"]
    order = ["audit", "telemetry", "shout", "auth", "limit"]
    assert plan(document(tmp_path, server={"plugins": plugins}, pipeline={"order": order})).pipeline.order[2] == "shout"


def test_without_an_authenticator_nothing_that_needs_a_principal_runs(tmp_path: Path) -> None:
    document_ = Document(
        tables={"server": {"plugins": ["mfn_toy.shout"]}, "pipeline": {}}, base_dir=tmp_path, source="test"
    )
    found = problems(document_)
    assert "no authenticator" in found["auth"]
    assert "transport" in found["server.plugins"] or "service" in found["server.plugins"]


def test_a_listener_beyond_loopback_needs_encryption_or_a_named_allowance(tmp_path: Path) -> None:
    wide = {"line": {"listen": "0.0.0.0:7000"}}
    assert "without TLS" in problems(document(tmp_path, transports=wide))["transports.line.listen"]
    plan(document(tmp_path, transports={"line": {"listen": "0.0.0.0:7000", "encrypted": True}}))
    plan(document(tmp_path, transports=wide, server={"allow": ["plaintext-beyond-loopback"]}))


def test_anonymous_calls_beyond_loopback_need_a_name_of_their_own(tmp_path: Path) -> None:
    wide = {"line": {"listen": "0.0.0.0:7000", "encrypted": True}}
    found = problems(document(tmp_path, transports=wide, server={"allow": ["anonymous"]}))
    assert "anonymous" in found["transports.line.listen"]
    plan(document(tmp_path, transports=wide, server={"allow": ["anonymous", "anonymous-beyond-loopback"]}))


def test_several_workers_refuse_what_keeps_its_state_in_one_process(tmp_path: Path) -> None:
    found = problems(document(tmp_path, server={"workers": 2}))
    assert "audit.file" in found["server.workers"] or "auth.doorman" in found["server.workers"]
    assert "limits.slots" not in found["server.workers"]


def test_an_engine_that_no_plugin_brings_is_named(tmp_path: Path) -> None:
    assert "'nunpy'" in problems(document(tmp_path, server={"engine": "nunpy"}))["server.engine"]


def test_a_plugin_may_refuse_the_whole(tmp_path: Path) -> None:
    found = problems(document(tmp_path, transports={"line/forbidden": {}}))
    assert "forbidden" in found['transports."line/forbidden"']


@pytest.mark.parametrize(
    ("listen", "local"),
    [
        ("127.0.0.1:1", True),
        ("127.8.9.1:1", True),
        ("[::1]:1", True),
        ("localhost:1", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("192.168.0.7:1", False),
        ("example:1", False),
    ],
)
def test_loopback_is_told_from_the_rest(listen: str, local: bool) -> None:
    assert is_loopback(listen) is local


def test_factories_that_fail_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        assemble(document(tmp_path, server={"plugins": ["mfn_toy.parts", "mfn_toy.broken"]}))
    found = {problem.path: problem.message for problem in refused.value.problems}
    assert "the moon is full" in found["limits.refused"]
    assert "ZeroDivisionError" in found["limits.defective"]


# A server that runs, in this process.


async def exchange(address: str, line: str) -> list[str]:
    host, port = address.rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(line.encode() + b"\n")
    lines = []
    while True:
        text = (await reader.readline()).decode().rstrip("\n")
        lines.append(text)
        if not text.startswith("= "):
            break
    writer.close()
    await writer.wait_closed()
    return lines


async def running(document_: Document) -> Server:
    server = assemble(document_)
    server.preflight()
    await server.start()
    return server


async def test_a_call_goes_through_the_whole_assembled_chain(tmp_path: Path) -> None:
    server = await running(document(tmp_path))
    (address,) = server.addresses["line"]
    reply, status = await exchange(address, "/toy.Greeter/Greet sesame ali")
    assert reply.startswith("= hello ali")
    assert status == "OK "
    assert await exchange(address, "/toy.Greeter/Greet wrong ali") == ["UNAUTHENTICATED authentication failed"]
    assert (await exchange(address, "/toy.Greeter/Gret sesame ali"))[0].startswith("UNIMPLEMENTED")
    await server.stop()
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["OK", "UNAUTHENTICATED", "UNIMPLEMENTED"]
    assert [record["reason"] for record in records] == [None, "wrong word", "unknown method"]


async def test_two_transports_share_one_limiter_and_one_audit(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    server = await running(
        document(tmp_path, transports={"line": {}, "line/second": {}}, limits={"slots": {"free": 1}})
    )
    (first,), (second,) = server.addresses["line"], server.addresses["line/second"]
    held = asyncio.create_task(exchange(first, f"/toy.Greeter/Wait sesame {gate}"))
    while not Path(f"{gate}.waiting").exists():
        await asyncio.sleep(0.01)
    assert (await exchange(second, "/toy.Greeter/Greet sesame b"))[0].startswith("RESOURCE_EXHAUSTED")
    gate.touch()
    assert (await held)[-1] == "OK "
    assert (await exchange(second, "/toy.Greeter/Greet sesame b"))[-1] == "OK "
    await server.stop()
    records = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [(r["transport"], r["status"]) for r in records] == [
        ("line/second", "RESOURCE_EXHAUSTED"),
        ("line", "OK"),
        ("line/second", "OK"),
    ]


async def test_a_port_in_use_is_found_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = assemble(document(tmp_path, transports={"line": {"listen": f"127.0.0.1:{port}"}}))
        with pytest.raises(ConfigError, match=str(port)):
            server.preflight()
    assert not (tmp_path / "audit.jsonl").exists()


async def test_when_a_part_cannot_start_what_was_started_is_stopped(tmp_path: Path) -> None:
    server = assemble(document(tmp_path, audit={"file": {"path": "missing/audit.jsonl"}}))
    with pytest.raises(FileNotFoundError):
        await server.start()
    assert server.addresses["line"] == ()


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    server = await running(document(tmp_path))
    await server.stop()
    await server.stop()


# Compute.


async def test_engines_are_measured_at_the_start_unless_the_configuration_leaves_no_time(tmp_path: Path) -> None:
    plugins = ["mfn_toy.parts", "mfn_toy.steady"]
    server = await running(document(tmp_path, server={"plugins": plugins, "calibration_seconds": 0.01}))
    (engine,) = server.compute.engines
    assert engine.measured is not None
    assert engine.speed(mycelium_spec(grid_size=64)) == pytest.approx(engine.measured)
    await server.stop()
    server = await running(document(tmp_path, server={"plugins": plugins, "calibration_seconds": 0.0}))
    (engine,) = server.compute.engines
    assert (engine.measured, engine.speed(mycelium_spec())) == (None, 5e8)
    assert server.component(ComponentKind.BACKEND, "steady").sessions == 0
    await server.stop()


@pytest.mark.parametrize(("size", "batches", "sessions"), [(1, 0, 3), (32, 3, 0)])
async def test_the_configuration_turns_batching_on_and_off(
    tmp_path: Path, new_call: Any, size: int, batches: int, sessions: int
) -> None:
    settings = {"calibration_seconds": 0.0, "batching": {"max_size": size}, "compute_threads": 1}
    server = await running(document(tmp_path, server={"plugins": ["mfn_toy.parts", "mfn_toy.steady"], **settings}))
    for _ in range(3):
        assert (await server.compute.final_state(new_call(), mycelium_spec(grid_size=4), 9)).step == 9
    engine = server.component(ComponentKind.BACKEND, "steady")
    assert (engine.batches, engine.sessions) == (batches, sessions)
    await server.stop()


@pytest.mark.parametrize("coalesce", [True, False])
def test_the_configuration_turns_coalescing_on_and_off(tmp_path: Path, coalesce: bool) -> None:
    server = assemble(document(tmp_path, cache={"max_bytes": 0, "coalesce": coalesce}))
    assert (server.dispatcher.coalescer is not None) == coalesce
    server.compute.shutdown()


@pytest.mark.parametrize(("threads", "warns"), [(0, False), (3, False), (4, True)])
def test_more_compute_threads_than_cores_are_worth_a_warning(
    tmp_path: Path, threads: int, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("mfn_core.server.available_cores", lambda: 3)
    assemble(document(tmp_path, server={"compute_threads": threads})).compute.shutdown()
    assert ("server.compute_threads = 4, and this process may use 3 cores" in caplog.text) == warns


def test_the_models_of_named_plugins_are_registered_and_a_taken_name_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = (
        "from mfn_core import hookimpl\n"
        "from mfn_model import FieldModel, Species\n"
        "@hookimpl\n"
        "def mfn_models():\n"
        "    species = (Species(name='u', unit='1', description='for a test'),)\n"
        "    common = {'summary': 'for a test', 'parameters': (), 'boundary': 'periodic', 'source': 'this test'}\n"
        "    return [FieldModel(name=NAME, species=species, **common)]\n"
    )
    (tmp_path / "assembled_good.py").write_text(f"NAME = 'assembled_heat'\n{source}")
    (tmp_path / "assembled_bad.py").write_text(f"NAME = 'mycelium_rd'\n{source}")
    monkeypatch.syspath_prepend(str(tmp_path))
    plan(document(tmp_path, server={"plugins": ["mfn_toy.parts", "assembled_good:"]}))
    assert FieldSpec(model="assembled_heat", grid_size=4, seed=0).declaration.name == "assembled_heat"
    found = problems(document(tmp_path, server={"plugins": ["mfn_toy.parts", "assembled_bad:"]}))
    assert "'mycelium_rd' is already registered by mfn_model" in found["server.plugins"]
    assert "assembled_bad" in found["server.plugins"]
