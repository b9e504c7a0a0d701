"""The `[services.mfn]` table."""

from __future__ import annotations

from attrs import frozen

from mfn_core import setting
from mfn_core.config import between

__all__ = ["ServiceSettings"]


@frozen(kw_only=True)
class ServiceSettings:
    """Bounds of what the services keep in memory between messages. A call's own work is bounded by `[server]`.

    Raises:
        ValueError: a value is out of its bounds.
    """

    sessions: int = setting(
        default=64,
        help="steered simulations that a worker keeps, those that wait to be resumed included",
        validator=between(1, 1_000_000),
    )
    sessions_per_principal: int = setting(
        default=8, help="of these, most for one principal", validator=between(1, 1_000_000)
    )
    session_cells: int = setting(
        default=16_777_216,
        help="cells that the grids of all steered simulations of a worker have together; about 50 bytes a cell",
        unit="cells",
        validator=between(1, 2**53),
    )
    session_steps: int = setting(
        default=1_000_000,
        help="steps after which a steered simulation without an end of its own is ended",
        unit="steps",
        validator=between(1, 2**53),
    )
    session_seconds: float = setting(
        default=3600.0,
        help="age at which a steered simulation is ended, whatever it does",
        unit="seconds",
        validator=between(1.0, 31_536_000.0),
    )
    resume_within_seconds: int = setting(
        default=30,
        help="time for which a steered simulation whose call broke can be taken up again; 0: never",
        unit="seconds",
        validator=between(0, 86_400),
    )
    pending_commands: int = setting(
        default=32,
        help="commands of one call that may wait to take effect; beyond it the client is not read",
        unit="messages",
        validator=between(1, 10_000),
    )
    upload_bytes: int = setting(
        default=268_435_456,
        help="memory that fields and gradients being uploaded to a worker may take together",
        unit="bytes",
        validator=between(1, 2**53),
    )
    upload_seconds: float = setting(
        default=120.0,
        help="time that one upload may take",
        unit="seconds",
        validator=between(0.1, 86_400.0),
    )
    aggregate_reply_bytes: int = setting(
        default=4_000_000,
        help="longest reply of AggregateGradients; a gRPC client takes 4 MiB unless it is told otherwise",
        unit="bytes",
        validator=between(1024, 2**31 - 1),
    )
