"""Secrets as text: base64url without padding, one text for each secret."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from mfn_signing._errors import MalformedError

__all__ = ["MAX_SECRET_BYTES", "MIN_SECRET_BYTES", "decode_secret", "encode_secret", "secret_length_problem"]

MIN_SECRET_BYTES: Final = 32
"""Fewest bytes of a secret: as many as SHA-256 gives out."""

MAX_SECRET_BYTES: Final = 1024
"""Most bytes of a secret: more than 64 add no strength to HMAC-SHA256."""

_REMEDY = "use 32 random bytes in base64url without padding"
_alphabet_match = re.compile(r"[A-Za-z0-9_-]+").fullmatch


def secret_length_problem(length: int) -> str | None:
    """What is wrong with a secret of `length` bytes, or None."""
    if length < MIN_SECRET_BYTES:
        return f"has {length} bytes, at least {MIN_SECRET_BYTES} are needed; {_REMEDY}"
    if length > MAX_SECRET_BYTES:
        return f"has {length} bytes, at most {MAX_SECRET_BYTES} are allowed; {_REMEDY}"
    return None


def encode_secret(secret: bytes) -> str:
    """Write a secret as base64url (RFC 4648 §5) without padding.

    Raises:
        MalformedError: it has fewer than 32 or more than 1024 bytes.
    """
    if problem := secret_length_problem(len(secret)):
        raise MalformedError("secret", problem)
    return urlsafe_b64encode(secret).rstrip(b"=").decode("ascii")


def decode_secret(text: str) -> bytes:
    """Read a secret, strictly: no padding, white space or other alphabet, no stray bits at the end.

    Raises:
        MalformedError: `text` is no such thing, or decodes to fewer than 32 or more than 1024 bytes. The
            error never quotes any of it.
    """
    if "=" in text:
        raise MalformedError("secret", "has padding; leave out the '='")
    if _alphabet_match(text) is None:
        raise MalformedError("secret", f"is empty or has characters other than [A-Za-z0-9_-]; {_REMEDY}")
    if len(text) % 4 == 1:
        raise MalformedError("secret", f"has {len(text)} characters, which no bytes encode to; {_REMEDY}")
    secret = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if problem := secret_length_problem(len(secret)):
        raise MalformedError("secret", problem)
    if urlsafe_b64encode(secret).rstrip(b"=") != text.encode("ascii"):
        raise MalformedError("secret", f"has stray bits in its last character; {_REMEDY}")
    return secret
