"""The client: typed methods over signed calls."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from mfn_client import (
    _methods_aggregation,
    _methods_field,
    _methods_health,
    _methods_mfn,
    _methods_models,
    _methods_mycelium,
)
from mfn_client._attempts import Retrying
from mfn_client._calls import SignedCalls
from mfn_client._tls import Pem, channel_security
from mfn_client.raw import MAX_MESSAGE_BYTES, RawClient
from mfn_client.retrying import RetryBudget, RetryPolicy
from mfn_client.timeouts import DEFAULT_TIMEOUT, checked_timeout
from mfn_signing import Credentials

__all__ = ["MFNClient"]

KEEPALIVE = {"grpc.keepalive_time_ms": 60_000, "grpc.keepalive_timeout_ms": 20_000}
"""A connection that died without a word is noticed within 80 s, while a call is in flight on it."""


class MFNClient:
    """A connection to one server; an async context manager. Use from one event loop, by any number of tasks.

    Every attempt of a call is signed afresh with `credentials`. The secret never travels; requests and replies do, in
    the clear where the channel is plain text, so that such a channel is made to a loopback address alone unless
    `insecure` says otherwise by name.

    Calls that fail because the server is away or asks to come back are attempted again, as `mfn_client.retrying`
    says: all methods but `steer` are idempotent. A client that has once been connected waits for the connection when
    it is lost, up to the deadline of each call.

    All methods take a `request_id`, at most 128 bytes, which the server echoes and writes into its audit; by default
    a random UUID. All raise `MfnRpcError` when the call does not end with OK, `TypeError` or `ValueError` for a value
    that cannot be sent at all, and `RuntimeError` while the client is not open. Values out of the bounds of the
    contract are the server's to refuse, with every field at fault.
    """

    def __init__(
        self,
        target: str,
        *,
        credentials: Credentials | None = None,
        tls: bool = False,
        root_certificates: Pem | None = None,
        certificate_chain: Pem | None = None,
        private_key: Pem | None = None,
        server_name: str | None = None,
        insecure: bool = False,
        timeout: float | None = DEFAULT_TIMEOUT,
        retry_max_attempts: int = 3,
        retry_backoff_ms: float = 100.0,
        retry_budget: RetryBudget | None = None,
        wait_for_ready: bool | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        channel_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Make a client; nothing is opened yet, and files are read now.

        Args:
            target: `host:port`, or any name that gRPC resolves.
            credentials: key id and secret to sign with; None: calls are not signed.
            tls: encrypt, and trust the authorities of the system unless `root_certificates` are given. Each of the
                four arguments that follow makes it TLS as well.
            root_certificates: authorities that the server's certificate must be signed by: PEM as bytes, or a path.
            certificate_chain: the client's own certificate for mutual TLS, then its intermediates; likewise.
            private_key: the key of that certificate, without a passphrase; likewise.
            server_name: the name that the server's certificate must hold, where it is not that of the target.
            insecure: allow plain text to another machine.
            timeout: seconds for calls with one reply, all attempts included, and for a session to open, at most 1e8;
                None: no deadline.
            retry_max_attempts: attempts of one call, the first included; 1 turns retries off.
            retry_backoff_ms: longest pause before the second attempt, in milliseconds; it doubles with each further
                one, up to 5 s, and each pause is drawn anew from nothing to its bound.
            retry_budget: what bounds the retries of all calls together; one may serve several clients. None: one of
                the client's own.
            wait_for_ready: whether calls wait for a connection, up to their deadlines: True always, so that the
                server may start later; False never; None as soon as there has been one.
            max_message_bytes: longest reply message to take.
            channel_options: further channel arguments of gRPC.

        Raises:
            ValueError: plain text to another machine without `insecure`, certificates that cannot be used, options
                that contradict one another, or a number out of its bounds.
            OSError: a certificate file cannot be read.
        """
        security = channel_security(
            target,
            tls=tls,
            root_certificates=root_certificates,
            certificate_chain=certificate_chain,
            private_key=private_key,
            server_name=server_name,
            insecure=insecure,
        )
        retrying = Retrying(
            policy=RetryPolicy(max_attempts=retry_max_attempts, backoff_seconds=retry_backoff_ms / 1000.0),
            budget=RetryBudget() if retry_budget is None else retry_budget,
            wait_for_ready=wait_for_ready,
        )
        self._raw = RawClient(
            target,
            credentials=security.credentials,
            max_message_bytes=max_message_bytes,
            options=tuple({**KEEPALIVE, **security.options, **(channel_options or {})}.items()),
        )
        self._calls = SignedCalls(self._raw, credentials, timeout=checked_timeout(timeout), retrying=retrying)

    @property
    def target(self) -> str:
        """What it calls."""
        return self._raw.target

    async def __aenter__(self) -> Self:
        await self._raw.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open the client without `async with`; `close` it afterwards. The connection is made by the first call.

        Raises:
            RuntimeError: it is open already.
        """
        await self._raw.__aenter__()

    async def close(self) -> None:
        """End the calls in flight with CANCELLED and close the connection. Safe twice."""
        await self._raw.close()

    # The methods of each service stand in a module of their own.

    extract_features = _methods_mfn.extract_features
    stream_features = _methods_mfn.stream_features
    run_simulation = _methods_mfn.run_simulation
    stream_simulation = _methods_mfn.stream_simulation
    validate_pattern = _methods_mfn.validate_pattern

    simulate = _methods_field.simulate
    analyze_field = _methods_field.analyze_field
    steer = _methods_field.steer
    resume = _methods_field.resume

    list_models = _methods_models.list_models
    describe_model = _methods_models.describe_model

    aggregate_gradients = _methods_aggregation.aggregate_gradients

    nernst = _methods_mycelium.nernst
    validate = _methods_mycelium.validate
    simulate_history = _methods_mycelium.simulate_history
    stream_history = _methods_mycelium.stream_history
    aggregate_federated = _methods_mycelium.aggregate_federated

    health_check = _methods_health.health_check
