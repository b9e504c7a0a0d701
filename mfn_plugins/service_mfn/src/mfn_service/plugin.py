"""What this package declares to the kernel. Light: neither protobuf nor NumPy is imported before a server is made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mfn_core import ComponentContext, ComponentKind, ComponentSpec, Problem, hookimpl
from mfn_service._settings import ServiceSettings

if TYPE_CHECKING:
    from mfn_core.assembly import Plan
    from mfn_core.operation import ServiceProvider

__all__ = ["mfn_check", "mfn_services"]

NAME = "mfn"


def _services(config: ServiceSettings, context: ComponentContext) -> ServiceProvider:
    from mfn_service._provider import MfnServices

    return MfnServices(config, context)


@hookimpl
def mfn_services() -> Sequence[ComponentSpec]:
    """The service component `mfn`."""
    return [
        ComponentSpec(
            name=NAME,
            config=ServiceSettings,
            factory=_services,
            summary="features, simulations, field analysis, steering (packages mfn, mycelium and mfn.v1)",
            stability="stable",
            examples={
                "steered simulations": "[services.mfn]\nsessions_per_principal = 2\nresume_within_seconds = 60\n"
            },
        )
    ]


@hookimpl
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """An engine is there, and what is kept in memory has room for the largest grid that a call may ask for."""
    if not plan.of(ComponentKind.BACKEND):
        yield Problem(
            path="server.plugins",
            message="no plugin provides a compute engine, and the services of service_mfn compute",
            remedy='add one, such as "engine_numpy"',
        )
    cells = plan.server.max_grid**2
    for component in plan.of(ComponentKind.SERVICE):
        config = component.config
        if not isinstance(config, ServiceSettings):
            continue
        for name, room, needed, unit in (
            ("session_cells", config.session_cells, cells, "cells"),
            ("upload_bytes", config.upload_bytes, 8 * cells, "bytes"),
        ):
            if room < needed:
                yield Problem(
                    path=f"{component.path}.{name}",
                    message=f"{room} {unit} are too few for one grid of server.max_grid = {plan.server.max_grid}, "
                    f"which takes {needed}",
                    remedy=f"set it to at least {needed}, or lower max_grid",
                )
