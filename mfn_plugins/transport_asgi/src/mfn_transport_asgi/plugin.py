"""What the kernel learns of this package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfn_core import ComponentContext, ComponentSpec, hookimpl
from mfn_core.components import ComponentKind
from mfn_core.config import Problem
from mfn_grpc import HEALTH, REFLECTION
from mfn_transport_asgi._settings import AsgiSettings

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.host import WorkerHost
    from mfn_core.transport import Transport

__all__ = ["mfn_check", "mfn_services", "mfn_transports"]


@hookimpl
def mfn_transports() -> Sequence[ComponentSpec]:
    """The transport `asgi`."""
    return [
        ComponentSpec(
            name="asgi",
            config=AsgiSettings,
            factory=_transport,
            summary="gRPC, gRPC-Web, Connect and REST by Envoy, with the server's Python inside it",
            host=_host,
            examples={
                "Loopback": '[transports.asgi]\nlisten = "127.0.0.1:8080"\n',
                "TLS with client certificates": (
                    '[transports.asgi]\nlisten = "0.0.0.0:8443"\n\n[transports.asgi.tls]\n'
                    'certificate = "server.pem"\nkey = "server.key"\nclient_ca = "clients.pem"\n'
                ),
                "Pages of another origin": (
                    '[transports.asgi]\nlisten = "127.0.0.1:8080"\ncors_origins = ["https://app.example.org"]\n'
                ),
            },
        )
    ]


@hookimpl
def mfn_services() -> Sequence[ComponentSpec]:
    """Health and reflection, which every gRPC client expects; shared with other transports that speak gRPC."""
    return [HEALTH, REFLECTION]


@hookimpl
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """One Envoy has one listener here: each would run a Python of its own, and so a server of its own."""
    listeners = [t for t in plan.of(ComponentKind.TRANSPORT) if t.spec.name == "asgi"]
    return [
        Problem(
            path=extra.path,
            message=f"is a second listener beside {listeners[0].path}, and the asgi transport has one",
            remedy="keep one of them, or let the other be of the grpc transport",
        )
        for extra in listeners[1:]
    ]


def _transport(config: AsgiSettings, context: ComponentContext) -> Transport:
    from mfn_transport_asgi._transport import AsgiTransport

    return AsgiTransport(context.name, config, context.catalogue)


def _host(configs: Mapping[str, Any]) -> WorkerHost:
    from mfn_transport_asgi._host import EnvoyHost

    return EnvoyHost(configs)
