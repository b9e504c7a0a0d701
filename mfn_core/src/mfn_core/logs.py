"""Logs of a server: standard logging to standard error, one line an event, as text or JSON."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfn_core.config import ServerSettings

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging"]

_STANDARD = frozenset(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {
    "message",
    "asctime",
    "taskName",
}


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


class JsonFormatter(logging.Formatter):
    """One JSON object a line; what was passed as `extra` becomes keys of it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        entry: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((key, value) for key, value in record.__dict__.items() if key not in _STANDARD)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`time level logger: message`; control characters are escaped, so that a line stays a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of one record."""
        message = (
            record.getMessage().encode("unicode_escape").decode("ascii") if _unsafe(record) else record.getMessage()
        )
        line = f"{_timestamp(record)} {record.levelname.lower():7} {record.name}: {message}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _unsafe(record: logging.LogRecord) -> bool:
    return any(ord(character) < 32 for character in record.getMessage())


def configure_logging(settings: ServerSettings) -> None:
    """Send the process's logs to standard error as the `[server]` table says; replaces what was configured."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
