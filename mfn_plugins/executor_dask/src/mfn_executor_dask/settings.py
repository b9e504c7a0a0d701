"""The `[executors.dask]` table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import frozen

from mfn_core import setting
from mfn_core.config import between

__all__ = ["DaskSettings", "LocalSettings", "TlsSettings"]

_ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9A-Fa-f:.]+\]|[^\[\]:/\s]+):([0-9]{1,5})")


def _scheduler_address(_: Any, attribute: Any, value: str) -> None:
    if value and ((found := _ADDRESS.fullmatch(value)) is None or not 0 < int(found[3]) < 65536):
        raise ValueError(f"{attribute.name} must be tcp://host:port or tls://host:port, not {value!r}")


@frozen(kw_only=True)
class TlsSettings:
    """`[executors.dask.tls]`: what proves this server to the cluster, and the cluster to it. Both ends need it."""

    ca: Path = setting(help="PEM file with the authority that signs the certificates of the cluster and its clients")
    certificate: Path = setting(help="PEM file with the certificate of this server as a client")
    key: Path = setting(help="PEM file with the certificate's private key, without a passphrase")


@frozen(kw_only=True)
class LocalSettings:
    """`[executors.dask.local]`: a cluster of processes on this machine, started with the server and gone with it.

    Raises:
        ValueError: a value is out of its bounds.
    """

    workers: int = setting(default=0, help="worker processes; 0: one a core", validator=between(0, 1024))
    threads: int = setting(
        default=1, help="jobs that one worker does at once, each on a thread of its own", validator=between(1, 256)
    )
    memory_bytes: int = setting(
        default=0,
        help="memory of one worker, which is restarted when it takes more; 0: no bound",
        unit="bytes",
        validator=between(0, 2**50),
    )


@frozen(kw_only=True)
class DaskSettings:
    """The table.

    Raises:
        ValueError: a value is out of its bounds.
    """

    scheduler: str = setting(
        default="",
        help="address of the cluster's scheduler, tcp://host:port or tls://host:port; empty: a cluster of this machine",
        validator=_scheduler_address,
    )
    connect_seconds: float = setting(
        default=10.0,
        help="time that the scheduler has to answer at the start, and whenever the connection is lost",
        unit="seconds",
        validator=between(0.1, 600.0),
    )
    retry_seconds: float = setting(
        default=2.0,
        help="what callers are asked to wait while the scheduler is away",
        unit="seconds",
        validator=between(0.05, 600.0),
    )
    tls: TlsSettings | None = setting(default=None, help="certificates for tls:// addresses")
    local: LocalSettings = setting(factory=LocalSettings, help="the cluster of this machine, without a scheduler")
