"""The plugin `auth_loopback`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from mfn_auth_loopback._token_file import TokenFile
from mfn_auth_loopback.authenticator import LoopbackSettings, make_authenticator
from mfn_core import ComponentSpec, hookimpl
from mfn_core.assembly import is_loopback
from mfn_core.components import ComponentKind
from mfn_core.config import Problem

if TYPE_CHECKING:
    from mfn_core.assembly import Plan

__all__ = ["mfn_authenticators", "mfn_check"]


def announce(settings: LoopbackSettings, plan: Plan, addresses: Mapping[str, Sequence[str]]) -> Iterable[str]:
    """The link that opens the page, once the server listens."""
    token = TokenFile(settings.token_file).read(owner=os.getpid())
    found = addresses.get(settings.transport, ())
    if token is None or not found:
        return
    config = next(t.config for t in plan.of(ComponentKind.TRANSPORT) if t.name == settings.transport)
    scheme = "https" if getattr(config, "encrypted", False) else "http"
    host, _, port = found[0].rpartition(":")
    local = host if is_loopback(found[0]) else "127.0.0.1"
    yield f"open {scheme}://{local}:{port}/#token={token.text}"


@hookimpl
def mfn_authenticators() -> Sequence[ComponentSpec]:
    """The authenticator `loopback`."""
    return [
        ComponentSpec(
            name="loopback",
            config=LoopbackSettings,
            factory=make_authenticator,
            summary="a short-lived token for the browser of whoever starts the server, from this machine alone",
            scope="shared",
            announce=announce,
            examples={"a day": "[auth.loopback]\nvalid_hours = 24.0\n"},
        )
    ]


@hookimpl
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """A listener that others reach, and a link that would lead nowhere."""
    transports = plan.of(ComponentKind.TRANSPORT)
    for component in plan.of(ComponentKind.AUTHENTICATOR):
        if component.spec.name != "loopback":
            continue
        settings: LoopbackSettings = component.config
        if settings.transport not in [transport.name for transport in transports]:
            yield Problem(
                path=f"{component.path}.transport",
                message=f"there is no transport {settings.transport!r} whose page could be opened",
                remedy="name one that serves the page, or leave auth_loopback out of server.plugins",
            )
        wide = [t for t in transports if not is_loopback(str(getattr(t.config, "listen", "127.0.0.1:0")))]
        if wide and not settings.beyond_loopback:
            yield Problem(
                path=component.path,
                message=f"{wide[0].path}.listen = {wide[0].config.listen} is reachable from other machines",
                remedy="leave auth_loopback out of server.plugins, or set beyond_loopback = true in its table",
            )
