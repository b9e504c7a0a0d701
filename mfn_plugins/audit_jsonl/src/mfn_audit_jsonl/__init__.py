"""Tamper-evident audit trail for MFN: hash-chained JSON lines.

The names below are loaded from their modules when they are first used: `mfn audit verify` needs no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mfn_audit_jsonl.settings import ErrorPolicy, FsyncPolicy, JsonlSettings
    from mfn_audit_jsonl.sink import JsonlSink, SinkStatistics
    from mfn_audit_jsonl.verification import TrailProblem, VerifyReport, verify, verify_directory, verify_files

__all__ = [
    "ErrorPolicy",
    "FsyncPolicy",
    "JsonlSettings",
    "JsonlSink",
    "SinkStatistics",
    "TrailProblem",
    "VerifyReport",
    "verify",
    "verify_directory",
    "verify_files",
]

_HOME = {
    "ErrorPolicy": "settings",
    "FsyncPolicy": "settings",
    "JsonlSettings": "settings",
    "JsonlSink": "sink",
    "SinkStatistics": "sink",
    "TrailProblem": "verification",
    "VerifyReport": "verification",
    "verify": "verification",
    "verify_directory": "verification",
    "verify_files": "verification",
}


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
