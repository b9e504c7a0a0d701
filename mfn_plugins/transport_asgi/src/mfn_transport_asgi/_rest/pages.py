"""What is read over HTTP and is no call: health, the description of the operations, and what components offer.

Nothing of it needs credentials, and nothing of it is recorded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from types import MappingProxyType

from attrs import frozen

from mfn_core.dispatcher import Dispatcher
from mfn_core.pages import Page
from mfn_transport_asgi._asgi import Scope, Send, plain_reply

__all__ = ["DOCS", "OPENAPI", "Pages"]

_log = logging.getLogger(__name__)

OPENAPI = b"/openapi.json"
DOCS = b"/docs"

_JSON = b"application/json"
_TEXT = b"text/plain; charset=utf-8"
_STATIC: Mapping[bytes, tuple[str, bytes]] = MappingProxyType(
    {
        DOCS: ("docs.html", b"text/html; charset=utf-8"),
        b"/docs/docs.js": ("docs.js", b"text/javascript; charset=utf-8"),
        b"/docs/icon.svg": ("icon.svg", b"image/svg+xml"),
        b"/docs/docs.css": ("docs.css", b"text/css; charset=utf-8"),
    }
)
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    b"form-action 'none'; frame-ancestors 'none'"
)
_OF_DOCS = (
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)
_NOSNIFF = (b"x-content-type-options", b"nosniff")


@frozen(kw_only=True)
class _Content:
    body: bytes
    content_type: bytes
    status: int = 200
    keep: bool = False
    """Whether it stays the same, so that who has it need not be sent it again."""
    headers: Sequence[tuple[bytes, bytes]] = ()


_Read = Callable[[], Awaitable[_Content]]


class Pages:
    """The pages of one listener."""

    def __init__(
        self, dispatcher: Dispatcher, further: Iterable[Page], *, docs: bool, openapi: Callable[[], bytes]
    ) -> None:
        """Serve health, `further`, and where `docs` says so the description that `openapi` makes when it is first
        asked for."""
        self._dispatcher = dispatcher
        self._openapi = openapi
        self._began = time.monotonic()
        self._version = version("mfn-core")
        self._kept: dict[bytes, _Content] = {}
        self._readers: dict[bytes, _Read] = {
            b"/health": self._health,
            b"/livez": self._live,
            b"/readyz": self._ready,
        }
        if docs:
            self._readers[OPENAPI] = self._described
            for path in _STATIC:
                self._readers[path] = _static(path)
        for page in further:
            if page.path.encode() in self._readers:
                _log.error("the page %s is not served: there is one at that path already", page.path)
            else:
                self._readers[page.path.encode()] = _of_component(page)

    def has(self, path: bytes) -> bool:
        """Whether a path as it stands in the request is that of a page."""
        return path in self._readers

    async def answer(self, scope: Scope, send: Send) -> None:
        """Send a page to who asks for one that there is."""
        path: bytes = scope["raw_path"]
        if scope["method"] not in ("GET", "HEAD"):
            await plain_reply(send, 405, b"this is read with GET\n", [(b"allow", b"GET, HEAD"), _NOSNIFF])
            return
        content = self._kept.get(path)
        if content is None:
            content = await self._readers[path]()
            if content.keep:
                self._kept[path] = content
        headers = [*content.headers, _NOSNIFF]
        if content.keep:
            tag = b'"' + hashlib.sha256(content.body).hexdigest()[:32].encode() + b'"'
            headers += [(b"etag", tag), (b"cache-control", b"no-cache")]
            known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
            if tag in [each.strip().removeprefix(b"W/") for each in known.split(b",")]:
                await send({"type": "http.response.start", "status": 304, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        else:
            headers.append((b"cache-control", b"no-store"))
        headers += [(b"content-type", content.content_type), (b"content-length", b"%d" % len(content.body))]
        await send({"type": "http.response.start", "status": content.status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else content.body
        await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _health(self) -> _Content:
        draining = self._dispatcher.draining
        content = {
            "status": "draining" if draining else "healthy",
            "version": self._version,
            "uptime_seconds": int(time.monotonic() - self._began),
        }
        return _Content(body=json.dumps(content).encode(), content_type=_JSON, status=503 if draining else 200)

    async def _live(self) -> _Content:
        """The process answers: there is no reason to end it."""
        return _Content(body=b"ok\n", content_type=_TEXT)

    async def _ready(self) -> _Content:
        """Further calls may be sent here."""
        if self._dispatcher.draining:
            return _Content(body=b"draining\n", content_type=_TEXT, status=503)
        return _Content(body=b"ok\n", content_type=_TEXT)

    async def _described(self) -> _Content:
        return _Content(body=self._openapi(), content_type=_JSON, keep=True)


def _static(path: bytes) -> _Read:
    name, content_type = _STATIC[path]

    async def read() -> _Content:
        body = files("mfn_transport_asgi").joinpath("static", name).read_bytes()
        return _Content(body=body, content_type=content_type, keep=True, headers=_OF_DOCS)

    return read


def _of_component(page: Page) -> _Read:
    async def read() -> _Content:
        return _Content(body=await page.read(), content_type=page.content_type.encode())

    return read
