"""The live page: a few files of this package, served as they are, with a policy that lets in nothing else.

They hold nothing that is anybody's, so that asking for them is no call. What the page shows it asks for by calls.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType

from attrs import frozen

from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply

__all__ = ["PageProtocol"]

_FILES: Mapping[bytes, tuple[str, bytes]] = MappingProxyType(
    {
        b"/": ("index.html", b"text/html; charset=utf-8"),
        b"/live.js": ("live.js", b"text/javascript; charset=utf-8"),
        b"/live.css": ("live.css", b"text/css; charset=utf-8"),
        b"/icon.svg": ("icon.svg", b"image/svg+xml"),
    }
)

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-cache"),
)


@frozen
class _File:
    content: bytes
    headers: Sequence[tuple[bytes, bytes]]
    tag: bytes


class PageProtocol:
    """Answers GET and HEAD for the files of the page."""

    content_types: Sequence[bytes] = ()
    for_browsers = False
    """Pages of other origins have no use for it."""

    def __init__(self) -> None:
        """Read nothing yet."""
        self._files: dict[bytes, _File] = {}
        self.active = 0

    def start(self) -> None:
        """Read the files."""
        folder = files("mfn_transport_asgi").joinpath("static")
        for path, (name, content_type) in _FILES.items():
            content = folder.joinpath(name).read_bytes()
            tag = b'"' + hashlib.sha256(content).hexdigest()[:32].encode() + b'"'
            headers = (
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(content)),
                (b"etag", tag),
                *_HEADERS,
            )
            self._files[path] = _File(content, headers, tag)

    def stop(self) -> None:
        """Forget them."""
        self._files.clear()

    def claims(self, scope: Scope) -> bool:
        """A request for one of the files, whatever its query says."""
        return scope["raw_path"] in self._files

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or say that the browser has it already."""
        self.active += 1
        try:
            await self._answer(scope, send)
        except OSError:
            return  # who asked is gone
        finally:
            self.active -= 1

    async def _answer(self, scope: Scope, send: Send) -> None:
        file = self._files[scope["raw_path"]]
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await plain_reply(send, 405, b"the page is read with GET\n", [(b"allow", b"GET, HEAD")])
            return
        known = next((value for name, value in scope["headers"] if name == b"if-none-match"), b"")
        if file.tag in [each.strip().removeprefix(b"W/") for each in known.split(b",")]:
            headers = [pair for pair in file.headers if pair[0] not in (b"content-type", b"content-length")]
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        body = b"" if method == "HEAD" else file.content
        await send({"type": "http.response.start", "status": 200, "headers": list(file.headers)})
        await send({"type": "http.response.body", "body": body, "more_body": False})
