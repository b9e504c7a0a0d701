"""The signing side: a key id with its secret, and the headers of one request."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from datetime import UTC, datetime

from mfn_signing._errors import InvalidKeyError, KeysFileError, kind_of
from mfn_signing._keys import REVOKED, Key, id_problem
from mfn_signing._keys_file import load_keys
from mfn_signing._scheme import (
    CONTENT_SHA256_HEADER,
    KEY_ID_HEADER,
    NONCE_HEADER,
    SIGNATURE_HEADER,
    STREAM,
    TIMESTAMP_HEADER,
    content_hash,
    signature,
)
from mfn_signing._secret import decode_secret, secret_length_problem

__all__ = ["Credentials", "sign_headers"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Credentials:
    """What a client needs to sign: its key id and secret. The repr never shows the secret.

    Attributes:
        key_id: 1 to 64 characters of `[A-Za-z0-9._-]`.
        secret: 32 to 1024 bytes, the HMAC key itself.

    Raises:
        InvalidKeyError: either field breaks its rule.
    """

    key_id: str
    secret: bytes

    def __post_init__(self) -> None:
        """Check both fields."""
        problems = []
        if problem := id_problem(self.key_id):
            problems.append(f"key_id: {problem}")
        if not isinstance(self.secret, bytes):
            problems.append(f"secret: is {kind_of(self.secret)}, not the decoded bytes; use from_text")
        elif problem := secret_length_problem(len(self.secret)):
            problems.append(f"secret: {problem}")
        if problems:
            raise InvalidKeyError(problems)

    @classmethod
    def from_text(cls, key_id: str, secret: str) -> Credentials:
        """Make credentials of a key id and a secret in base64url without padding, as a keys file has them.

        Raises:
            InvalidKeyError: the key id breaks its rule.
            MalformedError: the secret is not such a text.
        """
        return cls(key_id=key_id, secret=decode_secret(secret))

    @classmethod
    def from_key(cls, key: Key) -> Credentials:
        """Take the id and the secret of `key`."""
        return cls(key_id=key.id, secret=key.secret)

    @classmethod
    def from_keys_file(cls, path: str | os.PathLike[str], key_id: str) -> Credentials:
        """Take the key `key_id` of a keys file.

        Raises:
            KeysFileError: `load_keys` refuses the file, it has no such key, or the key is revoked or past its
                `not_after`, so that no server would take it.
        """
        source = os.fspath(path)
        keys = load_keys(path)
        key = next((key for key in keys if key.id == key_id), None)
        if key is None:
            present = ", ".join(repr(key.id) for key in keys[:8]) + (", …" if len(keys) > 8 else "")
            raise KeysFileError(source, [f"has no key {key_id!r}; it has {present or 'no key at all'}"])
        if key.status == REVOKED:
            raise KeysFileError(source, [f"key {key_id!r} is revoked; use an active one"])
        if key.not_after is not None and key.not_after < datetime.now(UTC):
            raise KeysFileError(
                source, [f"key {key_id!r} was usable until {key.not_after.isoformat()}; use another one"]
            )
        return cls.from_key(key)

    def __eq__(self, other: object) -> bool:
        """Compare both fields, the secrets always and in constant time."""
        if not isinstance(other, Credentials):
            return NotImplemented
        same_secret = hmac.compare_digest(self.secret, other.secret)
        return same_secret and self.key_id == other.key_id

    def __hash__(self) -> int:
        """Hash the key id alone."""
        return hash(self.key_id)

    def __repr__(self) -> str:
        """The key id, and the secret as [REDACTED]."""
        return f"Credentials(key_id={self.key_id!r}, secret=[REDACTED])"


def sign_headers(
    signer: Key | Credentials,
    path: str | bytes,
    body: bytes | bytearray | memoryview | None,
    *,
    timestamp: int | str,
    nonce: str,
) -> tuple[tuple[str, str], ...]:
    """The five headers of one request. Every attempt of a retried request needs a new nonce, so new headers.

    Args:
        signer: whose key id and secret to use.
        path: `/package.Service/Method` on every RPC protocol, else what `http_path` returns.
        body: the request message as the codec sees it, or None where the client streams requests.
        timestamp: Unix seconds now.
        nonce: from `WindowedNonceSource.next` or `new_random_nonce`.

    Returns:
        Pairs of lower-case metadata key and value, in the order of `HEADERS`.

    Raises:
        MalformedError: path, timestamp or nonce has not its form.
    """
    key_id = signer.key_id if isinstance(signer, Credentials) else signer.id
    hashed = STREAM if body is None else content_hash(body)
    return (
        (KEY_ID_HEADER, key_id),
        (TIMESTAMP_HEADER, str(timestamp)),
        (NONCE_HEADER, nonce),
        (CONTENT_SHA256_HEADER, hashed),
        (SIGNATURE_HEADER, signature(signer.secret, path, timestamp, nonce, hashed)),
    )
