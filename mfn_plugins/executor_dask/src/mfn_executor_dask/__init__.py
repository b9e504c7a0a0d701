"""Compute of MFN on a Dask cluster: whole runs are sent to its workers."""

from __future__ import annotations

from mfn_executor_dask.executor import DaskExecutor
from mfn_executor_dask.settings import DaskSettings, LocalSettings, TlsSettings

__all__ = ["DaskExecutor", "DaskSettings", "LocalSettings", "TlsSettings"]
