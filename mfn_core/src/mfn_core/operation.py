"""What can be called: operations, their four shapes, and the services that group them."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from mfn_core.call import Call
    from mfn_core.errors import FieldViolation
    from mfn_core.pages import Page

__all__ = ["Catalogue", "Handler", "Operation", "Service", "ServiceProvider", "Shape"]


class Shape(enum.Enum):
    """How many messages go each way."""

    UNARY = ("unary", False, False)
    """One request, one reply. Handler: `async (request, call) -> reply`."""
    SERVER_STREAM = ("server_stream", False, True)
    """One request, many replies. Handler: an async generator `(request, call)`."""
    CLIENT_STREAM = ("client_stream", True, False)
    """Many requests, one reply. Handler: `async (requests, call) -> reply`, requests an async iterator."""
    BIDI = ("bidi", True, True)
    """Many each way, independently. Handler: an async generator `(requests, call)`."""

    def __init__(self, label: str, client_streams: bool, server_streams: bool) -> None:
        self.label = label
        """The name in audit records and metrics."""
        self.client_streams = client_streams
        """Whether the client may send more than one message; such messages are not covered by a signature."""
        self.server_streams = server_streams
        """Whether the server may send more than one message."""


Handler = Callable[[Any, "Call"], Awaitable["Message"] | AsyncIterator["Message"]]
"""One of the four forms of `Shape`; the dispatcher knows which from the operation's shape."""


@frozen(kw_only=True)
class Operation:
    """One callable thing, the same on every transport."""

    service: str
    """Full name of its service: `mfn.v1.FieldService`."""
    method: str
    """Its name in the service: `Simulate`."""
    shape: Shape
    request_type: type[Message]
    response_type: type[Message]
    handler: Handler
    role: str = "read"
    """The role that a principal needs, unless `public`: `read`, `write` or `admin`."""
    public: bool = False
    """Callable without credentials, and outside every per-principal limit."""
    idempotent: bool = False
    """Repeating it has no further effect, so that a client may retry it."""
    deterministic: bool = False
    """The reply depends on the request alone; with `cache_key` it may be served from the result cache."""
    validate: Callable[[Any], Sequence[FieldViolation]] | None = None
    """Called with each decoded request message, after authentication and limits; what it returns becomes
    INVALID_ARGUMENT. It may raise an `MfnError` of its own instead."""
    cost: Callable[[Any], float] | None = None
    """Cell-steps that the request will cost, from the validated request; charged before the handler runs."""
    cache_key: Callable[[bytes], bytes | None] | None = None
    """The part of the raw request that determines the reply; None means: do not cache this one."""
    stamp: Callable[[bytes, bytes], bytes] | None = None
    """`(cached raw reply, raw request) -> raw reply` with this request's id in place of the first one's."""
    path: str = field(init=False)
    """`/package.Service/Method`: what is signed, on every RPC protocol."""

    names_request: bool = field(init=False)
    """Whether the request message has a `request_id` of its own."""

    @names_request.default
    def _names_request(self) -> bool:
        descriptor = getattr(self.request_type, "DESCRIPTOR", None)
        return descriptor is not None and "request_id" in descriptor.fields_by_name

    @path.default
    def _path(self) -> str:
        # What is called and does not exist may be of no service: `/favicon.ico`.
        return f"/{self.service}/{self.method}" if self.service else f"/{self.method}"


@frozen(kw_only=True)
class Service:
    """Operations under one full name, as a client's definition file groups them."""

    name: str
    operations: Sequence[Operation]


class Catalogue:
    """Every service of a server, for those that describe it, such as health and reflection."""

    def __init__(self) -> None:
        self.services: tuple[Service, ...] = ()
        """Filled in at assembly, after every factory has run and before anything starts."""
        self.pages: tuple[Page, ...] = ()
        """What components offer to be read over HTTP; filled in likewise."""


class ServiceProvider(Protocol):
    """What a service component's factory makes.

    It may have `async start()`, `async drain()` and `async stop()` too: `start` is called after the backends and
    before any transport; `drain` first of all when the server stops, while it still accepts calls, and returns at
    once; `stop` when the last call is over.
    """

    @property
    def services(self) -> Sequence[Service]:
        """The services to serve. Read once, at assembly."""
        ...
