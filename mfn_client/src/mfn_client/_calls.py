"""Signed calls: what the typed methods ask for, and the raw client carries out, attempt by attempt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from mfn_client._attempts import Attempts, Retrying
from mfn_client._status import MetadataPairs, RpcFailed
from mfn_client.errors import broken_contract, closing_translated, from_status
from mfn_client.raw import RawCall, RawClient
from mfn_client.streams import ReplyStream
from mfn_client.timeouts import ClientTimeout, Timeout, checked_timeout
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

__all__ = ["SignedCalls"]

T = TypeVar("T")

REQUEST_ID_KEY = "x-request-id"


class SignedCalls:
    """The calls of one client. Headers are made afresh for each attempt, and with one nonce source for all of them."""

    def __init__(
        self,
        raw: RawClient,
        credentials: Credentials | None,
        *,
        timeout: float | None,
        retrying: Retrying,
    ) -> None:
        """Make calls of `raw`.

        Args:
            raw: the channel; opened and closed by whoever made it.
            credentials: what to sign with; None: nothing is signed.
            timeout: what `CLIENT_TIMEOUT` stands for, seconds.
            retrying: the pace and the budget of further attempts.
        """
        self._raw = raw
        self._credentials = credentials
        self._nonces = WindowedNonceSource()
        self._retrying = retrying
        self.timeout = timeout

    def headers(self, method: str, body: bytes | None) -> MetadataPairs:
        """Metadata of one attempt at this moment; never used for a second one, whose nonce would be a replay.

        Args:
            method: `/package.Service/Method`.
            body: the encoded request; None where the client streams requests, which a signature does not cover.
        """
        if self._credentials is None:
            return ()
        return sign_headers(self._credentials, method, body, timestamp=int(time.time()), nonce=self._nonces.next())

    def seconds(self, timeout: Timeout) -> float | None:
        """What a method was given as `timeout`, in seconds.

        Raises:
            ValueError: it is not positive and finite.
        """
        return self.timeout if isinstance(timeout, ClientTimeout) else checked_timeout(timeout)

    def attempts(
        self,
        method: str,
        request_id: str,
        timeout: float | None,
        *,
        idempotent: bool = True,
        retrying: Retrying | None = None,
    ) -> Attempts:
        """Begin a call, with the client's pace and budget unless `retrying` is given.

        Raises:
            RuntimeError: the client is not open.
        """
        return Attempts(
            self._raw.link,
            self._retrying if retrying is None else retrying,
            method=method,
            request_id=request_id,
            timeout=timeout,
            idempotent=idempotent,
        )

    async def unary(
        self,
        method: str,
        message: bytes,
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: Timeout,  # noqa: ASYNC109 - the call's deadline, which the server is told
        signed: bool = True,
        id_in_metadata: bool = False,
    ) -> T:
        """One message each way, to an idempotent operation.

        Args:
            method: `/package.Service/Method`.
            message: the encoded request.
            decode: the result in a reply; ValueError where it breaks the contract.
            request_id: for errors, and what a result with a `request_id` must echo.
            timeout: for all attempts together.
            signed: False for an operation that is public on every server.
            id_in_metadata: send `request_id` as metadata, for messages that have no room for it.

        Raises:
            ValueError: `request_id` cannot travel as metadata.
        """
        named = _in_metadata(request_id) if id_in_metadata else ()
        attempts = self.attempts(method, request_id, self.seconds(timeout))
        while True:
            left = await attempts.begin()
            headers = (*(self.headers(method, message) if signed else ()), *named)
            try:
                with closing_translated(method, request_id):
                    reply = await self._raw.unary(method, message, metadata=headers, timeout=left)
            except RpcFailed as failed:
                if await attempts.again(failed.status):
                    continue
                raise from_status(failed.status, method, request_id, attempts.made) from None
            attempts.answered()
            return decoded(decode, reply.message, method, request_id)

    async def client_stream(
        self,
        method: str,
        messages: Callable[[], Iterable[bytes]],
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: Timeout,  # noqa: ASYNC109 - the call's deadline, which the server is told
    ) -> T:
        """Many messages out, one back, to an idempotent operation. `messages` gives all of them for each attempt."""
        attempts = self.attempts(method, request_id, self.seconds(timeout))
        while True:
            left = await attempts.begin()
            headers = self.headers(method, None)
            try:
                with closing_translated(method, request_id):
                    reply = await self._raw.client_stream(method, messages(), metadata=headers, timeout=left)
            except RpcFailed as failed:
                if await attempts.again(failed.status):
                    continue
                raise from_status(failed.status, method, request_id, attempts.made) from None
            attempts.answered()
            return decoded(decode, reply.message, method, request_id)

    def server_stream(
        self,
        method: str,
        message: bytes,
        decode: Callable[[bytes], T],
        *,
        request_id: str,
        timeout: Timeout,
        id_in_metadata: bool = False,
    ) -> ReplyStream[T]:
        """One message out, many back, from an idempotent operation; otherwise as `unary`.

        Raises:
            ValueError: `request_id` cannot travel as metadata.
        """
        seconds = self.seconds(timeout)
        named = _in_metadata(request_id) if id_in_metadata else ()

        def begin() -> Attempts:
            return self.attempts(method, request_id, seconds)

        def start(left: float | None) -> RawCall:
            headers = (*self.headers(method, message), *named)
            return self._raw.server_stream(method, message, metadata=headers, timeout=left)

        def decode_one(raw: bytes) -> T:
            return decoded(decode, raw, method, request_id)

        return ReplyStream(begin, start, decode_one, method=method, request_id=request_id)

    def open(self, method: str, *, timeout: float | None) -> RawCall:
        """Many messages both ways, attempted once."""
        return self._raw.open(method, metadata=self.headers(method, None), timeout=timeout)


def _in_metadata(request_id: str) -> MetadataPairs:
    """The request's id as metadata, where there is one.

    Raises:
        ValueError: it cannot travel as metadata.
    """
    if not (request_id.isascii() and request_id.isprintable()):
        raise ValueError(f"request_id is metadata here, and must be printable ASCII, got {request_id!r}")
    return ((REQUEST_ID_KEY, request_id),) if request_id else ()


def decoded(decode: Callable[[bytes], T], raw: bytes, method: str, request_id: str) -> T:
    """The result in a reply.

    Raises:
        MfnRpcError: INTERNAL, when the reply breaks the contract, or answers another request.
    """
    try:
        result = decode(raw)
    except ValueError as wrong:
        raise broken_contract(str(wrong), method, request_id) from wrong
    echoed = getattr(result, "request_id", request_id)
    if echoed != request_id:
        raise broken_contract(f"it answers request {echoed!r}", method, request_id)
    return result
