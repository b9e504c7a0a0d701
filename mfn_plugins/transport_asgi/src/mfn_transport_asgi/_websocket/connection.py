"""The life of one WebSocket: opened, authenticated, spoken on, kept alive, closed.

Every message is a JSON object `{type, stream_id?, timestamp?, payload?}`; binary ones come from the server alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from mfn_core.dispatcher import Outcome
from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._json.codec import read_text
from mfn_transport_asgi._websocket.door import Door, Visitor
from mfn_transport_asgi._websocket.outbox import Outbox
from mfn_transport_asgi._websocket.status import AUTH_CODES, failure

if TYPE_CHECKING:
    from mfn_transport_asgi._websocket.link import Link
    from mfn_transport_asgi._websocket.settings import WebSocketSettings

__all__ = ["PROTOCOL_VERSION", "Connection", "Incoming", "Talk"]

_log = logging.getLogger(__name__)

PROTOCOL_VERSION = "1.0"
CLOSING_SECONDS = 2.0
"""Time that a client has to be sent what is left, and to answer the closing handshake."""

_BEGINNINGS = ("subscribe", "start", "resume_session")
"""What begins a call, on any path."""

NORMAL, GOING_AWAY, NOT_TEXT, NOT_JSON, POLICY, TRY_LATER = 1000, 1001, 1003, 1007, 1008, 1013
"""Closing codes of RFC 6455, section 7.4."""


@frozen
class Incoming:
    """One message of the client."""

    type: str
    stream_id: str | None
    payload: Mapping[str, Any]
    sequence: Any = None


class Talk(Protocol):
    """What is spoken of on one path, once the client is known."""

    async def take(self, message: Incoming) -> bool:
        """Carry out a message; false when it is not known here."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a call is in flight."""
        ...

    async def close(self) -> None:
        """Abort every call, and wait until the last is over."""
        ...


class _EndError(Exception):
    """The connection is to be closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """One socket, on the server's own loop."""

    def __init__(self, link: Link, door: Door, settings: WebSocketSettings, talk: Callable[[Connection], Talk]) -> None:
        """Serve what `link` carries; `talk` makes what is spoken of on its path."""
        self.link = link
        self.door = door
        self.settings = settings
        self.visitor = Visitor(link.scope, door.identifies)
        self.outbox = Outbox(link.send)
        self._talk = talk(self)
        self._greeted = False
        self._heard = time.monotonic()
        self._proved = 0.0
        self._leaving = asyncio.Event()
        self._ended = False

    def tell(self, kind: str, payload: Mapping[str, Any] | None = None, *, stream_id: str | None = None) -> None:
        """Answer."""
        if not self.outbox.answer(self.message(kind, payload, stream_id=stream_id)):
            raise _EndError(POLICY, "answers are not read")

    @staticmethod
    def message(kind: str, payload: Mapping[str, Any] | None = None, *, stream_id: str | None = None) -> str:
        """A message of the server as text."""
        now = int(time.time() * 1000)
        content: dict[str, Any] = {"type": kind}
        if stream_id is not None:
            content["stream_id"] = stream_id
        content["timestamp"] = now
        if payload is not None:
            own = {} if stream_id is None else {"stream_id": stream_id}
            content["payload"] = {**own, **payload, "timestamp": now}
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    def leave(self) -> None:
        """The server goes: no stream is begun any more, and the socket is closed when the last is over."""
        self._leaving.set()

    async def run(self) -> None:
        """Serve until either side closes."""
        end = _EndError(NORMAL, "")
        try:
            await self.link.accept()
            end = await self._until_the_end()
        except OSError as broken:
            _log.debug("a socket broke: %r", broken)
        finally:
            await self._talk.close()
            self.door.leave(self.visitor)
            await self.link.close(end.code, end.reason, patience=CLOSING_SECONDS)

    async def _until_the_end(self) -> _EndError:
        """Listen, send and keep alive; why this ended."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._listen(), self.outbox.run(), self._keep_alive(), self._depart())
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            ended = next(each for each in tasks if each.done())
            failed = ended.exception()
            if isinstance(failed, _EndError):
                await self._talk.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSING_SECONDS):
                        await self._sent_all(tasks[1])
                return failed
            if failed is not None:
                raise failed
            return _EndError(NORMAL, "")
        finally:
            self._ended = True  # a call that is being dispatched takes a cancellation for its own
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _sent_all(self, sender: asyncio.Task[None]) -> None:
        """Wait for what is left to be sent, or for the connection to break."""
        flushed = asyncio.create_task(self.outbox.flushed())
        try:
            await asyncio.wait([flushed, sender], return_when=asyncio.FIRST_COMPLETED)
        finally:
            flushed.cancel()
            await asyncio.gather(flushed, return_exceptions=True)

    async def _depart(self) -> None:
        await self._leaving.wait()
        while self._talk.busy:  # noqa: ASYNC110 - the calls themselves are waited for elsewhere
            await asyncio.sleep(0.02)
        raise _EndError(GOING_AWAY, "the server is shutting down")

    async def _keep_alive(self) -> None:
        settings = self.settings
        opened = time.monotonic()
        beat = opened + settings.heartbeat_seconds
        while True:
            now = time.monotonic()
            if self.visitor.opening is None and now - opened >= settings.opening_seconds:
                self._refuse("NOT_AUTHENTICATED", f"send auth within {settings.opening_seconds:g} s")
                raise _EndError(POLICY, "not authenticated in time")
            if now - self._heard >= settings.silence_seconds:
                raise _EndError(POLICY, "no answer to heartbeats")
            if now >= beat:
                beat = now + settings.heartbeat_seconds
                self.tell("heartbeat", {})
            due = [beat, self._heard + settings.silence_seconds]
            if self.visitor.opening is None:
                due.append(opened + settings.opening_seconds)
            await asyncio.sleep(max(0.0, min(due) - now))

    async def _listen(self) -> None:
        while not self._ended:
            raw = await self.link.receive()
            if raw is None:
                return
            self._heard = time.monotonic()
            await self._take(self._parsed(raw))

    def _parsed(self, raw: str | bytes) -> Incoming:
        if isinstance(raw, bytes):
            self._refuse("INIT_FAILED", "messages of a client are text")
            raise _EndError(NOT_TEXT, "not text")
        try:
            content = read_text(raw)
        except MfnError as repeated:
            self._refuse("INIT_FAILED", repeated.message)
            raise _EndError(NOT_JSON, "a key stands twice") from repeated
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict) or not isinstance(content.get("type"), str):
            self._refuse("INIT_FAILED", "the message is no JSON object with a type")
            raise _EndError(NOT_JSON, "not a message")
        payload = content.get("payload")
        if not isinstance(payload, dict):
            payload = {}
        named = content.get("stream_id", payload.get("stream_id"))
        stream_id = named if isinstance(named, str) else None
        return Incoming(content["type"], stream_id, payload, content.get("sequence"))

    async def _take(self, message: Incoming) -> None:
        match message.type:
            case "init":
                await self._init(message)
            case "pong":
                pass
            case "close":
                raise _EndError(NORMAL, "closed by the client")
            case _ if not self._greeted:
                self._refuse("INIT_FAILED", "send init first")
            case "auth":
                await self._authenticate(message.payload)
            case _:
                if await self._known():
                    if self._leaving.is_set() and message.type in _BEGINNINGS:
                        self._refuse("SUBSCRIBE_ERROR", "the server is shutting down; connect anew", message.stream_id)
                    elif not await self._talk.take(message):
                        self._refuse("SUBSCRIBE_FAILED", f"unknown type {message.type[:64]!r}", message.stream_id)

    async def _init(self, message: Incoming) -> None:
        version = message.payload.get("protocol_version")
        if version != PROTOCOL_VERSION:
            self._refuse("INIT_FAILED", f"protocol_version must be {PROTOCOL_VERSION!r}")
            raise _EndError(POLICY, "another version of the protocol")
        self._greeted = True
        self.tell("init", {"protocol_version": PROTOCOL_VERSION})
        if self.visitor.shows_credentials:
            await self._authenticate(None)

    async def _authenticate(self, shown: Mapping[str, Any] | None) -> None:
        outcome = await self.door.open(self.visitor, shown)
        if outcome.code is Code.OK:
            self._proved = time.monotonic()
            self.tell("auth_success", {})
            return
        self.tell("auth_failed", failure(AUTH_CODES[outcome.code], outcome))
        # One try a connection: who guesses pays for each guess.
        raise _EndError(TRY_LATER if AUTH_CODES[outcome.code] == "AUTH_ERROR" else POLICY, "not authenticated")

    async def _known(self) -> bool:
        """Whether the client may ask for something; without any credentials it is asked for here, once."""
        if self.visitor.opening is None:
            outcome = await self.door.open(self.visitor, None)
            if outcome.code is not Code.OK:
                code = AUTH_CODES[outcome.code]
                self.tell("error", failure("NOT_AUTHENTICATED" if code == "AUTH_FAILED" else code, outcome))
                return False
            self._proved = time.monotonic()
        elif time.monotonic() - self._proved > self.settings.trusted_seconds:
            self._refuse("NOT_AUTHENTICATED", "the proof of who you are is too old; send auth again")
            return False
        return True

    def _refuse(self, code: str, text: str, stream_id: str | None = None) -> None:
        outcome = Outcome(code=_CODES.get(code, Code.INVALID_ARGUMENT), message=text)
        self.tell("error", failure(code, outcome), stream_id=stream_id)


_CODES = {"NOT_AUTHENTICATED": Code.UNAUTHENTICATED, "SUBSCRIBE_ERROR": Code.UNAVAILABLE}
