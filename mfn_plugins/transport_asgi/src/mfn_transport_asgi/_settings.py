"""The `[transports.asgi]` table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from mfn_core.config import between, each, listen_address, matches, setting
from mfn_grpc import REFLECTION_HELP, ReflectionMode
from mfn_transport_asgi._websocket.settings import WebSocketSettings

__all__ = ["AsgiSettings", "Server", "TlsSettings"]

Server = Literal["pyvoy", "uvicorn", "mounted"]
"""`mounted`: the one that runs what `mfn_transport_asgi.create_app` gives."""

_ORIGIN = r"\*|[a-z][a-z0-9+.-]*://[a-z0-9_.-]+(:[0-9]{1,5})?|[a-z][a-z0-9+.-]*://\[[0-9a-f:.]+\](:[0-9]{1,5})?"
"""Scheme, host and port, in lower case and without a path."""


@frozen(kw_only=True)
class TlsSettings:
    """The `[transports.asgi.tls]` table. Nothing older than TLS 1.3 is spoken.

    The files are read by Envoy, by name: their content is in no configuration, log or error.
    """

    certificate: Path = setting(help="PEM file of the server's certificate, followed by its intermediates")
    key: Path = setting(help="PEM file of the certificate's private key, not encrypted")
    client_ca: Path | None = setting(
        default=None,
        help="PEM file of the authorities whose client certificates are demanded; unset: none is asked for",
    )


@frozen(kw_only=True)
class AsgiSettings:
    """One listener of the ASGI transport.

    Raises:
        ValueError: a value is out of its bounds.
    """

    server: Server = setting(
        default="pyvoy",
        help="what serves the listener: Envoy with Python inside, uvicorn, or your own server, which mounts this one",
        validator=None,
    )
    listen: str = setting(
        default="127.0.0.1:8080", help="host:port to listen on; port 0 asks for a free one", validator=listen_address
    )
    tls: TlsSettings | None = setting(default=None, help="certificate and key; unset: plain text")
    http3: bool = setting(
        default=False,
        help='whether HTTP/3 is served too, at the UDP port of the same number; needs tls, and server = "pyvoy"',
    )
    max_message_bytes: int = setting(
        default=16 * 1024 * 1024,
        help="largest message that is taken, once decompressed",
        unit="bytes",
        validator=between(1024, 1 << 30),
    )
    max_concurrent_streams: int = setting(
        default=1000, help="calls in flight on one connection; further ones wait", validator=between(1, 1_000_000)
    )
    max_header_bytes: int = setting(
        default=32 * 1024,
        help="largest metadata of a call, rounded up to whole KiB; more ends the call, twice as much its connection",
        unit="bytes",
        validator=between(1024, 1 << 20),
    )
    max_connections: int = setting(
        default=10_000,
        help="connections of a worker; further ones are closed at once",
        validator=between(1, 1_000_000),
    )
    receive_seconds: float = setting(
        default=60.0,
        help="time that a client has to send the one message of a call that does not stream",
        unit="seconds",
        validator=between(0.1, 3600.0),
    )
    compress_from_bytes: int = setting(
        default=0,
        help="replies of at least this size are compressed where the client accepts it; 0: never",
        unit="bytes",
        validator=between(0, 1 << 30),
    )
    cors_origins: tuple[str, ...] = setting(
        default=(),
        help='origins whose pages may call from a browser, such as "https://app.example.org"; "*" with cors_any_origin',
        validator=each(matches(_ORIGIN, 'an origin as browsers send it, such as "https://app.example.org", or "*"')),
    )
    cors_any_origin: bool = setting(
        default=False, help='whether cors_origins may be "*": pages of every origin may call'
    )
    cors_headers: tuple[str, ...] = setting(
        default=(),
        help="request headers that such pages may send beside those of the protocols: keys of metadata",
        validator=each(matches(r"[0-9a-z_.-]+", "a header's name in lower case")),
    )
    cors_max_age: int = setting(
        default=7200,
        help="time for which a browser need not ask again whether it may call",
        unit="seconds",
        validator=between(0, 86_400),
    )
    reflection: ReflectionMode = setting(default="auto", help=REFLECTION_HELP)
    websocket: WebSocketSettings = setting(factory=WebSocketSettings, help="WebSockets, and what bounds them")
    heartbeat_seconds: float = setting(
        default=15.0,
        help="silence after which a stream of server-sent events is kept alive by a comment",
        unit="seconds",
        validator=between(0.01, 3600.0),
    )
    docs: bool = setting(
        default=True, help="whether /openapi.json and the page /docs are served; they need no credentials"
    )
    page: bool = setting(default=True, help="whether the live page is served at /")
    loop: Literal["asyncio", "uvloop"] = setting(default="uvloop", help="event loop of the worker", validator=None)

    def __attrs_post_init__(self) -> None:
        """Check what no setting tells by itself."""
        if "*" in self.cors_origins and not self.cors_any_origin:
            raise ValueError('cors_origins has "*": name the origins, or set cors_any_origin = true')

    @property
    def encrypted(self) -> bool:
        """Whether TLS is configured. Where the server is another's, each request is asked whether it came over TLS."""
        return self.tls is not None or self.server == "mounted"

    @property
    def identifies(self) -> bool:
        """Whether the listener verifies client certificates, so that what it says of them can be believed."""
        return self.server == "mounted" or (self.tls is not None and self.tls.client_ca is not None)
