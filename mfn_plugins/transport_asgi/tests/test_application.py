"""Which protocol a request goes to."""

from __future__ import annotations

import pytest

from mfn_asgi_parts.by_hand import Client
from mfn_transport_asgi._application import Application
from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply
from mfn_transport_asgi._cors import Cors
from mfn_transport_asgi._settings import AsgiSettings

PAGE = (b"origin", b"https://app.example.org")


class Named:
    """A protocol that answers with its own name."""

    active = 0

    def __init__(self, name: str, *content_types: bytes, claimed: bytes = b"", for_browsers: bool = True) -> None:
        self.name = name
        self.content_types = content_types
        self.for_browsers = for_browsers
        self._claimed = claimed

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def claims(self, scope: Scope) -> bool:
        return self._claimed != b"" and self._claimed in scope["query_string"]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await plain_reply(send, 200, self.name.encode())


async def asked(
    application: Application, *headers: tuple[bytes, bytes], method: str = "POST", query: bytes = b""
) -> Client:
    client = Client([])
    scope = {"type": "http", "method": method, "headers": list(headers), "query_string": query}
    await application(scope, client.receive, client.send)
    assert client.whole
    return client


@pytest.fixture
def application() -> Application:
    application = Application()
    application.cors = Cors(AsgiSettings(cors_origins=("https://app.example.org",)))
    application.speak(Named("one", b"application/one", claimed=b"both", for_browsers=False))
    application.speak(Named("two", b"application/two", b"application/two+x", claimed=b"t"))
    return application


async def test_the_content_type_decides_first(application: Application) -> None:
    for content_type, name in (
        (b"application/one", b"one"),
        (b"application/two", b"two"),
        (b"application/two+x", b"two"),
        (b"Application/ONE ; charset=utf-8", b"one"),
    ):
        assert (await asked(application, (b"content-type", content_type), query=b"both")).body == name


async def test_then_the_first_that_claims_the_request(application: Application) -> None:
    assert (await asked(application, query=b"both")).body == b"one"
    assert (await asked(application, (b"content-type", b"text/plain"), query=b"t")).body == b"two"


async def test_what_nobody_claims_is_of_an_unsupported_type(application: Application) -> None:
    client = await asked(application, (b"content-type", b"text/plain"))
    assert client.http == 415


async def test_a_preflight_is_answered_before_anybody_is_asked(application: Application) -> None:
    client = await asked(
        application, PAGE, (b"access-control-request-method", b"POST"), method="OPTIONS", query=b"both"
    )
    assert client.http == 204
    assert client.headers[b"access-control-allow-origin"] == PAGE[1]


async def test_only_what_browsers_speak_is_shared_with_pages(application: Application) -> None:
    client = await asked(application, PAGE, (b"content-type", b"application/two"))
    assert client.headers[b"access-control-allow-origin"] == PAGE[1]
    client = await asked(application, PAGE, (b"content-type", b"application/one"))
    assert b"access-control-allow-origin" not in client.headers


async def test_a_protocol_that_was_taken_away_gets_nothing_more(application: Application) -> None:
    third = Named("three", b"application/three", claimed=b"3")
    application.speak(third)
    assert (await asked(application, (b"content-type", b"application/three"))).body == b"three"
    application.fall_silent(third)
    assert (await asked(application, (b"content-type", b"application/three"))).http == 415
    assert (await asked(application, query=b"3")).http == 415
