"""One call in flight, on any transport, in any shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mfn_core.errors import Code, MfnError

if TYPE_CHECKING:
    from mfn_core.operation import Operation

__all__ = ["Allowance", "Call", "CallId", "Cancellation", "Metadata", "Peer", "Principal", "Request"]

CallId = str
"""24 lower-case hex characters: eight of time, four of process, twelve of sequence and chance."""


@frozen(kw_only=True)
class Peer:
    """Who is at the other end of the connection, as far as the transport can tell."""

    address: str
    """`127.0.0.1:40112`, `[::1]:40112`, `unix:` or `unknown`."""
    encrypted: bool = False
    """Whether the connection is TLS; what a client streams is trusted beyond loopback only then."""
    tls_identity: str | None = None
    """Subject of the verified client certificate; None without mutual TLS."""

    @property
    def is_local(self) -> bool:
        """Whether the other end is on this machine: a loopback address or a Unix socket."""
        host = self.address.rpartition(":")[0]
        return host.startswith(("127.", "unix")) or host in ("[::1]", "::1") or self.address.startswith("unix:")


@frozen(kw_only=True)
class Principal:
    """Who calls, as proved by an authenticator."""

    name: str
    """Stable name; limits and audit are by it."""
    roles: frozenset[str]
    """What it may do. `admin` includes `write`, which includes `read`."""
    key_id: str | None = None
    """Id of the credential that proved it, for the audit; never the credential."""
    method: str
    """Name of the authenticator: `hmac`, `anonymous`."""

    def has_role(self, role: str) -> bool:
        """Whether it holds the role or one that includes it."""
        if role in self.roles or "admin" in self.roles:
            return True
        return role == "read" and "write" in self.roles


class Metadata:
    """Key–value pairs beside the messages: lower-case keys, in order, keys may repeat.

    Values are text, except that keys which end in `-bin` hold bytes.
    """

    __slots__ = ("_first", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str | bytes]] = ()) -> None:
        self._pairs = tuple(pairs)
        # Of a key that repeats, the first value comes last and stays.
        self._first: dict[str, str | bytes] = dict(reversed(self._pairs))

    def get(self, key: str) -> str | None:
        """The first text value of the key, or None."""
        value = self._first.get(key)
        return value if isinstance(value, str) else None

    def get_first(self, keys: Iterable[str]) -> list[str | None]:
        """The first text value of each key, or None; for several keys sooner done than by `get`."""
        found = map(self._first.get, keys)
        return [value if value.__class__ is str else None for value in found]

    def get_bytes(self, key: str) -> bytes | None:
        """The first value of a `-bin` key, or None."""
        value = self._first.get(key)
        return value if isinstance(value, bytes) else None

    @property
    def repeats(self) -> bool:
        """Whether any key stands more than once."""
        return len(self._first) != len(self._pairs)

    def get_all(self, key: str) -> tuple[str | bytes, ...]:
        """Every value of the key, in order."""
        return tuple(value for name, value in self._pairs if name == key)

    def __iter__(self) -> Iterator[tuple[str, str | bytes]]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __repr__(self) -> str:
        # Values may be credentials: only the keys are shown.
        return f"Metadata({sorted({key for key, _ in self._pairs})})"


class Cancellation:
    """The call's cancel token: set by the event loop, read by compute threads.

    The deadline is looked at here as well as by the loop's timer, so that a loop which is late does not keep a
    compute thread busy.
    """

    __slots__ = ("_code", "deadline")

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        """On the clock of `time.monotonic`; None: none."""
        self._code: Code | None = None

    def is_set(self) -> bool:
        """Whether the call was aborted or its deadline has passed. Safe from any thread."""
        if self._code is not None:
            return True
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def aborted(self) -> bool:
        """Whether `set` was called."""
        return self._code is not None

    def set(self, code: Code) -> None:
        """Abort with this code; the first one stands, and a deadline that has passed came before."""
        if self._code is None:
            # The caller hangs up at its deadline too, and its word may overtake the loop's timer.
            late = self.deadline is not None and time.monotonic() >= self.deadline
            self._code = Code.DEADLINE_EXCEEDED if late else code

    @property
    def code(self) -> Code | None:
        """Why: CANCELLED, DEADLINE_EXCEEDED or UNAVAILABLE; None while the call is wanted."""
        if self._code is None and self.is_set():
            self._code = Code.DEADLINE_EXCEEDED
        return self._code


@frozen(kw_only=True)
class Request:
    """The one request message of a unary or server-streaming call, exactly as it came."""

    raw: bytes = b""
    """De-framed and decompressed; what a signature covers."""
    transcode: Callable[[bytes], bytes] | None = None
    """Makes a protobuf message of `raw` where that is something else, such as JSON. The dispatcher calls it once, after
    the call was let in: nothing is parsed before. It does so in a thread where `raw` is long. Raises `MfnError` for
    what cannot be one."""


@frozen(kw_only=True)
class Allowance:
    """What a limit on calls leaves to its caller."""

    policy: str
    """Name of the limit."""
    limit: int
    """Calls that may come at once."""
    remaining: int
    """Calls that may still come now."""
    window: float
    """Seconds in which an empty allowance fills up."""


_ABORT_TEXT = {
    Code.CANCELLED: "the call was cancelled by its caller",
    Code.DEADLINE_EXCEEDED: "the deadline of the call passed",
    Code.UNAVAILABLE: "the server is shutting down; retry with another one",
}


class Call:
    """All that is known of one call while it runs.

    Made by a transport, given to `Dispatcher.dispatch`, read by every step of the chain. One task runs the chain;
    `abort` may be called from any callback of the same event loop.
    """

    __slots__ = (
        "_charge",
        "_deliver",
        "_proved_by",
        "_signed_path",
        "_task",
        "allowance",
        "bytes_in",
        "bytes_out",
        "cancel",
        "cost",
        "decoded_request_id",
        "fault",
        "id",
        "inbound",
        "initial_metadata",
        "key_id",
        "messages_in",
        "messages_out",
        "metadata",
        "opened_by",
        "operation",
        "peer",
        "principal",
        "protocol",
        "reply",
        "request",
        "started",
        "started_at",
        "trailing_metadata",
        "transport",
    )

    def __init__(
        self,
        *,
        id: CallId,  # noqa: A002 - it is the call's id, and `call_id` on a Call would say it twice
        operation: Operation,
        transport: str,
        metadata: Metadata,
        peer: Peer,
        deadline: float | None = None,
        request: Request | None = None,
        inbound: AsyncIterator[bytes] | None = None,
        deliver: Callable[[bytes], Awaitable[None]] | None = None,
        fault: MfnError | None = None,
        protocol: str = "",
        signed_path: str | None = None,
        opened_by: Call | None = None,
    ) -> None:
        """Make a call.

        Args:
            id: from `Dispatcher.new_call_id`.
            operation: what is called.
            transport: the transport's name in the configuration: `grpc`, `asgi/public`.
            metadata: what came before the first message.
            peer: the other end.
            deadline: on the clock of `time.monotonic`.
            request: for shapes where the client sends one message: that message.
            inbound: for shapes where the client streams: its raw messages, ending when the client half-closes.
            deliver: for shapes where the server streams: sends one raw message and returns when there is room for
                the next, so that a slow reader slows the producer.
            fault: what the transport found wrong with the call before it could be read, such as an oversized
                message. The chain raises it after the audit has begun and before anything else.
            protocol: what is spoken, for the audit: `grpc`, `connect`, `rest`. A transport with one protocol may
                leave it out.
            signed_path: what a signature covers in place of the operation's path; None: that path. On REST and
                WebSocket it is `METHOD SP path?query`.
            opened_by: the call that proved who is at the other end of this call's connection, where one proof stands
                for all that is said on it, as on a WebSocket. This call has its principal.
        """
        self.id = id
        self.operation = operation
        self.transport = transport
        self.metadata = metadata
        self.peer = peer
        self.request = request
        self.inbound = inbound
        self.fault = fault
        self.protocol = protocol
        self._signed_path = signed_path
        self.opened_by = opened_by
        self.cancel = Cancellation(deadline)
        self.principal: Principal | None = None
        self.key_id: str | None = None
        """Id of the credential that the caller claims; set by an authenticator before it has proved anything."""
        self.started = time.monotonic()
        self.started_at = time.time()
        self.reply: bytes | None = None
        """The raw reply of a shape with one reply, held until the chain has returned."""
        self.initial_metadata: list[tuple[str, str | bytes]] = []
        """Sent before the first message; a handler appends to it before it yields or returns."""
        self.trailing_metadata: list[tuple[str, str | bytes]] = []
        """Sent with the final status."""
        self.cost = 0.0
        """Cell-steps charged to the call so far."""
        self.decoded_request_id: str | None = None
        """The request message's own id; until that is read, what the transport has put here."""
        self.allowance: Callable[[], Allowance] | None = None
        """Tells what is left to the caller; set by a limiter, asked by transports that tell callers."""
        self.messages_in = 0 if request is None else 1
        self.bytes_in = 0 if request is None else len(request.raw)
        self.messages_out = 0
        self.bytes_out = 0
        self._charge: Callable[[Call, float], Awaitable[None]] | None = None
        self._deliver = deliver
        self._proved_by: object = None  # the authenticator, asked again where this call has opened a connection
        self._task: asyncio.Task[Any] | None = None

    @property
    def deadline(self) -> float | None:
        """On the clock of `time.monotonic`; None: none."""
        return self.cancel.deadline

    @property
    def signed_path(self) -> str:
        """What a signature of this call covers as its path."""
        return self.operation.path if self._signed_path is None else self._signed_path

    @property
    def request_id(self) -> str | None:
        """The caller's own id of the call: metadata `x-request-id`, else the request's `request_id`."""
        return self.metadata.get("x-request-id") or self.decoded_request_id

    async def send(self, message: bytes) -> None:
        """Send one raw reply message.

        Where the server streams, returns when the transport has room for the next. Where it does not, the message
        is held and reaches the transport only after the whole chain has returned.
        """
        self.messages_out += 1
        self.bytes_out += len(message)
        if self._deliver is None:
            self.reply = message
        else:
            await self._deliver(message)

    async def charge(self, cost: float) -> None:
        """Charge `cost` cell-steps to the caller, before the work is done.

        The dispatcher does so for an operation with a `cost`; a handler whose requests are streamed does it itself,
        as it learns what they will cost.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, when a limit on cell-steps is used up.
        """
        self.cost += cost
        if self._charge is not None:
            await self._charge(self, cost)

    def abort(self, code: Code = Code.CANCELLED) -> None:
        """End the call early: sets the cancel token and interrupts whatever the chain awaits.

        Called by the transport when the client cancels or disconnects, by the deadline's timer, and at the end of
        a drain. Does nothing once the call is over; safe to call twice: the first code stands.
        """
        if self._task is None or self.cancel.aborted:
            return
        self.cancel.set(code)
        self._task.cancel()

    def aborted(self) -> MfnError:
        """The error that an aborted call ends with."""
        code = self.cancel.code or Code.CANCELLED
        return MfnError(code, _ABORT_TEXT[code])

    # The dispatcher's side of `abort`.

    def _begin(self, task: asyncio.Task[Any], charge: Callable[[Call, float], Awaitable[None]] | None) -> None:
        self._task = task
        self._charge = charge

    def _absorb(self) -> MfnError:
        """Turn the cancellation of the task into the call's own error, so that the chain may still await."""
        if not self.cancel.is_set():  # a transport's own timer may strike first, at the same deadline
            self.cancel.set(Code.CANCELLED)
        task = self._task
        if task is not None:
            while task.cancelling():
                task.uncancel()
        return self.aborted()

    def _end(self) -> asyncio.Task[Any] | None:
        task, self._task = self._task, None
        return task
