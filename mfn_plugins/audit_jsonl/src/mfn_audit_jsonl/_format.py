"""The line format: how a record becomes JSON, how a line is sealed to the one before it, how a seal is checked."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quote
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mfn_core import AuditRecord

__all__ = [
    "GENESIS",
    "MAX_LINE",
    "MAX_TEXT",
    "body_of",
    "continued_body",
    "load_line",
    "opened_body",
    "seal",
    "seal_of",
    "timestamp",
    "torn_body",
]

GENESIS: Final = "0" * 64
"""`prev` of the first record."""

MAX_TEXT: Final = 1024
"""Characters of a text that are kept; a longer one ends in a note of its true length."""

MAX_LINE: Final = 262_144
"""Bytes of the longest line, with room to spare: every text of a record at its bound, in the widest escapes."""

_SEAL_LENGTH: Final = len(',"hash":"') + 64 + len('"}')


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds: `2026-01-01T00:00:00.000000Z`.

    Raises:
        ValueError, OverflowError, OSError: the number is not finite, or outside the years 1 to 9999.
    """
    whole, micro = divmod(round(seconds * 1e6), 1_000_000)
    return f"{_second(whole)}.{micro:06d}Z"


@lru_cache(maxsize=16)
def _second(whole: int) -> str:
    # The calls of one second share it.
    return datetime.fromtimestamp(whole, UTC).isoformat(timespec="seconds")[:19]


def body_of(record: AuditRecord) -> str:
    """The members of a record's line between `prev` and `hash`, in their fixed order, in ASCII.

    It is written by hand because it runs on the event loop once for every call; each value goes through the JSON
    encoder's own quoting or through a numeric format, so no value can leave its place.
    """
    return (
        f'"time":"{timestamp(record.time)}","call_id":{_text(record.call_id)},'
        f'"request_id":{_text(record.request_id)},'
        f"{_what(record.principal, record.key_id, record.method, record.shape, record.transport, record.status)},"
        f'"reason":{_text(record.reason)},'
        f'"duration_ms":{_milliseconds(record.duration)},"messages_in":{record.messages_in:d},'
        f'"messages_out":{record.messages_out:d},"bytes_in":{record.bytes_in:d},"bytes_out":{record.bytes_out:d},'
        f"{_whence(record.peer, record.tls_identity, record.protocol)}"
    )


# What many records have in common. Bounded, since some of it is chosen by strangers.


@lru_cache(maxsize=2048)
def _what(principal: str | None, key_id: str | None, method: str, shape: str, transport: str, status: str) -> str:
    return (
        f'"principal":{_text(principal)},"key_id":{_text(key_id)},"method":{_text(method)},"shape":{_text(shape)},'
        f'"transport":{_text(transport)},"status":{_text(status)}'
    )


@lru_cache(maxsize=4096)
def _whence(peer: str, tls_identity: str | None, protocol: str) -> str:
    return f'"peer":{_text(peer)},"tls_identity":{_text(tls_identity)},"protocol":{_text(protocol)}'


def torn_body(seconds: float, size: int, sha256: str, kept_in: str) -> str:
    """The members of the line that follows a crash: how much of a record was torn off, and where it is kept."""
    return (
        f'"time":"{timestamp(seconds)}","event":"torn","torn_bytes":{size:d},'
        f'"torn_sha256":{_text(sha256)},"kept_in":{_text(kept_in)}'
    )


def continued_body(seconds: float, previous: str, records: int, expired_before: int | None) -> str:
    """The members of the first line of a file that continues another one.

    The line's `seq` and `prev` are that file's count and last hash carried on.

    Args:
        seconds: Unix time.
        previous: name of the file that is continued.
        records: lines in it.
        expired_before: number of the oldest record that is kept, where older files are removed from now on.
    """
    expired = "null" if expired_before is None else f"{expired_before:d}"
    return (
        f'"time":"{timestamp(seconds)}","event":"continued","previous":{_text(previous)},'
        f'"previous_records":{records:d},"expired_before":{expired}'
    )


def opened_body(seconds: float, worker: int, workers: int) -> str:
    """The members of the line that a worker's trail gets at each start, where there are several workers."""
    return f'"time":"{timestamp(seconds)}","event":"opened","worker":{worker:d},"workers":{workers:d}'


def seal(seq: int, prev: str, body: str) -> tuple[bytes, str]:
    """One whole line, its LF included, and its hash.

    The hash is SHA-256 over the bytes of the line up to the `,"hash":` that it is written behind.
    """
    sealed = f'{{"seq":{seq},"prev":"{prev}",{body}'.encode("ascii")
    digest = hashlib.sha256(sealed).hexdigest()
    return b'%b,"hash":"%b"}\n' % (sealed, digest.encode("ascii")), digest


def seal_of(line: bytes) -> str | None:
    """The hash that a line carries, if it is the hash of what stands before it; else None.

    Args:
        line: without its LF.
    """
    digest = hashlib.sha256(line[:-_SEAL_LENGTH]).hexdigest()
    intact = line[-_SEAL_LENGTH:] == b',"hash":"%b"}' % digest.encode("ascii")
    return digest if intact else None


def load_line(line: bytes) -> dict[str, Any]:
    """The JSON object that a line is.

    Raises:
        ValueError: it is none; the message says why.
    """
    if len(line) > MAX_LINE:
        raise ValueError(f"longer than {MAX_LINE} bytes, more than any record")
    try:
        value = json.loads(line.decode("ascii"), parse_constant=_no_constant)
    except UnicodeDecodeError as wrong:
        raise ValueError(f"byte {wrong.start} of the line, {line[wrong.start]:#04x}, is not ASCII") from None
    except json.JSONDecodeError as wrong:
        raise ValueError(f"{wrong.msg.lower()} at byte {wrong.pos} of the line") from None
    except RecursionError:
        raise ValueError("nested more deeply than any record") from None
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, not an object")
    return value


def _text(value: str | None) -> str:
    if value is None:
        return "null"
    if len(value) > MAX_TEXT:
        value = f"{value[:MAX_TEXT]}… ({len(value)} characters)"
    if not value.isascii():
        # A lone surrogate would be JSON by its grammar and refused by strict readers: it is spelled out instead.
        value = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return _quote(value)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}" if isfinite(seconds) else "null"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
