"""The `[audit.jsonl]` table."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import frozen

from mfn_audit_jsonl._names import parse_closed
from mfn_core.config import between, one_of, setting

__all__ = ["ErrorPolicy", "FsyncPolicy", "JsonlSettings"]

FsyncPolicy = Literal["interval", "always", "never"]
ErrorPolicy = Literal["refuse", "wait"]

_MIN_BYTES = 65_536
_MAX_HOURS = 87_600.0


def _no_closed_name(instance: Any, attribute: Any, value: Path) -> None:
    if parse_closed(value) is not None:
        raise ValueError(
            f"{attribute.name} {value.name!r} is a name that rotation gives to closed files; leave out the number"
        )


class _ZeroOrBetween:
    """0, which turns something off, or a number within bounds that keep it sensible."""

    def __init__(self, low: float, high: float, why: str) -> None:
        self._low, self._high, self._why = low, high, why

    def __call__(self, instance: Any, attribute: Any, value: float) -> None:
        if value != 0 and not self._low <= value <= self._high:
            raise ValueError(
                f"{attribute.name} must be 0, which turns it off, or between {self._low} and {self._high} "
                f"({self._why}), not {value!r}"
            )

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [{"const": 0}, {"minimum": self._low, "maximum": self._high}]}


def _only_where_files_are_closed(instance: Any, attribute: Any, value: int) -> None:
    if value and not instance.rotate_bytes and not instance.rotate_hours:
        raise ValueError(f"{attribute.name} is {value}, and no file is ever closed; set rotate_bytes or rotate_hours")


@frozen(kw_only=True)
class JsonlSettings:
    """Where the trail is, how durable it is, and when it goes on in a new file.

    Raises:
        ValueError: a value is out of its bounds.
    """

    path: Path = setting(
        default=Path("audit.jsonl"),
        help="file that the records are appended to; made with mode 0600, used by one server at a time; "
        "with several workers each has its own, audit.w0.jsonl and so on",
        validator=_no_closed_name,
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
    on_error: ErrorPolicy = setting(
        default="refuse",
        help="what calls do while the disk refuses records: fail at once, or wait, each up to its deadline",
        validator=one_of("refuse", "wait"),
    )
    rotate_bytes: int = setting(
        default=268_435_456,
        help="size at which the file is closed and the trail goes on in a new one; 0: no size is too large",
        unit="bytes",
        validator=_ZeroOrBetween(_MIN_BYTES, 2**53, "smaller files would be of a few records each"),
    )
    rotate_hours: float = setting(
        default=0.0,
        help="age of its first call at which the file is closed and the trail goes on in a new one; 0: none is too old",
        unit="hours",
        validator=_ZeroOrBetween(1 / 60, _MAX_HOURS, "a minute to ten years"),
    )
    keep_files: int = setting(
        default=0,
        help="closed files that are kept; the oldest beyond them are removed, and the trail says so; 0: all are kept",
        unit="files",
        validator=[between(0, 1_000_000), _only_where_files_are_closed],
    )
