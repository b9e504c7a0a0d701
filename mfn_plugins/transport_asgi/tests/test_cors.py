"""Pages of other origins may call where the configuration names them, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import Client
from mfn_core import ConfigError
from mfn_core.config import decode
from mfn_transport_asgi._asgi import Receive, Scope, Send
from mfn_transport_asgi._cors import Cors
from mfn_transport_asgi._settings import AsgiSettings

PAGE = b"https://app.example.org"
Pair = tuple[bytes, bytes]


def rules(*origins: str, **settings: Any) -> Cors:
    return Cors(AsgiSettings(cors_origins=origins, **settings))


def scope(method: str, *headers: Pair) -> Scope:
    return {"type": "http", "method": method, "headers": list(headers)}


def asking(*further: Pair, origin: bytes = PAGE) -> Scope:
    return scope("OPTIONS", (b"origin", origin), (b"access-control-request-method", b"POST"), *further)


async def preflight(cors: Cors, asked: Scope) -> Client:
    client = Client([])
    answer = cors.preflight(asked, client.send)
    assert answer is not None
    await answer
    assert client.whole
    return client


async def called(cors: Cors, *headers: Pair) -> Mapping[bytes, bytes]:
    """The headers of a reply, as a page's browser sees them."""

    async def handle(scope: Scope, receive: Receive, send: Send) -> None:
        head = [(b"content-type", b"text/plain"), (b"x-result", b"1"), (b"trailer-x-cost", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": b"reply", "more_body": False})

    client = Client([])
    await cors.around(handle)(scope("POST", *headers), client.receive, client.send)
    assert (client.http, client.body) == (200, b"reply")
    return client.headers


async def test_nothing_is_allowed_unless_it_is_configured() -> None:
    for cors in (Cors(), rules()):
        client = await preflight(cors, asking())
        assert client.http == 403
        assert b"cors_origins" in client.body
        assert not any(name.startswith(b"access-control") for name in client.headers)
        headers = await called(cors, (b"origin", PAGE))
        assert not any(name.startswith(b"access-control") for name in headers)


async def test_a_named_origin_is_told_what_it_may_do() -> None:
    client = await preflight(
        rules(PAGE.decode(), cors_max_age=60),
        asking((b"access-control-request-headers", b"content-type,X-MFN-Key-Id, connect-protocol-version,x-grpc-web")),
    )
    assert client.http == 204
    assert client.headers[b"access-control-allow-origin"] == PAGE
    assert b"POST" in client.headers[b"access-control-allow-methods"]
    assert b"GET" in client.headers[b"access-control-allow-methods"]
    assert client.headers[b"access-control-allow-headers"] == (
        b"content-type, x-mfn-key-id, connect-protocol-version, x-grpc-web"
    )
    assert client.headers[b"access-control-max-age"] == b"60"
    assert client.headers[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in client.headers


@pytest.mark.parametrize(
    "origin",
    [b"https://other.example.org", b"http://app.example.org", b"https://app.example.org:8443", b"null", b"", b"*"],
)
async def test_another_origin_is_told_nothing(origin: bytes) -> None:
    cors = rules(PAGE.decode())
    assert (await preflight(cors, asking(origin=origin))).http == 403
    headers = await called(cors, (b"origin", origin))
    assert b"access-control-allow-origin" not in headers
    assert headers[b"vary"] == b"origin"


async def test_headers_that_are_nobodys_must_be_configured() -> None:
    asked = asking((b"access-control-request-headers", b"x-tenant, cookie, x-request-id"))
    client = await preflight(rules(PAGE.decode()), asked)
    assert client.headers[b"access-control-allow-headers"] == b"x-request-id"
    client = await preflight(rules(PAGE.decode(), cors_headers=("x-tenant",)), asked)
    assert client.headers[b"access-control-allow-headers"] == b"x-tenant, x-request-id"


async def test_a_page_may_read_the_status_and_all_that_a_reply_says() -> None:
    headers = await called(rules(PAGE.decode()), (b"origin", PAGE))
    assert headers[b"access-control-allow-origin"] == PAGE
    exposed = headers[b"access-control-expose-headers"].split(b", ")
    wanted = {b"grpc-status", b"grpc-message", b"grpc-status-details-bin", b"x-result", b"trailer-x-cost"}
    assert wanted <= set(exposed)


async def test_a_request_without_an_origin_is_answered_as_before_and_not_kept_for_pages() -> None:
    headers = await called(rules(PAGE.decode()))
    assert b"access-control-allow-origin" not in headers
    assert headers[b"vary"] == b"origin"


async def test_any_origin_is_told_so_where_the_configuration_says_it_twice() -> None:
    cors = rules("*", cors_any_origin=True)
    client = await preflight(cors, asking(origin=b"https://anyone.example"))
    assert client.headers[b"access-control-allow-origin"] == b"*"
    assert b"vary" not in client.headers
    assert (await called(cors, (b"origin", b"null")))[b"access-control-allow-origin"] == b"*"


@pytest.mark.parametrize(
    "asked",
    [
        scope("OPTIONS"),
        scope("OPTIONS", (b"origin", PAGE)),
        scope("OPTIONS", (b"access-control-request-method", b"POST")),
        scope("POST", (b"origin", PAGE), (b"access-control-request-method", b"POST")),
    ],
)
def test_what_is_no_preflight_is_not_answered_as_one(asked: Scope) -> None:
    assert rules(PAGE.decode()).preflight(asked, Client([]).send) is None


def problems(table: dict[str, Any], directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        decode(AsgiSettings, table, "transports.asgi", directory)
    return [f"{problem.path}: {problem.message}" for problem in refused.value.problems]


def test_every_origin_needs_a_setting_of_its_own(tmp_path: Path) -> None:
    (problem,) = problems({"cors_origins": ["*"]}, tmp_path)
    assert "set cors_any_origin = true" in problem
    assert decode(AsgiSettings, {"cors_origins": ["*"], "cors_any_origin": True}, "", tmp_path).cors_origins == ("*",)


@pytest.mark.parametrize(
    "origin",
    [
        "app.example.org",
        "https://app.example.org/",
        "https://app.example.org/page",
        "https://App.example.org",
        "https://*.example.org",
        "null",
        "",
        "https://",
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused(origin: str, tmp_path: Path) -> None:
    (problem,) = problems({"cors_origins": [origin]}, tmp_path)
    assert "an origin as browsers send it" in problem


@pytest.mark.parametrize("origin", ["http://localhost:5173", "https://[::1]:8443", "app-scheme://bundle"])
def test_what_browsers_send_as_an_origin_is_taken(origin: str, tmp_path: Path) -> None:
    assert decode(AsgiSettings, {"cors_origins": [origin]}, "", tmp_path).cors_origins == (origin,)
