"""What the kernel learns of this package."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mfn_core import ComponentContext, ComponentSpec, hookimpl
from mfn_core.components import ComponentKind
from mfn_core.config import ConfigError, Problem, join_path
from mfn_grpc import HEALTH, REFLECTION
from mfn_transport_asgi._available import missing
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
            summary="gRPC, gRPC-Web, Connect, REST and WebSocket by Envoy with Python inside it, or by an ASGI server",
            host=_host,
            examples={
                "Loopback": '[transports.asgi]\nlisten = "127.0.0.1:8080"\n',
                "TLS with client certificates": (
                    '[transports.asgi]\nlisten = "0.0.0.0:8443"\n\n[transports.asgi.tls]\n'
                    'certificate = "server.pem"\nkey = "server.key"\nclient_ca = "clients.pem"\n'
                ),
                "Without Envoy": '[transports.asgi]\nlisten = "127.0.0.1:8080"\nserver = "uvicorn"\n',
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
    """One Envoy has one listener here: each would run a Python of its own, and so a server of its own. And what
    carries the listener must carry what the settings ask for."""
    listeners = [t for t in plan.of(ComponentKind.TRANSPORT) if t.spec.name == "asgi"]
    for extra in listeners[1:]:
        yield Problem(
            path=extra.path,
            message=f"is a second listener beside {listeners[0].path}, and the asgi transport has one",
            remedy="keep one of them, or let the other be of the grpc transport",
        )
    for each in listeners:
        yield from _not_carried(each.path, each.config)
        yield from _http3(each.path, each.config, plan.server.workers)
        if "mfn_transport_asgi._envoy.app" not in sys.modules:  # otherwise this process is that server already
            for message in missing(each.config):
                yield Problem(path=f"{each.path}.server", message=message)


def _not_carried(path: str, settings: AsgiSettings) -> Iterable[Problem]:
    """Settings that would be silently of no effect."""
    if settings.tls is None:
        return
    if settings.server == "mounted":
        yield Problem(
            path=f"{path}.tls",
            message="is of no effect: the server that mounts this one speaks TLS, or does not",
            remedy="take the table out, and give the certificate to that server",
        )
    elif settings.server == "uvicorn" and settings.tls.client_ca is not None:
        yield Problem(
            path=f"{path}.tls.client_ca",
            message="uvicorn does not tell who shows a client certificate: it lacks ASGI's TLS extension",
            remedy='set server = "pyvoy", or take client_ca out; signatures tell who calls as well',
        )


def _http3(path: str, settings: AsgiSettings, workers: int) -> Iterable[Problem]:
    """What HTTP/3 needs."""
    if not settings.http3:
        return
    if settings.server != "pyvoy":
        yield Problem(
            path=f"{path}.http3",
            message=f'Envoy speaks it here, and server is "{settings.server}"',
            remedy='set server = "pyvoy", or http3 = false',
        )
    elif settings.tls is None:
        yield Problem(
            path=f"{path}.http3",
            message="HTTP/3 is never without TLS, and there is no certificate",
            remedy=f"configure [{path}.tls], or set http3 = false",
        )
    elif settings.tls.client_ca is not None:
        yield Problem(
            path=f"{path}.http3",
            message="Envoy asks for no client certificates over QUIC, and tls.client_ca demands them",
            remedy="set http3 = false, or take client_ca out",
        )
    if workers > 1:
        yield Problem(
            path=f"{path}.http3",
            message=f"{workers} workers: datagrams of a connection would go astray when a worker is replaced",
            remedy="set workers = 1, or http3 = false",
        )


def _transport(config: AsgiSettings, context: ComponentContext) -> Transport:
    from mfn_transport_asgi._carrier import carrier_of
    from mfn_transport_asgi._tls_files import tls_problems
    from mfn_transport_asgi._transport import AsgiTransport

    wrong = [] if config.tls is None else [each.partition(": ") for each in tls_problems(config.tls)]
    if wrong:
        path = join_path("transports", context.name)
        raise ConfigError([Problem(path=f"{path}.{setting}", message=why) for setting, _, why in wrong])
    carrier = carrier_of(context.name, config, workers=context.server.workers, allow=context.server.allow)
    anonymous = "anonymous" in context.server.allow
    return AsgiTransport(context.name, config, context.catalogue, carrier, anonymous=anonymous)


def _host(configs: Mapping[str, Any]) -> WorkerHost:
    ((name, settings),) = configs.items()
    if settings.server == "uvicorn":
        from mfn_transport_asgi._uvicorn.host import UvicornHost

        return UvicornHost(name, settings)
    if settings.server == "mounted":
        from mfn_transport_asgi._mounted.carrier import MountedHost

        return MountedHost()
    from mfn_transport_asgi._envoy.host import EnvoyHost

    return EnvoyHost(configs)
