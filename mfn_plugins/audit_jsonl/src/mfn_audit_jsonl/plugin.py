"""What this package adds to a server: the audit sink `jsonl`."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_audit_jsonl.settings import JsonlSettings
from mfn_core import ComponentContext, ComponentSpec, hookimpl

__all__ = ["mfn_audit_sinks"]


def _make(settings: JsonlSettings, context: ComponentContext) -> object:
    # Not at import: `mfn check` and `mfn plugins` read the specification alone.
    from mfn_audit_jsonl.sink import JsonlSink

    return JsonlSink(settings, context.log, worker=context.worker, workers=context.server.workers)


_DURABLE = """\
[audit.jsonl]
path = "/var/log/mfn/audit.jsonl"
fsync = "always"
"""
_MONTH = """\
[audit.jsonl]
path = "/var/log/mfn/audit.jsonl"
rotate_hours = 24
keep_files = 31
"""


@hookimpl
def mfn_audit_sinks() -> Sequence[ComponentSpec]:
    """The sink that appends hash-chained JSON lines to a file."""
    return [
        ComponentSpec(
            name="jsonl",
            config=JsonlSettings,
            factory=_make,
            summary="tamper-evident audit trail: hash-chained JSON lines",
            # Nothing in one worker depends on what another has recorded: each has a trail of its own, whole for the
            # calls that it took, and together they hold every call of the server once.
            scope="shared",
            examples={
                "a record is on the disk before its reply leaves": _DURABLE,
                "a file a day, for a month": _MONTH,
            },
        )
    ]
