"""REST in front of the same server: every path, the same bits, the same checks, the same trail."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from mfn_client.raw import RawClient
from mfn_e2e.calls import Header, exchange, new_id
from mfn_e2e.deployment import Deployment, tables
from mfn_proto import mfn_pb2 as w1
from mfn_proto import mycelium_pb2 as w2

JSON: Header = ("content-type", "application/json")
LINES: Header = ("content-type", "application/x-ndjson")
RUN = {"seed": 3, "grid_size": 8, "steps": 4}
STREAM = {"seed": 3, "grid_size": 8, "total_steps": 4, "steps_per_frame": 2}


@frozen(kw_only=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.body.splitlines()]


def ask(
    server: Deployment,
    method: str,
    target: str,
    body: bytes | None = None,
    *further: Header,
    signed: str | None = None,
    covers: bytes | None = b"",
    key: str = "ada",
) -> Reply:
    """One request, signed unless `signed` is empty; `covers`: what the signature is of."""
    headers = list(further)
    if signed != "":
        headers += server.caller(key).sign(signed or f"{method} {target}", covers)
    host, _, port = server.address("asgi").rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request(method, target, body=body, headers=dict(headers))
        response = connection.getresponse()
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(status=response.status, headers=named, body=response.read())
    finally:
        connection.close()


def post(server: Deployment, target: str, content: Any, *further: Header, **options: Any) -> Reply:
    raw = json.dumps(content).encode()
    return ask(server, "POST", target, raw, JSON, *further, covers=raw, **options)


def upload(server: Deployment, target: str, *messages: Any) -> Reply:
    raw = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    return ask(server, "POST", target, raw, LINES, covers=None)


def encoded(values: Any) -> str:
    return base64.b64encode(np.asarray(values, dtype="<f8").tobytes()).decode()


@pytest.mark.parametrize("path", ["/simulate", "/features", "/mfn.MFNSimulationService/RunSimulation"])
async def test_the_numbers_are_those_of_grpc_to_the_last_bit(server: Deployment, path: str) -> None:
    rpc = (
        "/mfn.MFNFeaturesService/ExtractFeatures" if path == "/features" else "/mfn.MFNSimulationService/RunSimulation"
    )
    message = w1.SimulationRequest(**RUN, alpha=0.18, spike_probability=0.25, turing_enabled=True)
    async with RawClient(server.address("asgi")) as client:
        ended = await exchange(client, rpc, [message.SerializeToString()], server.caller().headers(rpc, message))
    expected = (w1.FeatureResponse if path == "/features" else w1.SimulationResult).FromString(ended.replies[0])
    reply = post(server, path, RUN)
    assert reply.status == 200
    for name in ("growth_events", "pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV", "fractal_dimension"):
        assert reply.json[name] == getattr(expected, name)


def test_every_path_answers(server: Deployment) -> None:
    assert post(server, "/validate", {"grid_size": 8, "steps": 2}).json["growth_events"] >= 0
    assert post(server, "/mycelium/validate", {"grid_size": 8}).json["loss_start"] > 0
    assert len(post(server, "/mycelium/simulate", {"grid_size": 8, "steps": 3}).json["field_mean"]) == 3
    nernst = post(server, "/nernst", {"concentration_out_molar": 0.005, "concentration_in_molar": 0.14}).json
    assert nernst["potential_mV"] == pytest.approx(-89.01, abs=0.01)
    gradients = [{"values": [1.0, 2.0]}, {"values": [1.1, 2.1]}, {"values": [0.9, 1.9]}]
    aggregated = post(server, "/federated/aggregate", {"gradients": gradients}).json
    assert len(aggregated["aggregated_gradient"]) == 2
    for path in ("/features/stream", "/simulate/stream"):
        assert [frame["step"] for frame in post(server, path, STREAM).lines] == [2, 4]
        query = "&".join(f"{name}={value}" for name, value in STREAM.items())
        got = ask(server, "GET", f"{path}?{query}")
        assert got.lines == post(server, path, STREAM).lines
    updates = ask(server, "GET", "/mycelium/simulate/stream?grid_size=8&steps=3").lines
    assert updates == post(server, "/mycelium/simulate/stream", {"grid_size": 8, "steps": 3}).lines
    assert [update["completed"] for update in updates] == [False, False, True]
    frames = ask(server, "GET", "/v1/simulate?simulation.grid_size=8&steps=4&frames.every_n_steps=2").lines
    content = {"simulation": {"grid_size": 8}, "steps": 4, "frames": {"every_n_steps": 2}}
    assert frames == post(server, "/v1/simulate", content).lines
    assert frames[-1]["frame"]["is_final"] is True
    models = {model["name"] for model in ask(server, "GET", "/v1/models").json["models"]}
    assert "mycelium" in models
    assert ask(server, "GET", "/v1/models/mycelium").json["model"]["name"] == "mycelium"
    assert ask(server, "GET", "/mycelium/health", signed="").json["status"] == "healthy"


def test_uploads_are_lines(server: Deployment) -> None:
    field = np.linspace(-0.07, -0.05, 64)
    header = {"header": {"shape": [8, 8], "encoding": "FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN", "unit": "V"}}
    reply = upload(server, "/v1/analyze", header, {"chunk": encoded(field[:30])}, {"chunk": encoded(field[30:])})
    assert (reply.status, reply.json["statistics"]["max_volts"]) == (200, -0.05)
    header = {
        "header": {
            "clients": 3,
            "coordinates": 2,
            "type": "GRADIENT_TYPE_FLOAT64",
            "method": "AGGREGATION_METHOD_COORDINATE_MEDIAN",
        }
    }
    chunks = [{"chunk": {"client": i, "data": encoded([i, 10 * i])}} for i in range(3)]
    reply = upload(server, "/v1/aggregate", header, *chunks)
    assert np.frombuffer(base64.b64decode(reply.json["gradient"]), "<f8").tolist() == [1.0, 10.0]
    start = {"start": {"simulation": {"grid_size": 8}, "total_steps": 4, "frames": {"every_n_steps": 2}}}
    events = upload(server, "/mfn.v1.FieldService/SteerSimulation", start).lines
    assert [next(iter(event)) for event in events] == ["started", "frame", "frame", "ended"]


def test_events_are_numbered_and_a_broken_stream_goes_on(server: Deployment) -> None:
    target = "/simulate/stream?seed=3&grid_size=8&total_steps=6&steps_per_frame=2"
    accept: Header = ("accept", "text/event-stream")
    events = ask(server, "GET", target, None, accept).body.decode().split("\n\n")
    assert [event.split("\n")[0] for event in events if event] == ["id: 1", "id: 2", "id: 3", "event: end"]
    rest = ask(server, "GET", target, None, accept, ("last-event-id", "2")).body.decode().split("\n\n")
    assert rest == events[2:]


@pytest.mark.parametrize(
    ("target", "content", "status", "field"),
    [
        ("/simulate", {"alpha": 0.3}, 400, "alpha"),
        ("/simulate", {"alfa": 0.1}, 400, "alfa"),
        ("/simulate", {"alpha": "NaN"}, 400, "alpha"),
        ("/simulate", {"alpha": "Infinity"}, 400, "alpha"),
        ("/simulate", {"grid_size": 100_000}, 400, "grid_size"),
        ("/nernst", {"z_valence": 2}, 400, "concentration_out_molar"),
        ("/v1/simulate", {"simulation": {"modle": "x"}}, 400, "simulation.modle"),
        ("/v1/simulate", {"steps": -1}, 400, "steps"),
    ],
)
def test_what_breaks_a_rule_is_named(server: Deployment, target: str, content: Any, status: int, field: str) -> None:
    reply = post(server, target, content)
    assert reply.headers["content-type"] == "application/problem+json"
    assert (reply.status, reply.json["status"]) == (status, status)
    assert field in [each["field"] for each in reply.json["errors"]]
    assert all(each["message"] for each in reply.json["errors"])


def test_models_that_are_not_there_are_told_apart(server: Deployment) -> None:
    assert ask(server, "GET", "/v1/models/myceliun").status == 404
    assert post(server, "/v1/simulate", {"simulation": {"model": "myceliun"}}).status == 501


def test_a_signature_is_of_method_path_query_and_body(server: Deployment) -> None:
    raw = json.dumps(RUN).encode()
    assert ask(server, "POST", "/simulate", raw, JSON, covers=raw).status == 200
    wrong = [
        {"signed": "POST /features"},
        {"signed": "GET /simulate"},
        {"signed": "POST /simulate?x=1"},
        {"signed": "/mfn.MFNSimulationService/RunSimulation"},
        {"covers": raw + b" "},
        {"covers": b""},
        {"covers": None},
        {"signed": ""},
    ]
    for options in wrong:
        reply = ask(server, "POST", "/simulate", raw, JSON, **{"covers": raw, **options})
        assert (reply.status, reply.json["code"]) == (401, "UNAUTHENTICATED"), options
        assert "MFN2-HMAC-SHA256" in reply.headers["www-authenticate"]
        assert reply.json["detail"] == ask(server, "POST", "/simulate", raw, JSON, signed="").json["detail"]
    target = "/simulate/stream?seed=3&grid_size=8&total_steps=2"
    assert ask(server, "GET", target, signed=f"GET {target}&seed=4").status == 401
    assert ask(server, "GET", target).status == 200


def test_nothing_is_parsed_before_the_caller_is_known(server: Deployment) -> None:
    for body in (b"{", b'{"alfa": 1}', b"\xff" * 1000):
        assert ask(server, "POST", "/simulate", body, JSON, signed="").status == 401
    assert ask(server, "GET", "/v1/models?nonsense=1", signed="").status == 401


async def test_the_trail_names_the_protocol_and_the_request(server: Deployment) -> None:
    mine = new_id()
    reply = post(server, "/simulate", RUN, ("x-request-id", mine))
    assert reply.headers["x-request-id"] == mine
    record = await server.trail.one(mine)
    assert (record["protocol"], record["method"]) == ("rest", "/mfn.MFNSimulationService/RunSimulation")
    assert (record["principal"], record["key_id"], record["status"]) == ("ada", "ada", "OK")
    made = post(server, "/simulate", {"alpha": 1}).json["request_id"]
    record = await server.trail.one(made)
    assert record["status"] == "INVALID_ARGUMENT"


def test_curl_calls_with_the_headers_that_mfn_sign_prints(server: Deployment, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("needs curl")
    content = tmp_path / "body.json"
    content.write_text(json.dumps(RUN), encoding="utf-8")
    mfn = [sys.executable, "-m", "mfn_core"]
    sign = [*mfn, "sign", "-k", str(server.directory / "keys.toml"), "--key-id", "ada"]

    def run(*words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    (tmp_path / "headers").write_text(run(*sign, "--http", "POST /simulate", "--data", f"@{content}"), encoding="utf-8")
    root = f"http://{server.address('asgi')}"
    found = run(
        *(curl, "-sS", "-H", f"@{tmp_path / 'headers'}", "-H", ": ".join(JSON)),
        *("--data-binary", f"@{content}", f"{root}/simulate"),
    )
    assert json.loads(found)["growth_events"] >= 0
    target = "/simulate/stream?grid_size=8&total_steps=20"
    (tmp_path / "headers").write_text(run(*sign, "--http", f"GET {target}"), encoding="utf-8")
    found = run(curl, "-sSN", "-H", f"@{tmp_path / 'headers'}", root + target)
    assert json.loads(found.splitlines()[-1])["is_final"] is True


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    configuration = tables(
        transports=["asgi"],
        plugins=["ratelimit"],
        limits={"token_bucket": {"rate": 0.01, "burst": 2}},
    )
    with Deployment(configuration, tmp_path_factory.mktemp("limited")) as started:
        yield started


def test_who_calls_too_often_is_told_when_to_come_again(limited: Deployment) -> None:
    left = [post(limited, "/simulate", RUN).headers["x-ratelimit-remaining"] for _ in range(2)]
    assert left == ["1", "0"]
    reply = post(limited, "/simulate", RUN)
    assert (reply.status, reply.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert 1 <= int(reply.headers["retry-after"]) <= 100
    assert reply.json["retry_after"] <= int(reply.headers["retry-after"])
    assert reply.headers["x-ratelimit-limit"] == "2"
    assert reply.headers["ratelimit"].startswith('"default";r=0;t=')
    assert post(limited, "/simulate", RUN, key="ben").status == 200
    assert ask(limited, "GET", "/health", signed="").status == 200


def test_the_nernst_potential_is_that_of_grpc(server: Deployment) -> None:
    content = {"z_valence": 2, "concentration_out_molar": 0.002, "concentration_in_molar": 1e-4}
    expected = 1000 * 8.314 * 310.0 / (2 * 96485.33212) * np.log(0.002 / 1e-4)
    assert post(server, "/nernst", content).json["potential_mV"] == pytest.approx(expected, rel=1e-12)
    assert w2.NernstResponse().potential_mV == 0
