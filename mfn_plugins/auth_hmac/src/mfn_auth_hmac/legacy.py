"""Scheme v1, for clients that cannot be changed yet. Off unless the configuration names its keys file.

A call carries `x-api-key`, `x-request-id`, `x-timestamp` (Unix seconds, may be fractional) and `x-signature`: the
lower-case hex HMAC-SHA256, under the API key itself, of `<x-request-id>:<x-timestamp>`. The key travels in the clear,
neither method nor body is signed, and a call can be repeated for as long as its timestamp is accepted: use it over TLS
alone, and no longer than needed.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from attrs import frozen

from mfn_core import Call, Principal, unauthenticated
from mfn_signing import ROLES

__all__ = ["LegacyAuthenticator", "LegacyKey", "load_legacy_keys"]

WINDOW_SECONDS = 300
"""How old a timestamp may be."""
SKEW_SECONDS = 5
"""How far ahead of the server's clock it may be."""

HEADERS = ("x-api-key", "x-request-id", "x-timestamp", "x-signature")

_timestamp_match = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?").fullmatch
_hash_match = re.compile(r"[0-9a-f]{64}").fullmatch
_id_match = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch


@frozen(kw_only=True)
class LegacyKey:
    """An API key, known by its hash alone."""

    id: str
    sha256: str
    """Lower-case hex SHA-256 of the key's UTF-8 text."""
    principal: str
    roles: frozenset[str]


class LegacyAuthenticator:
    """Checks calls of scheme v1."""

    def __init__(self, keys: Iterable[LegacyKey], *, clock: Callable[[], float] = time.time) -> None:
        """Accept calls with one of `keys`; `clock` gives Unix seconds."""
        self._keys = tuple(keys)
        self._clock = clock

    async def authenticate(self, call: Call) -> Principal | None:
        """Prove who calls; None when the call has no API key."""
        metadata = call.metadata
        given = {name: metadata.get_all(name) for name in HEADERS}
        if not given["x-api-key"]:
            return None
        values: list[str] = []
        for name, found in given.items():
            if len(found) != 1 or not isinstance(found[0], str):
                raise unauthenticated(f"v1: header {name} is missing or stands twice")
            values.append(found[0])
        api_key, request_id, timestamp, signature = values
        key = self._find(api_key)
        expected = hmac.digest(api_key.encode(), f"{request_id}:{timestamp}".encode(), "sha256").hex()
        signed = hmac.compare_digest(expected.encode(), signature.encode())
        if key is None:
            raise unauthenticated("v1: unknown API key")
        call.key_id = key.id
        if not signed:
            raise unauthenticated("v1: signature does not match")
        self._check_time(timestamp)
        return Principal(name=key.principal, roles=key.roles, key_id=key.id, method="hmac-v1")

    def _find(self, api_key: str) -> LegacyKey | None:
        """The key of that hash. Every key is compared, in constant time, so that time tells nothing."""
        digest = hashlib.sha256(api_key.encode()).hexdigest()
        found: LegacyKey | None = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def _check_time(self, timestamp: str) -> None:
        if _timestamp_match(timestamp) is None:
            raise unauthenticated("v1: timestamp is not Unix seconds")
        age = self._clock() - float(timestamp)
        if not math.isfinite(age) or not -SKEW_SECONDS <= age <= WINDOW_SECONDS:
            raise unauthenticated(f"v1: timestamp is {age:+.0f} s from the server's clock")


def load_legacy_keys(path: Path) -> tuple[LegacyKey, ...]:
    """Read a file of `[[keys]]` tables with `id`, `sha256`, `principal` and `roles`.

    It holds no secret: the hash of an API key of enough randomness does not give the key away.

    Raises:
        ValueError: with everything that is wrong with it.
        OSError: it cannot be read.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as wrong:
        raise ValueError(f"{path}: not TOML: {wrong}") from wrong
    problems: list[str] = []
    keys: list[LegacyKey] = []
    tables = document.get("keys", [])
    if set(document) - {"keys"} or not isinstance(tables, list) or not tables:
        problems.append("needs [[keys]] tables, and nothing else")
        tables = tables if isinstance(tables, list) else []
    for index, table in enumerate(tables):
        found = _problems(table)
        problems += (f"keys[{index}].{problem}" for problem in found)
        if not found:
            keys.append(
                LegacyKey(
                    id=table["id"],
                    sha256=table["sha256"],
                    principal=table["principal"],
                    roles=frozenset(table["roles"]),
                )
            )
    if len({key.id for key in keys}) != len(keys) or len({key.sha256 for key in keys}) != len(keys):
        problems.append("keys: two have the same id or the same hash")
    if problems:
        raise ValueError(f"{path}: " + "; ".join(problems))
    return tuple(keys)


def _problems(table: object) -> list[str]:
    if not isinstance(table, dict):
        return ["is no table"]
    found = [f"{name} is unknown" for name in set(table) - {"id", "sha256", "principal", "roles"}]
    if not isinstance(table.get("id"), str) or not _id_match(table["id"]):
        found.append("id is not 1 to 64 characters of [A-Za-z0-9._-]")
    if not isinstance(table.get("sha256"), str) or not _hash_match(table["sha256"]):
        found.append("sha256 is not 64 lower-case hex characters: printf %s KEY | sha256sum")
    principal = table.get("principal")
    if not isinstance(principal, str) or not principal.strip() or not principal.isprintable():
        found.append("principal is not a printable name")
    roles = table.get("roles")
    if not isinstance(roles, list) or not roles or not all(role in ROLES for role in roles):
        found.append(f"roles is not a list of {', '.join(ROLES)}")
    return found
