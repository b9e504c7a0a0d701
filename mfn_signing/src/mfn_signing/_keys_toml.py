"""The text of a keys file: TOML with one `[[keys]]` table for each key, read strictly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Final

from mfn_signing._errors import KeysFileError, MalformedError, kind_of, shown
from mfn_signing._keys import (
    ROLES,
    Key,
    date_problem,
    id_problem,
    order_problem,
    principal_problem,
    roles_problem,
    status_problem,
)
from mfn_signing._secret import decode_secret, encode_secret

__all__ = ["collisions", "format_key", "format_keys", "parse_keys"]

_REQUIRED: Final = ("id", "secret", "principal", "roles", "status")
_OPTIONAL: Final = ("not_before", "not_after")
_FIELDS: Final = (*_REQUIRED, *_OPTIONAL)

_EXAMPLES: Final = {
    "id": 'id = "lab-1"',
    "secret": 'secret = "…", 32 random bytes in base64url without padding',
    "principal": 'principal = "lab"',
    "roles": 'roles = ["read"]',
    "status": 'status = "active"',
}

# Where the TOML reader stopped. The rest of its message may quote the text, and that may be a secret.
_place_search = re.compile(r"\(at (line \d+, column \d+|end of document)\)").search


def parse_keys(text: str, *, source: str) -> tuple[Key, ...]:
    """Read the text of a keys file.

    Args:
        text: TOML with `[[keys]]` tables of `id`, `secret`, `principal`, `roles`, `status` and, where wanted,
            `not_before` and `not_after`. A text without tables is no keys.
        source: what errors call the text, its file's name as a rule.

    Returns:
        The keys in the order of the text. No two have the same id, nor the same secret.

    Raises:
        KeysFileError: anything is wrong. It lists every problem with its table, field and remedy, and quotes
            no secret.
    """
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: an integer of too many digits, too
        place = _place_search(str(error))
        where = f" at {place.group(1)}" if place else ""
        # Not chained: a traceback would show the reader's message.
        raise KeysFileError(
            source, [f"is not valid TOML{where}; look there for quotes, brackets and names given twice"]
        ) from None
    problems = [_unknown(name, ("keys",), "top level") for name in document if name != "keys"]
    tables = document.get("keys", [])
    if not isinstance(tables, list):
        problems.append(f"keys: is {kind_of(tables)}; start each key with [[keys]]")
        tables = []
    keys: list[Key | None] = []
    labels: list[str] = []
    for index, table in enumerate(tables):
        if isinstance(table, dict):
            labels.append(_label(index, table))
            keys.append(_decode(table, labels[-1], problems))
        else:
            labels.append(f"keys[{index}]")
            keys.append(None)
            problems.append(f"{labels[-1]}: is {kind_of(table)}; start each key with [[keys]]")
    ids = [table.get("id") if isinstance(table, dict) else None for table in tables]
    secrets = [_secret_or_none(table) for table in tables]
    problems += collisions(labels, ids, secrets)
    if problems:
        raise KeysFileError(source, problems)
    return tuple(key for key in keys if key is not None)


def format_key(key: Key) -> str:
    """Write one `[[keys]]` table, secret and all, ending in a line feed; `parse_keys` reads it back equal."""
    lines = [
        "[[keys]]",
        f"id = {_quoted(key.id)}",
        f"secret = {_quoted(encode_secret(key.secret))}",
        f"principal = {_quoted(key.principal)}",
        f"roles = [{', '.join(_quoted(role) for role in sorted(key.roles, key=ROLES.index))}]",
        f"status = {_quoted(key.status)}",
    ]
    if key.not_before is not None:
        lines.append(f"not_before = {key.not_before.isoformat()}")
    if key.not_after is not None:
        lines.append(f"not_after = {key.not_after.isoformat()}")
    return "\n".join(lines) + "\n"


def format_keys(keys: Iterable[Key]) -> str:
    """Write a whole file: the tables of `keys`, an empty line between them."""
    return "\n".join(format_key(key) for key in keys)


def collisions(labels: Iterable[str], ids: Iterable[object], secrets: Iterable[bytes | None]) -> list[str]:
    """Problems of keys that share an id or a secret; `labels` names each key. What is None is left out."""
    problems: list[str] = []
    first_id: dict[str, str] = {}
    first_secret: dict[bytes, str] = {}
    for label, id_, secret in zip(labels, ids, secrets, strict=True):
        if isinstance(id_, str) and first_id.setdefault(id_, label) != label:
            problems.append(f"{label}.id: is the id of {first_id[id_]} too; give each key its own")
        if secret is not None and first_secret.setdefault(secret, label) != label:
            # The string to sign has no key id: whoever sees a request of one key could send it as the other.
            problems.append(f"{label}.secret: is the secret of {first_secret[secret]} too; draw each key its own")
    return problems


def _decode(table: Mapping[str, object], label: str, problems: list[str]) -> Key | None:
    """Make the key of one table, or add to `problems` all that is wrong with it."""
    before = len(problems)
    problems += [_unknown(name, _FIELDS, label) for name in table if name not in _FIELDS]
    problems += [f"{label}.{name}: is missing; add {_EXAMPLES[name]}" for name in _REQUIRED if name not in table]
    checks: dict[str, Callable[[object], str | None]] = {
        "id": id_problem,
        "secret": _secret_text_problem,
        "principal": principal_problem,
        "roles": _roles_array_problem,
        "status": status_problem,
        "not_before": date_problem,
        "not_after": date_problem,
    }
    for name, check in checks.items():
        if name in table and (problem := check(table[name])):
            problems.append(f"{label}.{name}: {problem}")
    not_before, not_after = table.get("not_before"), table.get("not_after")
    if isinstance(not_before, datetime) and isinstance(not_after, datetime):
        both_valid = date_problem(not_before) is None and date_problem(not_after) is None
        if both_valid and (problem := order_problem(not_before, not_after)):
            problems.append(f"{label}.not_after: {problem}")
    if len(problems) > before:
        return None
    id_, principal, roles, status = table["id"], table["principal"], table["roles"], table["status"]
    assert isinstance(id_, str)
    assert isinstance(principal, str)
    assert isinstance(roles, list)
    assert isinstance(status, str)
    return Key(
        id=id_,
        secret=decode_secret(str(table["secret"])),
        principal=principal,
        roles=frozenset(roles),
        status=status,
        not_before=not_before if isinstance(not_before, datetime) else None,
        not_after=not_after if isinstance(not_after, datetime) else None,
    )


def _secret_text_problem(value: object) -> str | None:
    """What is wrong with a secret as text, or None."""
    if not isinstance(value, str):
        return f"is {kind_of(value)}; write base64url without padding as a string"
    try:
        decode_secret(value)
    except MalformedError as error:
        return error.problem
    return None


def _secret_or_none(table: object) -> bytes | None:
    """The secret of a table where it has a valid one."""
    value = table.get("secret") if isinstance(table, dict) else None
    if not isinstance(value, str):
        return None
    try:
        return decode_secret(value)
    except MalformedError:
        return None  # reported where the table was decoded


def _roles_array_problem(value: object) -> str | None:
    """What is wrong with the array of roles, or None."""
    if not isinstance(value, list):
        return f'is {kind_of(value)}; write an array like ["read"]'
    return roles_problem(value)


def _unknown(name: str, known: tuple[str, ...], where: str) -> str:
    """The problem of a name that nobody defines, with the one that was meant where that can be told."""
    close = get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}?" if close else f"use {', '.join(repr(each) for each in known)}"
    return f"{where}: {shown(name)} is unknown; {meant}"


def _label(index: int, table: Mapping[str, object]) -> str:
    """How errors name a table: by index, and by id where that cannot be a misplaced secret."""
    id_ = table.get("id")
    valid = isinstance(id_, str) and id_problem(id_) is None
    return f"keys[{index}] (id {shown(id_)})" if valid and isinstance(id_, str) else f"keys[{index}]"


def _quoted(text: str) -> str:
    """A TOML basic string; what a key holds has no control characters to escape."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
