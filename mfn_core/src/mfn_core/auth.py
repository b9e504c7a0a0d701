"""Who may call: the authenticator contract and the step of the chain that asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from mfn_core.call import Call, Principal
from mfn_core.errors import Code, MfnError
from mfn_core.middleware import Next

__all__ = [
    "ANONYMOUS",
    "AUTHENTICATION_FAILED",
    "ROLES",
    "AuthMiddleware",
    "Authenticator",
    "SupportsWithdrawal",
    "unauthenticated",
]

ROLES = ("read", "write", "admin")
"""Every role, each included in the next."""

AUTHENTICATION_FAILED = "authentication failed"
"""The one text of every failed authentication: which check failed is for the operator alone."""


ANONYMOUS = "anonymous"
"""Method of the principal of calls without credentials."""


def unauthenticated(reason: str) -> MfnError:
    """UNAUTHENTICATED with the one opaque text; `reason` goes to the audit and the log."""
    return MfnError(Code.UNAUTHENTICATED, AUTHENTICATION_FAILED, reason=reason)


class Authenticator(Protocol):
    """Proves who calls. One instance serves all transports; it may have `async start()` and `async stop()`.

    One whose proofs may be taken back is a `SupportsWithdrawal` too.
    """

    async def authenticate(self, call: Call) -> Principal | None:
        """Say who makes this call.

        Called once a call on the event loop, before anything of the request is parsed; `call.request.raw` holds the
        bytes of single-request shapes. Returns None when the call carries none of the credentials that this
        authenticator understands, so that the next one is asked. Must take the same time for every wrong secret.

        Raises:
            MfnError: made by `unauthenticated(reason)` when credentials are there and wrong, or RESOURCE_EXHAUSTED
                when the replay memory is full.
        """
        ...


@runtime_checkable
class SupportsWithdrawal(Protocol):
    """An authenticator that may take back what it has proved, as when a key is revoked."""

    def still_vouches(self, principal: Principal) -> bool:
        """Whether it would prove the same principal today, with the same roles.

        Asked before each call on a connection that one proof of this authenticator has opened, on the event loop.
        `principal` is what `authenticate` returned then.
        """
        ...


class AuthMiddleware:
    """Authenticate, then authorize: no handler runs for a principal that lacks the operation's role."""

    def __init__(self, authenticators: Sequence[Authenticator], *, anonymous: Principal | None = None) -> None:
        """Ask `authenticators` in order; a call that none of them knows is `anonymous`, or refused."""
        self._authenticators = tuple(authenticators)
        self._anonymous = anonymous

    async def __call__(self, call: Call, call_next: Next) -> None:
        """Set `call.principal`, or refuse the call."""
        operation = call.operation
        if operation.public:
            return await call_next(call)
        principal = self._anonymous
        if call.opened_by is not None:
            principal = _of_connection(call, call.opened_by)
        else:
            for authenticator in self._authenticators:
                proved = await authenticator.authenticate(call)
                if proved is not None:
                    principal = proved
                    call._proved_by = authenticator
                    break
        if principal is None:
            raise unauthenticated("no credentials that an authenticator understands")
        call.principal = principal
        if not principal.has_role(operation.role):
            raise MfnError(
                Code.PERMISSION_DENIED,
                f"{operation.path} needs the role {operation.role!r}",
                reason=f"principal {principal.name!r} has {sorted(principal.roles)}, not {operation.role!r}",
            )
        return await call_next(call)


def _of_connection(call: Call, opening: Call) -> Principal:
    """Who opened the connection that the call came on.

    Raises:
        MfnError: UNAUTHENTICATED: nobody did, the proof has been taken back since, or the call comes in the clear.
    """
    principal = opening.principal
    if principal is None:
        raise unauthenticated("the connection was not authenticated")
    call.key_id = opening.key_id
    authenticator = opening._proved_by
    if isinstance(authenticator, SupportsWithdrawal) and not authenticator.still_vouches(principal):
        raise unauthenticated(
            "what the connection was opened with is revoked, has run out, or allows something else now"
        )
    if principal.method != ANONYMOUS and not call.peer.encrypted and not call.peer.is_local:
        raise unauthenticated(
            "what is said on a connection after its opening is not signed, and this one is in the clear"
        )
    return principal
