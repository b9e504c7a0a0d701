"""The `[audit.jsonl]` table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from attrs import frozen

from mfn_core.config import between, one_of, setting

__all__ = ["FsyncPolicy", "JsonlSettings"]

FsyncPolicy = Literal["interval", "always", "never"]


@frozen(kw_only=True)
class JsonlSettings:
    """Where the trail is and how durable it is.

    Raises:
        ValueError: a value is out of its bounds.
    """

    path: Path = setting(
        default=Path("audit.jsonl"),
        help="file that the records are appended to; made with mode 0600, used by one server at a time",
    )
    fsync: FsyncPolicy = setting(
        default="interval",
        help="when records are forced to the disk: before each reply, every second, or when the system chooses",
        validator=one_of("interval", "always", "never"),
    )
    queue: int = setting(
        default=10_000,
        help="records that may wait to be written; beyond it calls wait for room",
        unit="records",
        validator=between(1, 1_000_000),
    )
