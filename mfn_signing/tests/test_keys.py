"""The rules of a key, its roles and dates, and that it keeps its secret."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from mfn_signing import ROLES, InvalidKeyError, Key, encode_secret, generate_key

SECRET = bytes(range(32))
START = datetime(2026, 1, 1, tzinfo=UTC)


def key(**changes: Any) -> Key:
    fields: dict[str, Any] = {"id": "lab-1", "secret": SECRET, "principal": "lab", "roles": frozenset({"read"})}
    return Key(**(fields | changes))


def shows_secret(text: str) -> bool:
    return any(each in text for each in (encode_secret(SECRET), SECRET.hex(), repr(SECRET), str(list(SECRET))))


@pytest.mark.parametrize("held", ROLES)
@pytest.mark.parametrize("asked", ROLES)
def test_a_role_includes_those_before_it(held: str, asked: str) -> None:
    assert key(roles=frozenset({held})).grants(asked) == (ROLES.index(asked) <= ROLES.index(held))


def test_of_several_roles_the_greatest_decides() -> None:
    assert key(roles=frozenset({"read", "admin"})).grants("write")
    assert not key(roles=frozenset({"read", "write"})).grants("admin")


@pytest.mark.parametrize("role", ["", "root", "READ"])
def test_asking_for_a_role_that_does_not_exist_is_an_error(role: str) -> None:
    with pytest.raises(ValueError, match=r"does not exist; use 'read', 'write', 'admin'"):
        key().grants(role)


@pytest.mark.parametrize(
    ("not_before", "not_after", "usable"),
    [
        (None, None, True),
        (START, None, True),
        (START + timedelta(microseconds=1), None, False),
        (None, START, True),
        (None, START - timedelta(microseconds=1), False),
        (START - timedelta(days=1), START + timedelta(days=1), True),
    ],
)
def test_a_key_is_usable_from_its_first_instant_to_its_last(
    not_before: datetime | None, not_after: datetime | None, usable: bool
) -> None:
    dated = key(not_before=not_before, not_after=not_after)
    assert dated.usable_at(START) is usable
    assert dated.usable_at(START.astimezone(timezone(timedelta(hours=5)))) is usable


def test_a_revoked_key_is_never_usable() -> None:
    assert not key(status="revoked").usable_at(START)


def test_an_instant_without_zone_is_an_error() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        key().usable_at(datetime(2026, 1, 1))


def test_dates_are_kept_in_utc() -> None:
    dated = key(not_before=datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))))
    assert dated.not_before == START
    assert dated.not_before is not None
    assert dated.not_before.tzinfo is UTC


class NoOffset(tzinfo):
    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None

    def dst(self, _: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _: datetime | None) -> str | None:
        return None


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("id", "", "1 to 64"),
        ("id", "a" * 65, "1 to 64"),
        ("id", "a b", "1 to 64"),
        ("id", "a\n", "1 to 64"),
        ("id", "é", "1 to 64"),
        ("id", 7, "is an integer"),
        ("secret", bytes(31), "31 bytes, at least 32"),
        ("secret", bytes(1025), "1025 bytes, at most 1024"),
        ("secret", encode_secret(SECRET), "not the decoded bytes"),
        ("principal", "", "has 0 characters"),
        ("principal", "p" * 257, "has 257 characters"),
        ("principal", " lab", "white space"),
        ("principal", "la\nb", "unprintable"),
        ("principal", "la\u202eb", "unprintable"),
        ("principal", None, "is a value of type NoneType"),
        ("roles", frozenset(), "is empty"),
        ("roles", frozenset({"root"}), "'root' does not exist"),
        ("roles", frozenset({1}), "holds an integer"),
        ("roles", "read", "is a string"),
        ("roles", {"read"}, "is a value of type set; use a frozenset"),
        ("status", "paused", "'paused' does not exist; use 'active', 'revoked'"),
        ("status", None, "is a value of type NoneType"),
        ("not_before", datetime(2026, 1, 1), "no time zone"),
        ("not_after", datetime(2026, 1, 1, tzinfo=NoOffset()), "no time zone"),
        ("not_after", "2026-01-01T00:00:00Z", "is a string"),
        ("not_after", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "out of the years"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_with_a_remedy(field: str, value: object, problem: str) -> None:
    with pytest.raises(InvalidKeyError, match=problem) as caught:
        key(**{field: value})
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{field}: ")
    assert "; " in caught.value.problems[0]
    assert not shows_secret(str(caught.value))


def test_all_broken_fields_are_told_at_once() -> None:
    with pytest.raises(InvalidKeyError) as caught:
        key(id="", secret=b"short", principal="", roles=frozenset(), status="", not_before=datetime(1, 1, 1))
    names = [problem.split(":")[0] for problem in caught.value.problems]
    assert names == ["id", "secret", "principal", "roles", "status", "not_before"]
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.problems, str(copied)) == (caught.value.problems, str(caught.value))


@pytest.mark.parametrize("gap", [timedelta(0), timedelta(seconds=-1)])
def test_dates_that_leave_no_time_between_them_are_refused(gap: timedelta) -> None:
    with pytest.raises(InvalidKeyError, match="not_after: is not later than not_before"):
        key(not_before=START, not_after=START + gap)


def test_a_misplaced_secret_is_not_repeated() -> None:
    text = encode_secret(SECRET)
    for field in ("id", "principal", "status"):
        with pytest.raises(InvalidKeyError) as caught:
            key(**{field: text + "\n"})
        assert not shows_secret(str(caught.value))
    with pytest.raises(InvalidKeyError) as caught:
        key(roles=frozenset({text}))
    assert not shows_secret(str(caught.value))


def test_no_text_of_a_key_shows_its_secret() -> None:
    for text in (repr(key()), str(key()), f"{key()}", repr([key()]), "%s" % key()):  # noqa: UP031 - each way of showing
        assert "secret=[REDACTED]" in text
        assert not shows_secret(text)
    assert repr(key(not_before=START)) == (
        "Key(id='lab-1', secret=[REDACTED], principal='lab', roles=['read'], status='active', "
        "not_before=2026-01-01T00:00:00+00:00, not_after=None)"
    )


def test_keys_are_equal_when_every_field_is() -> None:
    assert key() == key()
    assert hash(key()) == hash(key())
    changed = [
        key(id="lab-2"),
        key(secret=bytes(32)),
        key(principal="other"),
        key(roles=frozenset({"write"})),
        key(status="revoked"),
        key(not_before=START),
        key(not_after=START),
    ]
    assert all(key() != other for other in changed)
    assert key() != "lab-1"


def test_the_hash_of_a_key_does_not_depend_on_its_secret() -> None:
    assert hash(key()) == hash(key(secret=bytes(32)))


def test_a_key_is_frozen_and_may_be_replaced() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        key().status = "revoked"  # type: ignore[misc]  # what is tested
    assert dataclasses.replace(key(), status="revoked").secret == SECRET
    assert pickle.loads(pickle.dumps(key())) == key()


def test_a_generated_key_is_active_and_has_a_secret_of_its_own() -> None:
    keys = [generate_key(principal="lab", roles=["read", "write"]) for _ in range(20)]
    assert len({each.secret for each in keys}) == len({each.id for each in keys}) == 20
    for each in keys:
        assert len(each.secret) == 32
        assert each.roles == {"read", "write"}
        assert each.usable_at(START)


def test_a_generated_key_takes_what_it_is_given() -> None:
    made = generate_key(
        key_id="lab-9", principal="lab", roles="admin", not_before=START, not_after=START + timedelta(days=1)
    )
    assert made.id == "lab-9"
    assert made.roles == {"admin"}
    assert (made.not_before, made.not_after) == (START, START + timedelta(days=1))
    with pytest.raises(InvalidKeyError, match="'root' does not exist"):
        generate_key(principal="lab", roles=["root"])
    with pytest.raises(InvalidKeyError, match="id:"):
        generate_key(key_id="", principal="lab", roles=["read"])
