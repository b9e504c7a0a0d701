"""What the headers of a Connect request say.

https://connectrpc.com/docs/protocol. A unary call is compressed as HTTP compresses, a streaming one message by message
with headers of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from mfn_core.errors import Code, MfnError
from mfn_transport_asgi._metadata import metadata_pairs

__all__ = ["ENCODING", "ConnectHead", "parse_timeout_ms"]

ENCODING = b"gzip"
"""The one content coding that is read and written beside `identity`."""
VERSION = b"1"

_NO_METADATA = frozenset(
    {
        b"te",
        b"host",
        b"connection",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"accept-encoding",
        b"transfer-encoding",
        b"x-forwarded-proto",
        b"x-mfn-id",
    }
)
"""Headers of HTTP, and what the listener itself adds; those that begin with `connect-` are the protocol's."""


class ConnectHead:
    """What the headers of a request say, read in one pass on receipt."""

    __slots__ = ("deadline", "encoding", "fault", "gzip", "metadata", "stream_id")

    metadata: list[tuple[str, str | bytes]]
    deadline: float | None
    """On the clock of `time.monotonic`."""
    encoding: bytes | None
    """How the request is compressed, where it is."""
    gzip: bool
    """Whether the client reads replies in gzip."""
    stream_id: bytes | None
    """The listener's own id of the stream."""
    fault: MfnError | None
    """The first thing that is wrong with them."""

    def __init__(
        self, headers: Iterable[tuple[bytes, bytes]], *, streaming: bool, compression: bytes | None = None
    ) -> None:
        """Read them.

        Args:
            headers: of the request.
            streaming: whether the call is enveloped.
            compression: how the request is compressed, where no header says it: of a GET, its query does.
        """
        self.metadata = []
        self.deadline = self.fault = self.stream_id = None
        names = (b"connect-content-encoding", b"connect-accept-encoding") if streaming else _OF_HTTP
        encoding, accepted = compression, None
        for name, value in headers:
            if name == names[0]:
                encoding = value if compression is None else compression
            elif name == names[1]:
                accepted = value if accepted is None else accepted + b"," + value
            elif name == b"x-mfn-id":
                self.stream_id = value
            elif name in _NO_METADATA or name.startswith(b"grpc-"):
                continue
            elif name.startswith(b"connect-"):
                self._read_own(name, value)
            else:
                self._read_metadata(name.decode("latin-1"), value)
        what = "compression" if compression is not None else names[0].decode()
        self.encoding = None
        try:
            self.encoding = _check_encoding(encoding, what)
        except MfnError as wrong:
            self.fault = wrong
        # Who says nothing is taken to read what they write.
        self.gzip = self.encoding is not None if accepted is None else _accepts(accepted)

    def _read_own(self, name: bytes, value: bytes) -> None:
        if name == b"connect-timeout-ms":
            try:
                self.deadline = time.monotonic() + parse_timeout_ms(value)
            except MfnError as wrong:
                self.fault = wrong
        elif name == b"connect-protocol-version" and value != VERSION:
            self.fault = MfnError(Code.INVALID_ARGUMENT, f"connect-protocol-version must be '1', not {_quoted(value)}")

    def _read_metadata(self, key: str, value: bytes) -> None:
        try:
            self.metadata.extend(metadata_pairs(key, value))
        except MfnError as wrong:
            self.fault = wrong


_OF_HTTP = (b"content-encoding", b"accept-encoding")
_TIMEOUT = re.compile(rb"[0-9]{1,10}")


def parse_timeout_ms(value: bytes) -> float:
    """Seconds of a `connect-timeout-ms`: up to ten digits.

    Raises:
        MfnError: INVALID_ARGUMENT: it has another form.
    """
    if _TIMEOUT.fullmatch(value) is None:
        raise MfnError(
            Code.INVALID_ARGUMENT, f"connect-timeout-ms {_quoted(value)} is not milliseconds in up to ten digits"
        )
    return int(value) / 1000.0


def _check_encoding(encoding: bytes | None, what: str) -> bytes | None:
    """The content coding of a request; None: it is not compressed. `what` says where it is named.

    Raises:
        MfnError: UNIMPLEMENTED: it is none that is read here.
    """
    if encoding is None or encoding in (b"identity", b""):
        return None
    if encoding != ENCODING:
        raise MfnError(Code.UNIMPLEMENTED, f"{what} {_quoted(encoding)} is not supported; use identity or gzip")
    return encoding


def _accepts(value: bytes) -> bool:
    """Whether an `accept-encoding` takes gzip; of its quality values only 0, which means not, counts."""
    for part in value.split(b","):
        coding, _, parameters = part.partition(b";")
        if coding.strip().lower() in (ENCODING, b"*"):
            return re.fullmatch(rb"\s*q\s*=\s*0(\.0*)?\s*", parameters) is None
    return False


def _quoted(value: bytes) -> str:
    return repr(value[:32].decode("ascii", "backslashreplace"))
