"""Calls in any shape on any transport, signed or not."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Sequence

from attrs import field, frozen
from google.protobuf.message import Message

from mfn_client.raw import RawClient, RawStatus
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

__all__ = ["Caller", "Ended", "Header", "exchange", "new_id"]

Header = tuple[str, str]


def new_id() -> str:
    """A request id that no other call has: the trail is searched by it."""
    return uuid.uuid4().hex


@frozen(kw_only=True)
class Caller:
    """One key, and the nonces of one client."""

    credentials: Credentials
    nonces: WindowedNonceSource = field(factory=WindowedNonceSource)

    def sign(
        self, path: str, body: bytes | None, *, nonce: str | None = None, timestamp: int | None = None
    ) -> list[Header]:
        """The headers of one call; `body` is None where the client streams its requests."""
        return list(
            sign_headers(
                self.credentials,
                path,
                body,
                timestamp=int(time.time()) if timestamp is None else timestamp,
                nonce=nonce or self.nonces.next(),
            )
        )

    def headers(self, path: str, message: Message | None, *, request_id: str | None = None) -> list[Header]:
        """The signature of one call, and the id under which the trail has it."""
        signed = self.sign(path, None if message is None else message.SerializeToString())
        return [*signed, ("x-request-id", request_id)] if request_id is not None else signed


@frozen(kw_only=True)
class Ended:
    """How a call ended, and what came before that."""

    status: RawStatus
    replies: tuple[bytes, ...]

    @property
    def code(self) -> str:
        """Name of the canonical code."""
        return self.status.code


async def exchange(
    client: RawClient,
    path: str,
    messages: Sequence[bytes],
    metadata: Iterable[Header] = (),
    *,
    timeout: float | None = 60.0,  # noqa: ASYNC109 - the call's deadline, which the server is told
) -> Ended:
    """Send everything, half-close, and take everything: the same for all four shapes, which the wire does not tell
    apart."""
    async with client.open(path, metadata=tuple(metadata), timeout=timeout) as call:
        for message in messages:
            if not await call.send(message):
                break
        await call.half_close()
        replies = []
        while (reply := await call.receive()) is not None:
            replies.append(reply)
        return Ended(status=await call.status(), replies=tuple(replies))
