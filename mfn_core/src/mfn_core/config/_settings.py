"""The tables of the configuration that are the kernel's own: `[server]`, `[pipeline]` and `[cache]`."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

from mfn_core.config._setting import setting
from mfn_core.config._validators import at_least, between, each, non_empty, one_of
from mfn_core.config.environment import EnvironmentName, boolean, whole_number

__all__ = [
    "ALLOWANCES",
    "SERVER_ENVIRONMENT",
    "BatchingSettings",
    "CacheSettings",
    "PipelineSettings",
    "ServerSettings",
]

ALLOWANCES = ("anonymous", "anonymous-beyond-loopback", "plaintext-beyond-loopback")
"""Everything that is refused unless `server.allow` names it."""


@frozen(kw_only=True)
class BatchingSettings:
    """The `[server.batching]` table: whole runs of several calls, done together by engines that can."""

    max_size: int = setting(
        default=32,
        help="most runs that are done together; 1 turns batching off",
        unit="runs",
        validator=between(1, 4096),
    )
    window_ms: float = setting(
        default=0.0,
        help="time that every run waits for others; 0 delays none, and takes what waits already",
        unit="milliseconds",
        validator=between(0.0, 1000.0),
    )
    busy_window_ms: float = setting(
        default=2.0,
        help="longest time that runs wait until as many have come as were done together before; a single one waits not",
        unit="milliseconds",
        validator=between(0.0, 1000.0),
    )
    max_cell_steps: int = setting(
        default=10_000_000,
        help="most work that is done together, so that no call waits for long for another; what costs more goes alone",
        unit="cell-steps",
        validator=between(1, 2**53),
    )


@frozen(kw_only=True)
class ServerSettings:
    """The `[server]` table.

    Raises:
        ValueError: a value is out of its bounds.
    """

    plugins: tuple[str, ...] = setting(
        default=(),
        help="plugins to load, by entry-point name or import path; no other plugin is imported",
        validator=each(non_empty),
    )
    engine: str = setting(
        default="auto",
        help='compute engine by name; "auto" takes the fastest that supports what is asked',
        validator=non_empty,
    )
    workers: int = setting(default=1, help="worker processes that share the listeners", validator=between(1, 256))
    min_grid: int = setting(
        default=4,
        help="smallest side of a grid that a call may ask for",
        unit="cells",
        validator=between(1, 65_536),
    )
    max_grid: int = setting(
        default=1024,
        help="largest side of a grid that a call may ask for",
        unit="cells",
        validator=between(1, 65_536),
    )
    max_steps: int = setting(
        default=10_000, help="most steps that one call may ask for", unit="steps", validator=between(1, 2**53)
    )
    max_cell_steps: int = setting(
        default=1_000_000_000,
        help="most work that one call may ask for: cells of the grid times steps",
        unit="cell-steps",
        validator=between(1, 2**53),
    )
    compute_threads: int = setting(
        default=0, help="compute threads of a worker; 0: one a core", validator=between(0, 1024)
    )
    compute_queue: int = setting(
        default=256,
        help="compute jobs that may wait in a worker; beyond it calls end with RESOURCE_EXHAUSTED",
        unit="jobs",
        validator=between(0, 1_000_000),
    )
    batching: BatchingSettings = setting(
        factory=BatchingSettings, help="which runs are done together, on engines that do several at once"
    )
    calibration_seconds: float = setting(
        default=0.1,
        help="time at the start in which the engines are measured; 0: none, and their own estimates of speed hold",
        unit="seconds",
        validator=between(0.0, 10.0),
    )
    event_loop: Literal["auto", "asyncio", "uvloop"] = setting(
        default="auto",
        help="event loop of a worker whose transports bring none: uvloop where it is installed, or one by name",
        validator=one_of("auto", "asyncio", "uvloop"),
    )
    scheduling: Literal["batch", "normal"] = setting(
        default="batch",
        help="how Linux schedules the server's threads: with batch one that wakes waits for its turn instead of "
        "interrupting another, which saves switches where there are more threads than cores",
        validator=one_of("batch", "normal"),
    )
    drain_seconds: float = setting(
        default=10.0,
        help="time that calls in flight have to finish when the server stops",
        unit="seconds",
        validator=between(0.0, 600.0),
    )
    allow: tuple[str, ...] = setting(
        default=(),
        help="by name, what is refused otherwise: calls without credentials, listeners without encryption",
        validator=each(one_of(*ALLOWANCES)),
    )
    anonymous_role: str = setting(
        default="write",
        help='role of a call without credentials, where "anonymous" is allowed',
        validator=one_of("read", "write", "admin"),
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        default="info",
        help="least severe messages of the log",
        validator=one_of("debug", "info", "warning", "error"),
    )
    log_format: Literal["text", "json"] = setting(
        default="json", help="one JSON object a line, or text for a person", validator=one_of("text", "json")
    )


def _allow(given: str, present: Any) -> Any:
    """Authentication turned off: calls without credentials are allowed, on loopback. Turned on: they are not."""
    allowed = list(present) if isinstance(present, list | tuple) else []
    required = boolean(given)
    if required is ("anonymous" not in allowed):
        return present
    return [each for each in allowed if each != "anonymous"] if required else [*allowed, "anonymous"]


def _lower(given: str, present: Any) -> str:
    return "warning" if given.lower() in ("warn", "warning") else given.lower()


SERVER_ENVIRONMENT = (
    EnvironmentName(name="MFN_LOG_LEVEL", setting=("log_level",), convert=_lower),
    EnvironmentName(name="MFN_LOG_FORMAT", setting=("log_format",), convert=_lower),
    EnvironmentName(name="GRPC_MAX_WORKERS", setting=("compute_threads",), convert=whole_number),
    EnvironmentName(name="MFN_GRPC_MAX_WORKERS", setting=("compute_threads",), convert=whole_number),
    EnvironmentName(name="GRPC_AUTH_ENABLED", setting=("allow",), convert=_allow),
    EnvironmentName(name="MFN_GRPC_AUTH_REQUIRED", setting=("allow",), convert=_allow),
)
"""Environment variables that set something of `[server]`."""


@frozen(kw_only=True)
class PipelineSettings:
    """The `[pipeline]` table."""

    order: tuple[str, ...] = setting(
        default=("audit", "telemetry", "auth", "limit"),
        help="stages of the chain around every call, outermost first; a middleware stands in it by its name",
        validator=each(non_empty),
    )


@frozen(kw_only=True)
class CacheSettings:
    """The `[cache]` table: each worker keeps replies of deterministic operations, and computes each once at a time."""

    max_bytes: int = setting(
        default=67_108_864,
        help="most memory that cached replies may take in a worker; 0 turns the cache off",
        unit="bytes",
        validator=at_least(0),
    )
    coalesce: bool = setting(
        default=True, help="compute equal calls that are in flight at the same time once; with the cache off too"
    )
