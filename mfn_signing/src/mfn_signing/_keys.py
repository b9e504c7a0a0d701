"""Keys: who signs with which secret, in what roles, and from when to when."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from mfn_signing._errors import InvalidKeyError, kind_of, shown
from mfn_signing._secret import MIN_SECRET_BYTES, secret_length_problem

__all__ = [
    "ACTIVE",
    "MAX_PRINCIPAL_CHARACTERS",
    "REVOKED",
    "ROLES",
    "STATUSES",
    "Key",
    "date_problem",
    "generate_key",
    "id_problem",
    "order_problem",
    "principal_problem",
    "roles_problem",
    "status_problem",
]

ROLES: Final = ("read", "write", "admin")
"""Every role, each included in the next."""

ACTIVE: Final = "active"
REVOKED: Final = "revoked"
STATUSES: Final = (ACTIVE, REVOKED)
"""Every status of a key; only an active one is usable."""

MAX_PRINCIPAL_CHARACTERS: Final = 256

_RANK = {role: rank for rank, role in enumerate(ROLES)}
_id_match = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Key:
    """One signing key. Its repr never shows the secret, and comparing keys takes no time that depends on it.

    Attributes:
        id: 1 to 64 characters of `[A-Za-z0-9._-]`; travels in clear and names the key in logs and audit.
        secret: 32 to 1024 bytes, the HMAC key itself.
        principal: whom the key speaks for: 1 to 256 printable characters, no white space at either end.
        roles: one or more of `ROLES`; each includes those before it.
        status: `active` or `revoked`.
        not_before: aware instant of first use, or None; kept in UTC.
        not_after: aware instant of last use, itself included, or None; later than `not_before`; kept in UTC.

    Raises:
        InvalidKeyError: any field breaks its rule; all that do are named.
    """

    id: str
    secret: bytes = field(repr=False)
    principal: str
    roles: frozenset[str]
    status: str = ACTIVE
    not_before: datetime | None = None
    not_after: datetime | None = None

    def __post_init__(self) -> None:
        """Check every field, then bring the instants to UTC."""
        found = {
            "id": id_problem(self.id),
            "secret": _secret_problem(self.secret),
            "principal": principal_problem(self.principal),
            "roles": _frozen_roles_problem(self.roles),
            "status": status_problem(self.status),
            "not_before": None if self.not_before is None else date_problem(self.not_before),
            "not_after": None if self.not_after is None else date_problem(self.not_after),
        }
        if found["not_before"] is None and found["not_after"] is None:
            found["not_after"] = order_problem(self.not_before, self.not_after)
        if problems := [f"{name}: {problem}" for name, problem in found.items() if problem is not None]:
            raise InvalidKeyError(problems)
        if self.not_before is not None:
            object.__setattr__(self, "not_before", self.not_before.astimezone(UTC))
        if self.not_after is not None:
            object.__setattr__(self, "not_after", self.not_after.astimezone(UTC))

    def grants(self, role: str) -> bool:
        """Say whether the key's roles include `role`.

        Raises:
            ValueError: there is no such role.
        """
        if role not in _RANK:
            raise ValueError(f"role {shown(role)} does not exist; use {_any_of(ROLES)}")
        rank = _RANK[role]
        return any(_RANK[held] >= rank for held in self.roles)

    def usable_at(self, now: datetime) -> bool:
        """Say whether the key is active and `not_before` ≤ `now` ≤ `not_after`, where these are set.

        Raises:
            ValueError: `now` has no time zone.
        """
        if now.tzinfo is None:
            raise ValueError("now has no time zone; use datetime.now(UTC)")
        return (
            self.status == ACTIVE
            and (self.not_before is None or self.not_before <= now)
            and (self.not_after is None or now <= self.not_after)
        )

    def _public(self) -> tuple[object, ...]:
        """Every field but the secret."""
        return self.id, self.principal, self.roles, self.status, self.not_before, self.not_after

    def __eq__(self, other: object) -> bool:
        """Compare every field, the secrets always and in constant time."""
        if not isinstance(other, Key):
            return NotImplemented
        same_secret = hmac.compare_digest(self.secret, other.secret)
        return same_secret and self._public() == other._public()

    def __hash__(self) -> int:
        """Hash every field but the secret."""
        return hash(self._public())

    def __repr__(self) -> str:
        """Every field, the secret as [REDACTED]."""
        return (
            f"Key(id={self.id!r}, secret=[REDACTED], principal={self.principal!r}, "
            f"roles={sorted(self.roles, key=ROLES.index)}, status={self.status!r}, "
            f"not_before={_instant(self.not_before)}, not_after={_instant(self.not_after)})"
        )


def generate_key(
    *,
    principal: str,
    roles: Iterable[str],
    key_id: str | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Key:
    """Draw an active key with 32 random bytes of secret from the operating system.

    Args:
        principal: whom the key speaks for.
        roles: one or more of `ROLES`.
        key_id: the key id; drawn as `key-` and 16 hexadecimal digits when not given.
        not_before: aware instant of first use.
        not_after: aware instant of last use.

    Raises:
        InvalidKeyError: any argument breaks the rule of its field.
    """
    return Key(
        id=f"key-{secrets.token_hex(8)}" if key_id is None else key_id,
        secret=secrets.token_bytes(MIN_SECRET_BYTES),
        principal=principal,
        # One string is an iterable of letters; as one role it is what was meant, and is checked as that.
        roles=frozenset((roles,) if isinstance(roles, str) else roles),
        status=ACTIVE,
        not_before=not_before,
        not_after=not_after,
    )


def id_problem(value: object) -> str | None:
    """What is wrong with a key id, or None."""
    if not isinstance(value, str):
        return f"is {kind_of(value)}; write 1 to 64 characters of [A-Za-z0-9._-] as a string"
    if _id_match(value) is None:
        return f"{shown(value)} is not 1 to 64 characters of [A-Za-z0-9._-]; choose a name like 'lab-1'"
    return None


def principal_problem(value: object) -> str | None:
    """What is wrong with a principal, or None; the value itself is not quoted."""
    rule = f"write 1 to {MAX_PRINCIPAL_CHARACTERS} printable characters without white space at either end"
    if not isinstance(value, str):
        return f"is {kind_of(value)}; {rule}"
    if not 1 <= len(value) <= MAX_PRINCIPAL_CHARACTERS:
        return f"has {len(value)} characters; {rule}"
    # What cannot be printed could forge lines of a log or of the audit.
    if not value.isprintable() or value != value.strip():
        return f"has white space at an end, or control or other unprintable characters; {rule}"
    return None


def roles_problem(value: Iterable[object]) -> str | None:
    """What is wrong with a collection of roles, or None."""
    roles = list(value)
    if not roles:
        return f"is empty; use {_any_of(ROLES)}"
    for role in roles:
        if not isinstance(role, str):
            return f"holds {kind_of(role)}; use {_any_of(ROLES)}"
        if role not in _RANK:
            return f"{shown(role)} does not exist; use {_any_of(ROLES)}"
    if len(set(roles)) != len(roles):
        return "names a role twice; name each once"
    return None


def _frozen_roles_problem(value: object) -> str | None:
    """What is wrong with the roles of a key, or None."""
    if not isinstance(value, frozenset):
        return f"is {kind_of(value)}; use a frozenset of {_any_of(ROLES)}"
    return roles_problem(value)


def status_problem(value: object) -> str | None:
    """What is wrong with a status, or None."""
    if not isinstance(value, str):
        return f"is {kind_of(value)}; use {_any_of(STATUSES)}"
    return None if value in STATUSES else f"{shown(value)} does not exist; use {_any_of(STATUSES)}"


def date_problem(value: object) -> str | None:
    """What is wrong with an instant, or None."""
    rule = "write a date and time with an offset, like 2026-01-01T00:00:00Z"
    if not isinstance(value, datetime):
        return f"is {kind_of(value)}; {rule}, without quotes"
    if value.utcoffset() is None:
        return f"has no time zone; {rule}"
    try:
        value.astimezone(UTC)
    except OverflowError:
        return f"is out of the years 1 to 9999 in UTC; {rule}"
    return None


def order_problem(not_before: datetime | None, not_after: datetime | None) -> str | None:
    """What is wrong with the order of two valid instants, or None."""
    if not_before is None or not_after is None or not_before < not_after:
        return None
    return "is not later than not_before; the key could never be used: correct one of them"


def _secret_problem(value: object) -> str | None:
    """What is wrong with a decoded secret, or None; the value itself is not quoted."""
    if not isinstance(value, bytes):
        return f"is {kind_of(value)}, not the decoded bytes; use decode_secret"
    return secret_length_problem(len(value))


def _instant(value: datetime | None) -> str:
    """An instant as a repr shows it."""
    return "None" if value is None else value.isoformat()


def _any_of(names: Iterable[str]) -> str:
    """`names` as an error lists choices."""
    return ", ".join(repr(name) for name in names)
