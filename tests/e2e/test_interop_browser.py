"""A page of another origin in a real browser, with a client for browsers by others: what CORS lets in and keeps out."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from mfn_client.raw import RawClient
from mfn_e2e.browser import Page, chromium, opened
from mfn_e2e.calls import exchange
from mfn_e2e.commands import mfn
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.node import bundled, definitions
from mfn_proto import mfn_pb2 as w1
from mfn_proto.v1 import field_pb2 as v1
from mfn_signing import encode_secret

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.skipif(chromium() is None, reason="no chromium, chromium-browser or google-chrome on the PATH"),
]

SEED, GRID, STEPS = 7, 32, 20
RUN = w1.SimulationRequest(
    seed=SEED, grid_size=GRID, steps=STEPS, alpha=0.18, spike_probability=0.25, turing_enabled=True
)
STREAM = v1.SimulateRequest(
    simulation=v1.SimulationSpec(
        seed=SEED,
        grid_size=GRID,
        mycelium=v1.MyceliumParameters(alpha=0.18, spike_probability=0.25, turing_enabled=True),
    ),
    steps=STEPS,
    frames=v1.FrameOptions(every_n_steps=5, field_encoding=v1.FIELD_ENCODING_FLOAT64_LITTLE_ENDIAN),
)
CALLS: tuple[tuple[str, str, Message], ...] = (
    ("mfn.MFNSimulationService", "RunSimulation", RUN),
    ("mfn.v1.FieldService", "Simulate", STREAM),
)
TRANSPORTS = {
    "connect": {"kind": "connect", "options": {"useBinaryFormat": True}},
    "connect with JSON": {"kind": "connect", "options": {"useBinaryFormat": False}},
    "gRPC-Web": {"kind": "grpcweb", "options": {"useBinaryFormat": True}},
}
UNKNOWN, UNAUTHENTICATED = 2, 16


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, in silence."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the class above
        """Nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a web server that has nothing to do with MFN, with the page."""
    directory = tmp_path_factory.mktemp("site")
    bundled("page.mjs", directory / "page.js")
    (directory / "index.html").write_text(
        '<!doctype html><meta charset="utf-8"><title>a page of others</title><link rel="icon" href="data:,">'
        '<script type="module" src="page.js"></script>'
    )
    handler = functools.partial(Handler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server.server_port
        server.shutdown()
        serving.join()


def deployed(directory: Path, **listener: Any) -> Deployment:
    configuration = tables(
        transports=["asgi"],
        plugins=["auth_loopback"],
        auth={"hmac": {"keys_file": "keys.toml"}, "loopback": {"token_file": "token.json"}},
    )
    configuration["transports"]["asgi"].update(listener)
    return Deployment(configuration, directory)


@pytest.fixture(scope="module")
def open_server(site: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server whose operator has named the page's origin."""
    with deployed(tmp_path_factory.mktemp("open"), cors_origins=[f"http://127.0.0.1:{site}"]) as started:
        yield started


@pytest.fixture
def closed_server(tmp_path: Path) -> Iterator[Deployment]:
    """A server whose operator has said nothing of other origins."""
    directory = tmp_path / "closed"
    directory.mkdir()
    with deployed(directory) as started:
        yield started


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> str:
    return base64.b64encode(definitions(tmp_path_factory.mktemp("schema") / "schema.binpb")).decode()


@pytest.fixture
async def page(site: int, tmp_path: Path) -> AsyncIterator[Page]:
    async with opened(f"http://127.0.0.1:{site}/", tmp_path) as page:
        await page.until("typeof call === 'function'")
        yield page


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Mapping[str, Any], np.ndarray[Any, Any]]:
    """What `mfn simulate` says of the same run, and its field."""
    file = tmp_path_factory.mktemp("simulated") / "field.npy"
    told = mfn(
        *("simulate", "--engine", "numpy", "--seed", str(SEED), "--grid", str(GRID), "--steps", str(STEPS)),
        *("--alpha", "0.18", "--spike-probability", "0.25", "--json", "--save", file),
    )
    return json.loads(told), np.load(file)


def signed_by(server: Deployment, secret_of: str = "ada") -> dict[str, Any]:
    return {"keyId": "ada", "secret": encode_secret(server.keys[secret_of].secret)}


def by_token(server: Deployment) -> dict[str, Any]:
    return {"token": json.loads((server.directory / "token.json").read_text())["token"]}


async def called(
    page: Page, server: Deployment, descriptors: str, who: Mapping[str, Any], transport: str = "connect"
) -> list[dict[str, Any]]:
    """What the calls of the page came to."""
    job = {
        "baseUrl": f"http://{server.address('asgi')}",
        "descriptors": descriptors,
        "transport": TRANSPORTS[transport],
        "calls": [
            {
                "service": service,
                "method": method,
                "messages": [base64.b64encode(message.SerializeToString()).decode()],
            }
            for service, method, message in CALLS
        ],
        **who,
    }
    found: list[dict[str, Any]] = await page.run(f"call({json.dumps(job)})")
    return found


def check(found: list[dict[str, Any]], simulated: tuple[Mapping[str, Any], np.ndarray[Any, Any]]) -> None:
    """Every number is that of `mfn simulate`, to the last bit."""
    assert [(each["code"], each["message"]) for each in found] == [(0, ""), (0, "")]
    told, field = simulated
    unary, stream = ([base64.b64decode(raw) for raw in each["replies"]] for each in found)
    (result,) = map(w1.SimulationResult.FromString, unary)
    for name in ("growth_events", "pot_min_mV", "pot_max_mV", "pot_mean_mV", "pot_std_mV", "fractal_dimension"):
        assert getattr(result, name) == told[name], name
    frames = [v1.SimulateResponse.FromString(raw).frame for raw in stream]
    assert [frame.step for frame in frames] == [5, 10, 15, 20]
    last = frames[-1]
    assert last.is_final
    assert np.array_equal(np.frombuffer(last.field.data, "<f8").reshape(last.field.shape), field)
    assert last.growth_events == told["growth_events"]
    assert {
        "minimum": last.statistics.min_volts,
        "maximum": last.statistics.max_volts,
        "mean": last.statistics.mean_volts,
        "std": last.statistics.std_volts,
    } == {name: told["field"][name] for name in ("minimum", "maximum", "mean", "std")}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_a_named_origin_gets_the_numbers_with_calls_that_it_signs(
    page: Page,
    open_server: Deployment,
    descriptors: str,
    simulated: tuple[Mapping[str, Any], np.ndarray[Any, Any]],
    transport: str,
) -> None:
    found = await called(page, open_server, descriptors, signed_by(open_server), transport)
    check(found, simulated)
    assert page.log == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_a_named_origin_gets_the_numbers_with_the_loopback_token(
    page: Page,
    open_server: Deployment,
    descriptors: str,
    simulated: tuple[Mapping[str, Any], np.ndarray[Any, Any]],
    transport: str,
) -> None:
    check(await called(page, open_server, descriptors, by_token(open_server), transport), simulated)
    assert page.log == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_page_of_a_named_origin_is_told_why_it_is_refused(
    page: Page, open_server: Deployment, descriptors: str, transport: str
) -> None:
    found = await called(page, open_server, descriptors, signed_by(open_server, "ben"), transport)
    assert [(each["code"], each["message"], each["replies"]) for each in found] == [
        (UNAUTHENTICATED, "authentication failed", [])
    ] * len(CALLS)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_without_the_setting_the_browser_refuses_the_same_page(
    page: Page, closed_server: Deployment, descriptors: str, transport: str
) -> None:
    for who in (signed_by(closed_server), by_token(closed_server)):
        found = await called(page, closed_server, descriptors, who, transport)
        assert [(each["code"], each["replies"]) for each in found] == [(UNKNOWN, [])] * len(CALLS)
        assert all("fetch" in each["message"] for each in found), found
    assert sum("blocked by CORS policy" in line for line in page.log) == 2 * len(CALLS)
    # A call by no browser is recorded after all that came before it, and is the only one.
    service, method, message = CALLS[0]
    path, raw = f"/{service}/{method}", message.SerializeToString()
    headers = [*closed_server.caller().sign(path, raw), ("x-request-id", "the last")]
    async with RawClient(closed_server.address("asgi")) as client:
        assert (await exchange(client, path, [raw], headers)).status.ok
    await closed_server.trail.one("the last")
    assert len(closed_server.trail.records) == 1, "a call of the page has reached the server"


async def test_the_same_page_under_another_name_of_its_host_is_another_origin(
    site: int, open_server: Deployment, descriptors: str, tmp_path: Path
) -> None:
    async with opened(
        f"http://localhost:{site}/", tmp_path, flags=["--host-resolver-rules=MAP localhost 127.0.0.1"]
    ) as page:
        await page.until("typeof call === 'function'")
        found = await called(page, open_server, descriptors, signed_by(open_server))
        assert [(each["code"], each["replies"]) for each in found] == [(UNKNOWN, [])] * len(CALLS)
        assert any("blocked by CORS policy" in line for line in page.log)
