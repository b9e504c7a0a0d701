"""Making what an executor is connected to: a client of a scheduler, or a cluster of this machine with its client."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from mfn_core.config import ConfigError, Problem
from mfn_core.execution import available_cores
from mfn_executor_dask.jobs import versions

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Security

    from mfn_executor_dask.settings import DaskSettings

__all__ = ["Connected", "connect"]

_log = logging.getLogger(__name__)

DEATHS = 1
"""Workers of a cluster of this machine that may die of one job before it is given up: the second is no accident."""

_NO_PAGES: Mapping[str, Any] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}
"""Scheduler and workers open a port for pages about themselves whatever one says; there is nothing on it then."""


@frozen(kw_only=True)
class Connected:
    """A client, and the cluster that was started for it, if one was."""

    client: Client
    cluster: LocalCluster | None

    def close(self) -> None:
        """Close both; blocks for a moment."""
        self.client.close()
        if self.cluster is not None:
            self.cluster.close()


def connect(settings: DaskSettings, path: str) -> Connected:
    """Connect to the scheduler, or start a cluster here and connect to that. Blocks.

    Args:
        settings: of the executor.
        path: where they stand in the configuration.

    Raises:
        ConfigError: the scheduler does not answer, a certificate cannot be used, or workers have other versions.
    """
    from distributed import Client

    _quieten()
    if not settings.scheduler:
        return _local_cluster(settings, path)

    try:
        client = Client(
            settings.scheduler,
            timeout=settings.connect_seconds,
            security=_security(settings),
            set_as_default=False,
            name="mfn",
        )
    except (OSError, ValueError, TypeError) as failed:
        text = " ".join(str(failed).split()) or type(failed).__name__
        raise ConfigError(
            [
                Problem(
                    path=f"{path}.scheduler",
                    message=f"the scheduler at {settings.scheduler} cannot be reached: {text}",
                    remedy="start it with `dask scheduler`, and look at the address and the certificates",
                )
            ]
        ) from failed
    connected = Connected(client=client, cluster=None)
    try:
        _check_workers(client, path, settings.scheduler)
    except BaseException:
        connected.close()
        raise
    return connected


def _local_cluster(settings: DaskSettings, path: str) -> Connected:
    """Start worker processes on this machine and connect to them.

    Their scheduler listens on loopback, and takes nobody but this process: everyone who can talk to a scheduler can run
    code as its user, so it asks for a certificate that was drawn here and is in no file.

    Raises:
        ConfigError: they do not start.
    """
    import dask
    from distributed import Client, LocalCluster, Security

    local = settings.local
    security = Security.temporary()
    try:
        with dask.config.set(_NO_PAGES):
            cluster = LocalCluster(
                n_workers=local.workers or available_cores(),
                threads_per_worker=local.threads,
                memory_limit=local.memory_bytes,
                processes=True,
                host="127.0.0.1",
                protocol="tls",
                security=security,
                dashboard_address="127.0.0.1:0",
                scheduler_kwargs={"dashboard": False, "allowed_failures": DEATHS},
                silence_logs=logging.ERROR,
            )
    except (OSError, RuntimeError, TimeoutError) as failed:
        text = " ".join(str(failed).split()) or type(failed).__name__
        raise ConfigError(
            [
                Problem(
                    path=f"{path}.local",
                    message=f"the worker processes did not start: {text}",
                    remedy="lower workers, or name a scheduler",
                )
            ]
        ) from failed
    try:
        client = Client(cluster, timeout=settings.connect_seconds, security=security, set_as_default=False, name="mfn")
    except BaseException:
        cluster.close()
        raise
    return Connected(client=client, cluster=cluster)


def _quieten() -> None:
    """Let the log of the server have what the library has to say, from warnings on.

    On its import it sets up handlers of its own, and tells of every connection and worker that comes and goes.
    """
    logger = logging.getLogger("distributed")
    logger.setLevel(logging.WARNING)
    logger.propagate = True
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


def _security(settings: DaskSettings) -> Security | None:
    if settings.tls is None:
        return None
    from distributed import Security

    return Security(
        require_encryption=True,
        tls_ca_file=str(settings.tls.ca),
        tls_client_cert=str(settings.tls.certificate),
        tls_client_key=str(settings.tls.key),
    )


def _check_workers(client: Client, path: str, scheduler: str) -> None:
    """Refuse a cluster whose workers could not read what they are sent."""
    wrong: list[str] = []
    expected = versions()
    found: Mapping[str, Any] = client.run(versions, on_error="return")
    for worker, answer in sorted(found.items()):
        if isinstance(answer, BaseException):
            wrong.append(f"{worker} cannot: {type(answer).__name__}: {answer}")
        elif answer != expected:
            has = ", ".join(f"{name} {answer.get(name)}" for name in expected if answer.get(name) != expected[name])
            wrong.append(f"{worker} has {has}")
    if wrong:
        here = ", ".join(f"{name} {number}" for name, number in expected.items())
        raise ConfigError(
            [
                Problem(
                    path=f"{path}.scheduler",
                    message=f"workers of {scheduler} do not fit: {'; '.join(wrong)}",
                    remedy=f"install on them what is installed here: {here}",
                )
            ]
        )
    if not found:
        _log.warning("the scheduler at %s has no worker yet; calls wait until one joins it", scheduler)
