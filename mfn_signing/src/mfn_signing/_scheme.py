"""Scheme v2: what is signed, how it is signed, and how a signature is checked."""

from __future__ import annotations

import hashlib
import hmac
import re
from functools import lru_cache
from typing import Final

from mfn_signing._errors import MalformedError, shown
from mfn_signing._nonce import NONCE_PATTERN, counter_overflows, parse_nonce
from mfn_signing._secret import MIN_SECRET_BYTES

__all__ = [
    "CONTENT_SHA256_HEADER",
    "HEADERS",
    "KEY_ID_HEADER",
    "NONCE_HEADER",
    "SCHEME",
    "SIGNATURE_HEADER",
    "STREAM",
    "TIMESTAMP_HEADER",
    "TIMESTAMP_WINDOW_SECONDS",
    "content_hash",
    "http_path",
    "parse_timestamp",
    "signature",
    "string_to_sign",
    "verify_signature",
]

SCHEME: Final = "MFN2-HMAC-SHA256"
"""First line of the string to sign."""

KEY_ID_HEADER: Final = "x-mfn-key-id"
TIMESTAMP_HEADER: Final = "x-mfn-timestamp"
NONCE_HEADER: Final = "x-mfn-nonce"
CONTENT_SHA256_HEADER: Final = "x-mfn-content-sha256"
SIGNATURE_HEADER: Final = "x-mfn-signature"

HEADERS: Final = (KEY_ID_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, CONTENT_SHA256_HEADER, SIGNATURE_HEADER)
"""The five metadata keys, which are the HTTP headers too; all are needed, each once."""

STREAM: Final = "STREAM"
"""Content hash of an operation whose client streams its requests: the messages are not signed."""

TIMESTAMP_WINDOW_SECONDS: Final = 300
"""How far, either way, a timestamp may lie from the server's clock."""

_TIMESTAMP = r"(?:0|[1-9][0-9]{0,11})"
_CONTENT_HASH = rf"(?:[0-9a-f]{{64}}|{STREAM})"
# Anything that is neither a control character nor half a surrogate pair, which UTF-8 cannot write.
_PATH = "[^\x00-\x1f\x7f\ud800-\udfff]+"

# No part can hold a line feed and the lines have exactly two, so one match proves the form of all three.
_lines_after_path_match = re.compile(f"{_TIMESTAMP}\n{NONCE_PATTERN}\n{_CONTENT_HASH}").fullmatch
_path_match = re.compile(_PATH).fullmatch
_timestamp_match = re.compile(_TIMESTAMP).fullmatch
_content_hash_match = re.compile(_CONTENT_HASH).fullmatch
_method_match = re.compile(r"[A-Z]{1,32}").fullmatch
# An origin-form request target as it stands on the wire: visible ASCII, no fragment.
_target_match = re.compile(r"/[!-\"$-~]*").fullmatch


_CACHED_PATH = 256
"""Characters of the longest path whose form is remembered, so that strangers cannot fill the memory."""

# Copied for each message: a copy is sooner made than a state that looks up its algorithm.
_sha256 = hashlib.sha256()


def content_hash(body: bytes | bytearray | memoryview) -> str:
    """Lower-case hex SHA-256 of a request message as the codec sees it: de-framed, decompressed."""
    state = _sha256.copy()
    state.update(body)
    return state.hexdigest()


def parse_timestamp(text: str) -> int:
    """Read the timestamp header: Unix seconds, 1 to 12 ASCII digits without sign or leading zero.

    Raises:
        MalformedError: `text` is anything else.
    """
    if _timestamp_match(text) is None:
        raise MalformedError(
            "timestamp",
            f"{shown(text)} is not Unix seconds; write 1 to 12 digits without sign, fraction or leading zero",
        )
    return int(text)


def http_path(method: str, path_and_query: str | bytes) -> str:
    """The path that REST and WebSocket requests sign: `METHOD SP path?query`.

    Args:
        method: upper-case HTTP method; `GET` for a WebSocket handshake.
        path_and_query: the request target as it stands in the request line, percent-encoding untouched. A `?`
            with nothing after it is dropped, because not every server can tell it from none.

    Raises:
        MalformedError: the method is not upper-case letters, or the target does not start with `/`, is not
            visible ASCII, or has a fragment.
    """
    if _method_match(method) is None:
        raise MalformedError("method", f"{shown(method)} is not 1 to 32 upper-case letters; write it like GET")
    if isinstance(path_and_query, bytes):
        path_and_query = path_and_query.decode("latin-1")  # cannot fail; what is not ASCII is refused below
    if _target_match(path_and_query) is None:
        raise MalformedError(
            "path",
            f"{shown(path_and_query)} is not a request target; start it with '/', percent-encode what is not "
            "visible ASCII, and leave out host and fragment",
        )
    path, mark, query = path_and_query.partition("?")
    return f"{method} {path}?{query}" if mark and query else f"{method} {path}"


def _joined(path: str | bytes, timestamp: int | str, nonce: str, content_sha256: str) -> str | None:
    """The string to sign, or None when any part is malformed."""
    if isinstance(path, bytes):
        try:
            path = path.decode()
        except UnicodeDecodeError:
            return None
    if not (_is_known_path(path) if len(path) <= _CACHED_PATH else _is_path(path)):
        return None
    after_path = f"{timestamp}\n{nonce}\n{content_sha256}"
    if _lines_after_path_match(after_path) is None or counter_overflows(nonce):
        return None
    return f"{SCHEME}\n{path}\n{after_path}"


def _is_path(path: str) -> bool:
    return _path_match(path) is not None


_is_known_path = lru_cache(maxsize=1024)(_is_path)
"""`_is_path` for paths that are short: a client signs the same few again and again."""


def string_to_sign(path: str | bytes, timestamp: int | str, nonce: str, content_sha256: str) -> bytes:
    """The five lines that a signature covers, UTF-8, joined by LF without one at the end.

    Args:
        path: `/package.Service/Method` on every RPC protocol, else what `http_path` returns; bytes are UTF-8.
        timestamp: Unix seconds, as a number or as the header's text.
        nonce: the header's text, of either kind.
        content_sha256: what `content_hash` returns, or `STREAM`.

    Raises:
        MalformedError: a part has not its form; the first such part is named.
    """
    joined = _joined(path, timestamp, nonce, content_sha256)
    if joined is None:
        raise _first_problem(path, timestamp, nonce, content_sha256)
    return joined.encode()


def signature(secret: bytes, path: str | bytes, timestamp: int | str, nonce: str, content_sha256: str) -> str:
    """Lower-case hex HMAC-SHA256 under `secret`, the decoded bytes, over the string to sign.

    Raises:
        MalformedError: a part has not its form, or the secret has fewer than 32 bytes.
        TypeError: the secret is not bytes.
    """
    _check_secret(secret)
    return _mac(secret, string_to_sign(path, timestamp, nonce, content_sha256))


def verify_signature(
    secret: bytes, path: str | bytes, timestamp: int | str, nonce: str, content_sha256: str, signature: str
) -> bool:
    """Say whether `signature` is what `secret` gives to these parts, in time independent of the secret.

    This is the signature alone. A server also compares `content_sha256` with the hash of what it received,
    the timestamp with its clock and the nonce with its memory, and for an unknown key id it verifies under
    a random secret, so that both take as long.

    Returns False, and never raises, for any part of the request that is malformed.

    Raises:
        MalformedError: the secret has fewer than 32 bytes.
        TypeError: the secret is not bytes.
    """
    _check_secret(secret)
    joined = _joined(path, timestamp, nonce, content_sha256)
    if joined is None or not signature.isascii():
        return False
    return hmac.compare_digest(_mac(secret, joined.encode()), signature)


def _mac(secret: bytes, message: bytes) -> str:
    """HMAC-SHA256 in lower-case hex (RFC 2104), from the two hash states that a secret always begins with.

    `hmac.digest` lets go of the interpreter's lock for every message, however short: in a process with busy threads
    taking it back costs ten times what the hash does. Copies of prepared states never let go.
    """
    inner, outer = _prepared(secret)
    inner, outer = inner.copy(), outer.copy()
    inner.update(message)
    outer.update(inner.digest())
    return outer.hexdigest()


@lru_cache(maxsize=4096)
def _prepared(secret: bytes) -> tuple[hashlib._Hash, hashlib._Hash]:
    block = (secret if len(secret) <= 64 else hashlib.sha256(secret).digest()).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    return inner, outer


def _check_secret(secret: bytes) -> None:
    """Refuse a secret that is still text, or too short to be one."""
    if not isinstance(secret, bytes):
        raise TypeError(f"secret must be the decoded bytes, not {type(secret).__name__}; use decode_secret")
    if len(secret) < MIN_SECRET_BYTES:
        raise MalformedError(
            "secret", f"has {len(secret)} bytes, at least {MIN_SECRET_BYTES} are needed; draw a new key"
        )


def _first_problem(path: str | bytes, timestamp: int | str, nonce: str, content_sha256: str) -> MalformedError:
    """Why `_joined` refused these parts."""
    try:
        text = path if isinstance(path, str) else path.decode()
    except UnicodeDecodeError:
        return MalformedError("path", "is not UTF-8; percent-encode other bytes")
    if _path_match(text) is None:
        return MalformedError(
            "path",
            f"{shown(text)} is empty or has control characters; write /package.Service/Method or GET /path",
        )
    try:
        parse_timestamp(str(timestamp))
        parse_nonce(nonce)
    except MalformedError as problem:
        return problem
    return MalformedError(
        "content hash",
        f"of {len(content_sha256)} characters is not 64 lower-case hexadecimal digits; "
        f"write the SHA-256 of the message, or {STREAM} where the client streams",
    )
