"""The plugin `executor_dask`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mfn_core import ComponentKind, ComponentSpec, Problem, hookimpl
from mfn_core.assembly import Plan, is_loopback
from mfn_executor_dask.executor import make_executor
from mfn_executor_dask.settings import DaskSettings

__all__ = ["mfn_check", "mfn_executors"]


@hookimpl
def mfn_executors() -> Sequence[ComponentSpec]:
    """The executor `dask`."""
    return [
        ComponentSpec(
            name="dask",
            config=DaskSettings,
            factory=make_executor,
            summary="whole runs on the workers of a Dask cluster, or on processes of this machine",
            examples={
                "a cluster": '[executors.dask]\nscheduler = "tls://scheduler.internal:8786"\n\n[executors.dask.tls]\n'
                'ca = "tls/ca.pem"\ncertificate = "tls/client.pem"\nkey = "tls/client.key"\n',
                "processes of this machine": "[executors.dask.local]\nworkers = 4\n",
            },
        )
    ]


@hookimpl
def mfn_check(plan: Plan) -> Iterable[Problem]:
    """What a configuration must not do: send jobs, which are code, through an open network in the clear."""
    for executor in plan.of(ComponentKind.EXECUTOR):
        if not isinstance(executor.config, DaskSettings):
            continue
        scheduler, tls = executor.config.scheduler, executor.config.tls
        where = f"{executor.path}.scheduler"
        if scheduler.startswith("tls://") and tls is None:
            yield Problem(
                path=where,
                message=f"{scheduler} is encrypted, and there are no certificates for it",
                remedy=f"configure [{executor.path}.tls]",
            )
        elif scheduler.startswith("tcp://") and tls is not None:
            yield Problem(
                path=where,
                message=f"{scheduler} is not encrypted, and [{executor.path}.tls] says that it should be",
                remedy="write tls://",
            )
        elif (
            scheduler.startswith("tcp://")
            and not is_loopback(scheduler.removeprefix("tcp://"))
            and "plaintext-beyond-loopback" not in plan.server.allow
        ):
            yield Problem(
                path=where,
                message=f"{scheduler} is on another machine, without TLS: who can reach it runs code on the workers "
                "and on this server",
                remedy=f'write tls:// and configure [{executor.path}.tls], or server.allow = ["plaintext-beyond-'
                'loopback"] in a network of your own',
            )
