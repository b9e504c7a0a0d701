"""The plugin's entry point: declares the transport. grpc is imported only when a transport is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mfn_core.components import ComponentContext, ComponentKind, ComponentSpec
from mfn_core.config import ConfigError, Problem, join_path
from mfn_core.hookspecs import hookimpl
from mfn_grpc import HEALTH, REFLECTION
from mfn_transport_grpc._environment import ENVIRONMENT
from mfn_transport_grpc._settings import GrpcSettings

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_transport_grpc._transport import GrpcTransport

__all__ = ["mfn_check", "mfn_services", "mfn_transports"]


def _make(settings: GrpcSettings, context: ComponentContext) -> GrpcTransport:
    from mfn_transport_grpc._tls import tls_problems
    from mfn_transport_grpc._transport import GrpcTransport

    wrong = [] if settings.tls is None else [each.partition(": ") for each in tls_problems(settings.tls)]
    if wrong:
        path = join_path("transports", context.name)
        raise ConfigError([Problem(path=f"{path}.{setting}", message=why) for setting, _, why in wrong])
    return GrpcTransport(settings, context)


@hookimpl
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """gRPC has one oldest TLS version for a whole process."""
    listeners = [t for t in plan.of(ComponentKind.TRANSPORT) if t.spec.name == "grpc" and t.config.tls is not None]
    versions = sorted({listener.config.tls.minimum_version for listener in listeners})
    if len(versions) < 2:
        return []
    return [
        Problem(
            path=f"{listener.path}.tls.minimum_version",
            message=f"is {listener.config.tls.minimum_version}, and the listeners of one server ask for {versions}",
            remedy="name the same version for all gRPC listeners of a server",
        )
        for listener in listeners
    ]


@hookimpl
def mfn_services() -> Sequence[ComponentSpec]:
    """Health and reflection, which every gRPC client expects; shared with other transports that speak gRPC."""
    return [HEALTH, REFLECTION]


@hookimpl
def mfn_transports() -> Sequence[ComponentSpec]:
    """The transport `grpc`."""
    return [
        ComponentSpec(
            name="grpc",
            config=GrpcSettings,
            factory=_make,
            summary="gRPC over HTTP/2 on grpc.aio, with TLS and client certificates",
            environment=ENVIRONMENT,
            examples={
                "on this machine alone": '[transports.grpc]\nlisten = "127.0.0.1:50051"\n',
                "for other machines, with client certificates": (
                    '[transports.grpc]\nlisten = "0.0.0.0:50051"\n\n'
                    '[transports.grpc.tls]\ncertificate = "server.pem"\nkey = "server.key"\n'
                    'client_ca = "clients.pem"\n'
                ),
            },
        )
    ]
