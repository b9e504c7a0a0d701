"""What the headers of a REST request say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence

from attrs import frozen

from mfn_core.errors import MfnError
from mfn_transport_asgi._metadata import metadata_pairs

__all__ = ["ENCODING", "ContentType", "RestHead", "preferred"]

ENCODING = b"gzip"
"""The one content coding that is read and written beside `identity`."""
LONGEST_ID = 128
LONGEST_EVENT_ID = 18
"""Digits."""

_NO_METADATA = frozenset(
    {
        b"accept",
        b"accept-encoding",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"last-event-id",
        b"prefer",
        b"te",
        b"transfer-encoding",
        b"x-forwarded-proto",
        b"x-mfn-id",
    }
)
_WAIT = re.compile(rb'(?:^|[,;])\s*wait\s*=\s*"?([0-9]{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)
_ID = re.compile(rb"[\x21-\x7e]{1,%d}" % LONGEST_ID)
_QUALITY = re.compile(rb"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)
_CHARSETS = (b"utf-8", b"utf8", b"us-ascii")


@frozen
class ContentType:
    """How a body is written."""

    name: bytes
    """In lower case, without parameters; empty where the request does not say."""
    charset: bytes = b"utf-8"
    """In lower case."""

    @property
    def is_utf8(self) -> bool:
        """Whether its charset is UTF-8 or a part of it."""
        return self.charset in _CHARSETS

    @classmethod
    def parse(cls, value: bytes) -> ContentType:
        """Read the header's value."""
        name, *parameters = value.split(b";")
        charset = b"utf-8"
        for parameter in parameters:
            key, _, given = parameter.partition(b"=")
            if key.strip().lower() == b"charset":
                charset = given.strip().strip(b'"').lower()
        return cls(name.strip().lower(), charset)


class RestHead:
    """Read in one pass on receipt."""

    __slots__ = (
        "accept",
        "coding",
        "content_type",
        "deadline",
        "fault",
        "gzip",
        "last_event",
        "metadata",
        "request_id",
        "stream_id",
    )

    metadata: list[tuple[str, str | bytes]]
    accept: bytes | None
    content_type: ContentType
    coding: bytes | None
    """Content coding of the request; None: it has none."""
    deadline: float | None
    """On the clock of `time.monotonic`: the preference `wait` (RFC 7240)."""
    gzip: bool
    """Whether the client reads replies in gzip."""
    last_event: int
    """Number of the last event that a stream's client has seen; 0: none."""
    request_id: str | None
    """The client's own id of the call, where it can stand in a reply."""
    stream_id: bytes | None
    """The listener's own id of the stream."""
    fault: MfnError | None
    """The first thing that is wrong with them."""

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Read them."""
        self.metadata = []
        self.accept = self.coding = self.deadline = self.request_id = self.stream_id = self.fault = None
        self.gzip = False
        self.last_event = 0
        self.content_type = ContentType(b"")
        for name, value in headers:
            if name in _NO_METADATA:
                self._read_own(name, value)
            elif not name.startswith((b"grpc-", b"connect-")):
                self._read_metadata(name.decode("latin-1"), value)
                if name == b"x-request-id" and _ID.fullmatch(value) is not None:
                    self.request_id = value.decode()

    def _read_own(self, name: bytes, value: bytes) -> None:
        match name:
            case b"accept":
                self.accept = value if self.accept is None else self.accept + b"," + value
            case b"accept-encoding":
                self.gzip = self.gzip or preferred(value, (ENCODING,)) is not None
            case b"content-encoding":
                self.coding = None if value.strip().lower() in (b"", b"identity") else value.strip().lower()
            case b"content-type":
                self.content_type = ContentType.parse(value)
            case b"last-event-id" if value.isdigit() and len(value) <= LONGEST_EVENT_ID:
                self.last_event = int(value)
            case b"prefer":
                found = _WAIT.search(value)
                if found is not None:
                    self.deadline = time.monotonic() + int(found[1])
            case b"x-mfn-id":
                self.stream_id = value

    def _read_metadata(self, key: str, value: bytes) -> None:
        try:
            self.metadata.extend(metadata_pairs(key, value))
        except MfnError as wrong:
            self.fault = self.fault or wrong


def preferred(accept: bytes | None, offered: Sequence[bytes]) -> bytes | None:
    """Which of `offered`, the best first, a client that sent this `accept` likes most; None: it takes none of them.

    The range that says most of a type decides its quality (RFC 9110, section 12.5.1); codings are compared so too.
    """
    if accept is None:
        return offered[0]
    ranges: list[tuple[bytes, float]] = []
    for part in accept.split(b","):
        name, *parameters = part.split(b";")
        quality = 1.0
        for parameter in parameters:
            match = _QUALITY.fullmatch(parameter)
            if match is not None:
                quality = min(1.0, float(match[1]))
        if name.strip():
            ranges.append((name.strip().lower(), quality))
    if not ranges:
        return offered[0]
    best: tuple[float, bytes | None] = (0.0, None)
    for candidate in offered:
        family = candidate.partition(b"/")[0] + b"/*"
        for wanted in (candidate, family, b"*/*", b"*"):
            qualities = [quality for name, quality in ranges if name == wanted]
            if qualities:
                if max(qualities) > best[0]:
                    best = (max(qualities), candidate)
                break
    return best[1]
