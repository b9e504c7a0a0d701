"""A request that comes on one event loop and is answered on another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mfn_asgi_parts.by_hand import DISCONNECT, Client, body
from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply
from mfn_transport_asgi._envoy.crossing import answer

SCOPE: Mapping[str, Any] = {"type": "http"}


@asynccontextmanager
async def another_loop() -> AsyncIterator[asyncio.AbstractEventLoop]:
    """A loop on a thread of its own: where the server lives."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.to_thread(thread.join)
        loop.close()


class Echo:
    """Answers each piece as it comes, and keeps on which loop it does."""

    loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def test_it_is_answered_on_the_servers_loop_in_order() -> None:
    pieces = [body(b"%d " % number, more=number < 49) for number in range(50)]
    client, echo = Client(pieces), Echo()
    async with asyncio.timeout(10), another_loop() as home:
        await answer(SCOPE, client.receive, client.send, home=home, application=echo)
        assert echo.loop is home
    assert client.whole
    assert client.body == b"".join(b"%d " % number for number in range(50))


async def test_a_client_that_leaves_is_told_of() -> None:
    client, echo = Client([body(b"1", more=True), DISCONNECT]), Echo()
    async with asyncio.timeout(10), another_loop() as home:
        await answer(SCOPE, client.receive, client.send, home=home, application=echo)
    assert client.body == b"1"


async def test_a_send_that_fails_fails_where_it_was_asked_for() -> None:
    client = Client([body(b"1")], sends_fail=True)
    failed: list[BaseException] = []

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError as gone:
            failed.append(gone)

    async with asyncio.timeout(10), another_loop() as home:
        await answer(SCOPE, client.receive, client.send, home=home, application=application)
    assert [str(each) for each in failed] == ["the client is gone"]


async def test_what_the_application_raises_is_raised_to_the_listener() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("a defect")

    client = Client([body(b"")])
    async with asyncio.timeout(10), another_loop() as home:
        with pytest.raises(RuntimeError, match="a defect"):
            await answer(SCOPE, client.receive, client.send, home=home, application=application)


async def test_while_there_is_no_server_it_is_refused() -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await plain_reply(send, 200, b"")

    client = Client([body(b"")])
    await answer(SCOPE, client.receive, client.send, home=None, application=application)
    assert client.http == 503
