"""The authenticator: one bearer token, from this machine, for as long as it is valid."""

from __future__ import annotations

import hmac
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from attrs import frozen

from mfn_auth_loopback._token_file import PREFIX, Token, TokenFile
from mfn_core import Call, ComponentContext, Principal, setting, unauthenticated
from mfn_core.config import between

__all__ = ["KEY_ID", "LoopbackAuthenticator", "LoopbackSettings", "make_authenticator"]

KEY_ID = "loopback"
SCHEME = "bearer "
HOUR = 3600.0


@frozen(kw_only=True)
class LoopbackSettings:
    """The `[auth.loopback]` table."""

    token_file: Path = setting(
        default=Path("mfn-loopback-token.json"),
        help="where the token stands while the server runs, mode 0600; removed when it stops",
    )
    valid_hours: float = setting(
        default=12.0, help="how long the token is valid", unit="hours", validator=between(0.001, 168.0)
    )
    principal: str = setting(default="loopback", help="who calls with it, in limits and in the audit")
    role: Literal["read", "write", "admin"] = setting(default="read", help="what it allows", validator=None)
    transport: str = setting(default="asgi", help="the transport whose page the printed link opens")
    beyond_loopback: bool = setting(
        default=False,
        help="whether the server may have listeners that other machines reach; they still cannot use the token",
    )


class LoopbackAuthenticator:
    """Believes one token, between `start` and `stop`."""

    def __init__(
        self,
        settings: LoopbackSettings,
        *,
        owner: Callable[[], int] = os.getppid,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make it.

        Args:
            settings: its table.
            owner: process of the supervisor, whose workers have the same token.
            clock: gives Unix seconds.
        """
        self._file = TokenFile(settings.token_file)
        self._valid_seconds = settings.valid_hours * HOUR
        self._principal = Principal(
            name=settings.principal, roles=frozenset([settings.role]), key_id=KEY_ID, method="loopback"
        )
        self._owner = owner
        self._clock = clock
        self._token: Token | None = None

    async def start(self) -> None:
        """Draw the token, or take that of another worker.

        Raises:
            OSError: its file cannot be written, or others can read it.
        """
        self._token = self._file.obtain(owner=self._owner(), valid_seconds=self._valid_seconds)

    async def stop(self) -> None:
        """Revoke it."""
        if self._token is not None:
            self._token = None
            self._file.remove()

    async def authenticate(self, call: Call) -> Principal | None:
        """Prove that the caller has the token; None where it shows no token of this kind."""
        shown = call.metadata.get_all("authorization")
        if not any(_is_ours(value) for value in shown):
            return None
        call.key_id = KEY_ID
        if len(shown) != 1:
            raise unauthenticated("header authorization stands twice")
        given = str(shown[0])[len(SCHEME) :].strip().encode("utf-8", "replace")
        token = self._token
        expected = b"" if token is None else token.text.encode()
        matches = hmac.compare_digest(given, expected)
        if token is None:
            raise unauthenticated("there is no token: the server is starting or stopping")
        if not matches:
            raise unauthenticated("the token is another one, perhaps of an earlier start of this server")
        if self._clock() >= token.expires:
            raise unauthenticated("the token has expired; start the server anew for another one")
        if not call.peer.is_local:
            raise unauthenticated("the token is for this machine alone, and the call came from another")
        return self._principal


def make_authenticator(settings: LoopbackSettings, context: ComponentContext) -> LoopbackAuthenticator:
    """The factory of the component."""
    return LoopbackAuthenticator(settings)


def _is_ours(value: str | bytes) -> bool:
    if isinstance(value, bytes) or value[: len(SCHEME)].lower() != SCHEME:
        return False
    return value[len(SCHEME) :].strip().startswith(PREFIX)
