"""The text of a keys file: read strictly, every problem at once, never a secret in an error."""

from __future__ import annotations

import pickle
import traceback
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mfn_signing import ROLES, STATUSES, Key, KeysFileError, encode_secret, format_key, parse_keys

SECRET = encode_secret(bytes(range(32)))
OTHER = encode_secret(bytes(range(1, 33)))
TABLE = f"""
[[keys]]
id = "lab-1"
secret = "{SECRET}"
principal = "lab"
roles = ["read"]
status = "active"
"""

instants = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30, seconds=7))])).filter(
    lambda value: 2 <= value.year <= 9998
)
keys = st.builds(
    lambda key_id, secret, principal, roles, status, first, span: Key(
        id=key_id,
        secret=secret,
        principal=principal,
        roles=roles,
        status=status,
        not_before=first,
        not_after=None if span is None else (first or datetime(2026, 1, 1, tzinfo=UTC)) + span,
    ),
    st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    st.binary(min_size=32, max_size=80),
    st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1, max_size=40).filter(
        lambda text: text.isprintable() and text == text.strip()
    ),
    st.frozensets(st.sampled_from(ROLES), min_size=1),
    st.sampled_from(STATUSES),
    st.none() | instants,
    st.none() | st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=300)),
)


def problems_of(text: str) -> tuple[str, ...]:
    """The problems of a text, after seeing that neither the error nor its traceback shows a secret."""
    with pytest.raises(KeysFileError) as caught:
        parse_keys(text, source="keys.toml")
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in told
    assert OTHER not in told
    assert str(caught.value).startswith("keys file keys.toml: ")
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.lists(keys, max_size=4, unique_by=(lambda key: key.id, lambda key: key.secret)))
def test_keys_read_back_as_written(some: list[Key]) -> None:
    assert parse_keys("\n".join(map(format_key, some)), source="keys.toml") == tuple(some)


def test_a_table_has_one_line_for_each_field_that_is_set() -> None:
    (key,) = parse_keys(
        TABLE + "not_before = 2026-01-01T02:00:00+02:00\nnot_after = 2027-01-01 00:00:00.5Z\n", source="keys.toml"
    )
    assert format_key(key) == TABLE.lstrip() + (
        "not_before = 2026-01-01T00:00:00+00:00\nnot_after = 2027-01-01T00:00:00.500000+00:00\n"
    )
    assert "not_" not in format_key(parse_keys(TABLE, source="keys.toml")[0])


def test_a_principal_may_have_quotes_and_backslashes() -> None:
    key = Key(id="k", secret=bytes(32), principal='a "b" \\c é', roles=frozenset({"read"}))
    assert parse_keys(format_key(key), source="keys.toml") == (key,)


def test_a_text_without_tables_is_no_keys() -> None:
    assert parse_keys("", source="keys.toml") == ()
    assert parse_keys("# none yet\n", source="keys.toml") == ()
    assert parse_keys("keys = []\n", source="keys.toml") == ()


@pytest.mark.parametrize(
    ("field", "line", "problem"),
    [
        ("id", 'id = "a b"', "'a b' is not 1 to 64 characters"),
        ("id", 'id = ""', "is not 1 to 64 characters"),
        ("id", "id = 7", "is an integer; write"),
        ("secret", "secret = 7", "is an integer; write base64url"),
        ("secret", f'secret = "{SECRET}="', "has padding"),
        ("secret", f'secret = " {SECRET}"', "characters other than"),
        ("secret", f'secret = "{SECRET[:-1]}9"', "stray bits"),
        ("secret", f'secret = "{SECRET[:42]}"', "has 31 bytes, at least 32 are needed"),
        ("secret", f'secret = ["{SECRET}"]', "is an array"),
        ("principal", 'principal = ""', "has 0 characters"),
        ("principal", 'principal = "a\\nb"', "unprintable"),
        ("principal", "principal = true", "is a boolean"),
        ("roles", 'roles = "read"', 'is a string; write an array like ["read"]'),
        ("roles", "roles = []", "is empty"),
        ("roles", 'roles = ["read", "root"]', "'root' does not exist; use 'read', 'write', 'admin'"),
        ("roles", 'roles = ["read", "read"]', "names a role twice"),
        ("roles", "roles = [1]", "holds an integer"),
        ("roles", 'roles = [["read"]]', "holds an array"),
        ("status", 'status = "Active"', "'Active' does not exist; use 'active', 'revoked'"),
        ("status", "status = true", "is a boolean"),
        ("not_before", 'not_before = "2026-01-01T00:00:00Z"', "is a string; write a date and time with an offset"),
        ("not_before", "not_before = 2026-01-01", "is a date; write a date and time with an offset"),
        ("not_before", "not_before = 00:00:00", "is a time"),
        ("not_after", "not_after = 2026-01-01T00:00:00", "has no time zone"),
        ("not_after", "not_after = 0001-01-01T00:00:00+01:00", "out of the years"),
    ],
)
def test_a_field_that_breaks_its_rule_is_named_with_its_table(field: str, line: str, problem: str) -> None:
    others = [each for each in TABLE.strip().splitlines() if not each.startswith(field)]
    (told,) = problems_of("\n".join([*others, line]))
    label = "keys[0]" if field == "id" else "keys[0] (id 'lab-1')"
    assert told.startswith(f"{label}.{field}: ")
    assert problem in told
    assert "; " in told


@pytest.mark.parametrize("field", ["id", "secret", "principal", "roles", "status"])
def test_a_missing_field_is_named_with_what_to_add(field: str) -> None:
    others = [each for each in TABLE.strip().splitlines() if not each.startswith(field)]
    (told,) = problems_of("\n".join(others))
    assert f".{field}: is missing; add {field} = " in told


def test_dates_in_the_wrong_order_are_refused() -> None:
    (told,) = problems_of(TABLE + "not_before = 2027-01-01T00:00:00Z\nnot_after = 2026-01-01T00:00:00Z\n")
    assert told.startswith("keys[0] (id 'lab-1').not_after: is not later than not_before")


def test_an_unknown_field_says_what_was_meant() -> None:
    (told,) = problems_of(TABLE + "not_befor = 2026-01-01T00:00:00Z\n")
    assert told == "keys[0] (id 'lab-1'): 'not_befor' is unknown; did you mean 'not_before'?"
    (told,) = problems_of(TABLE + "zzz = 1\n")
    assert "'zzz' is unknown; use 'id', 'secret'" in told


def test_an_unknown_table_says_what_was_meant() -> None:
    assert problems_of(TABLE.replace("[[keys]]", "[[key]]")) == ("top level: 'key' is unknown; did you mean 'keys'?",)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("[keys]\nid = 'a'\n", "keys: is a table"),
        ("keys = 1\n", "keys: is an integer"),
        ("keys = [1]", "keys[0]: is an integer"),
    ],
)
def test_keys_that_are_no_tables_are_refused(text: str, label: str) -> None:
    (told,) = problems_of(text)
    assert told == f"{label}; start each key with [[keys]]"


def test_two_keys_with_one_id_are_refused() -> None:
    (told,) = problems_of(TABLE + TABLE.replace(SECRET, OTHER))
    assert told == "keys[1] (id 'lab-1').id: is the id of keys[0] (id 'lab-1') too; give each key its own"


def test_two_keys_with_one_secret_are_refused_whatever_their_status() -> None:
    second = TABLE.replace("lab-1", "lab-2").replace("active", "revoked")
    (told,) = problems_of(TABLE + second)
    assert told == ("keys[1] (id 'lab-2').secret: is the secret of keys[0] (id 'lab-1') too; draw each key its own")


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = f"""
    version = 1
    [[keys]]
    id = "lab 1"
    secret = "short"
    roles = ["root"]
    [[keys]]
    id = "lab-2"
    secret = "{OTHER}"
    principal = "lab"
    roles = ["read"]
    status = "on"
    not_after = 2026-01-01
    [[keys]]
    id = "lab-2"
    secret = "{OTHER}"
    principal = "lab"
    roles = ["read"]
    status = "active"
    note = "x"
    """
    told = problems_of(text)
    assert [problem.split(": ")[0] for problem in told] == [
        "top level",
        "keys[0].principal",
        "keys[0].status",
        "keys[0].id",
        "keys[0].secret",
        "keys[0].roles",
        "keys[1] (id 'lab-2').status",
        "keys[1] (id 'lab-2').not_after",
        "keys[2] (id 'lab-2')",
        "keys[2] (id 'lab-2').id",
        "keys[2] (id 'lab-2').secret",
    ]
    with pytest.raises(KeysFileError, match=r"^keys file a: 11 problems\n  - top level") as caught:
        parse_keys(text, source="a")
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (copied.source, copied.problems, str(copied)) == ("a", told, str(caught.value))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f'[[keys]]\nsecret = "{SECRET}\n', "at line 2, column"),
        (f"[[keys]]\nsecret = {SECRET}\n", "at line 2, column"),
        (f"[[keys]]\n{SECRET} = 1\n{SECRET} = 2\n", "at line 3, column"),
        (f"[[keys]]\na = {{ {SECRET} = 1, {SECRET} = 2 }}\n", "at line 2, column"),
        (f"[{SECRET}]\n[{SECRET}]\n", "at line 2, column"),
        ("\ufeff[[keys]]\n", "at line 1, column 1"),
        ("[[keys]]\nid = ", "at end of document"),
        ("a = " + "[" * 5000, "is not valid TOML"),
        ("a = " + "1" * 5000, "is not valid TOML"),
    ],
    ids=["open string", "no quotes", "twice", "twice inline", "table twice", "mark", "cut", "nested", "digits"],
)
def test_a_text_that_is_no_toml_is_told_by_its_place_alone(text: str, where: str) -> None:
    (told,) = problems_of(text)
    assert told.startswith("is not valid TOML")
    assert where in told


@pytest.mark.parametrize(
    "text",
    [
        TABLE + f'{SECRET} = "x"\n',
        f'{SECRET} = "x"\n' + TABLE,
        TABLE.replace('"lab-1"', f'"{SECRET}"').replace(f'secret = "{SECRET}"', 'secret = "lab-1"'),
        TABLE.replace('"active"', f'"{SECRET}"'),
        TABLE.replace('["read"]', f'["{SECRET}"]'),
        TABLE.replace('"lab"', f'"{SECRET}\\n"'),
        TABLE.replace('"lab-1"', f'"{SECRET} "'),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(text: str) -> None:
    assert len(problems_of(text)) == 1
