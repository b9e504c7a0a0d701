"""Strict decoding: what is accepted, what is refused, and how every refusal reads."""

from __future__ import annotations

import datetime
import enum
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen

from mfn_core.config import ConfigError, Secret, at_least, between, decode, positive, setting

BASE = Path("/etc/mfn")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Tls:
    certificate: Path = setting(help="certificate chain")
    versions: tuple[str, ...] = setting(default=("1.3",), help="versions")


@frozen(kw_only=True)
class Settings:
    count: int = setting(default=1, help="how many", validator=between(1, 9))
    rate: float = setting(default=1.0, help="how often", unit="calls a second", validator=positive)
    name: str = setting(default="", help="what it is called")
    on: bool = setting(default=False, help="whether it is on")
    mode: Literal["fast", "safe", 3] = setting(default="fast", help="how")
    colour: Colour = setting(default=Colour.RED, help="which")
    tags: frozenset[str] = setting(default=frozenset(), help="tags")
    pair: tuple[int, str] = setting(default=(1, "a"), help="two things")
    items: Sequence[float] = setting(default=(), help="numbers")
    more: list[int] = setting(factory=list, help="integers")
    weights: Mapping[str, float] = setting(factory=dict, help="by name")
    tls: Tls | None = setting(default=None, help="encryption")
    peers: tuple[Tls, ...] = setting(default=(), help="others")
    either: int | str | None = setting(default=None, help="one of two")
    since: datetime.date | None = setting(default=None, help="a day")
    anything: Any = setting(default=None, help="whatever")


@frozen(kw_only=True)
class Required:
    first: str = setting(help="the first of them")
    second: int = field()


def problems(cls: type[Any], table: object, base: Path = BASE) -> dict[str, str]:
    with pytest.raises(ConfigError) as failed:
        decode(cls, table, "section.name", base)
    found = {problem.path: f"{problem.message}; {problem.remedy}" for problem in failed.value.problems}
    assert len(found) == len(failed.value.problems)
    return found


def problem(cls: type[Any], table: object, base: Path = BASE) -> str:
    ((path, text),) = problems(cls, table, base).items()
    return f"{path}: {text}"


def test_an_empty_table_gives_the_defaults() -> None:
    assert decode(Settings, {}, "section", BASE) == Settings()


def test_every_type_is_decoded() -> None:
    table = {
        "count": 2,
        "rate": 2.5,
        "name": "x",
        "on": True,
        "mode": 3,
        "colour": "blue",
        "tags": ["a", "b", "a"],
        "pair": [2, "b"],
        "items": [1, 2.5],
        "more": [1, 2],
        "weights": {"a": 1},
        "tls": {"certificate": "cert.pem"},
        "peers": [{"certificate": "/abs.pem", "versions": []}],
        "either": "text",
        "since": datetime.date(2030, 1, 2),
        "anything": [{"a": 1}],
    }
    assert decode(Settings, table, "section", BASE) == Settings(
        count=2,
        rate=2.5,
        name="x",
        on=True,
        mode=3,
        colour=Colour.BLUE,
        tags=frozenset("ab"),
        pair=(2, "b"),
        items=(1.0, 2.5),
        more=[1, 2],
        weights={"a": 1.0},
        tls=Tls(certificate=BASE / "cert.pem"),
        peers=(Tls(certificate=Path("/abs.pem"), versions=()),),
        either="text",
        since=datetime.date(2030, 1, 2),
        anything=[{"a": 1}],
    )


def test_an_integer_stands_for_a_number() -> None:
    rate = decode(Settings, {"rate": 3}, "section", BASE).rate
    assert type(rate) is float
    assert rate == 3.0


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"count": True}, "count: expected an integer, got the boolean true"),
        ({"count": 1.0}, "count: expected an integer, got the number 1.0"),
        ({"count": "1"}, 'count: expected an integer, got the string "1"'),
        ({"rate": True}, "rate: expected a number, got the boolean true"),
        ({"rate": "fast"}, 'rate: expected a number, got the string "fast"'),
        ({"rate": 10**400}, "rate: the integer is too large for a number"),
        ({"name": 3}, "name: expected a string, got the integer 3"),
        ({"name": ["a"]}, "name: expected a string, got an array"),
        ({"on": 1}, "on: expected a boolean, got the integer 1; write true or false"),
        ({"mode": "fest"}, "mode: cannot be the string \"fest\"; did you mean 'fast'? known: fast, safe, 3"),
        ({"mode": True}, "mode: cannot be the boolean true"),
        ({"colour": "green"}, 'colour: cannot be the string "green"; known: red, blue'),
        ({"tags": "ab"}, 'tags: expected an array, got the string "ab"'),
        ({"tags": ["a", 1]}, "tags[1]: expected a string, got the integer 1"),
        ({"pair": [1]}, "pair: expected an array of 2 items, got 1"),
        ({"pair": [1, 2]}, "pair[1]: expected a string, got the integer 2"),
        ({"items": {"a": 1}}, "items: expected an array, got a table"),
        ({"weights": {"a b": "x"}}, 'weights."a b": expected a number, got the string "x"'),
        ({"weights": [1]}, "weights: expected a table, got an array"),
        ({"tls": {}}, "tls.certificate: is required; certificate chain"),
        ({"tls": "cert.pem"}, 'tls: expected a table, got the string "cert.pem"'),
        ({"tls": {"certificate": 1}}, "tls.certificate: expected a path in a string, got the integer 1"),
        ({"tls": {"certificate": ""}}, "tls.certificate: '' is no path"),
        ({"tls": {"certificate": "a", "key": "b"}}, "tls.key: unknown setting; known: certificate, versions"),
        ({"peers": [{"certificate": "a"}, {}]}, "peers[1].certificate: is required"),
        ({"either": 1.5}, "either: fits none of its forms: expected an integer, got the number 1.5"),
        ({"since": datetime.datetime(2030, 1, 2)}, "since: expected a date, got the date or time 2030-01-02T00:00:00"),
        ({"countt": 1}, "countt: unknown setting; did you mean 'count'? known: count, rate, name"),
        ({"count": 10}, "count: must be between 1 and 9, not 10"),
        ({"rate": 0}, "rate: must be greater than 0, and finite, not 0.0"),
        ({"rate": math.nan}, "rate: must be greater than 0, and finite, not nan"),
        ({"rate": math.inf}, "rate: must be greater than 0, and finite, not inf"),
    ],
)
def test_what_does_not_fit_is_refused_by_name_value_and_remedy(table: dict[str, Any], said: str) -> None:
    assert problem(Settings, table).startswith(f"section.name.{said}")


def test_a_long_text_is_not_repeated_in_full() -> None:
    assert len(problem(Settings, {"count": "x" * 10_000})) < 200


def test_what_is_no_table_is_refused() -> None:
    assert problem(Settings, 3) == "section.name: expected a table, got the integer 3; "


def test_missing_settings_are_all_named_with_their_help() -> None:
    assert problems(Required, {}) == {
        "section.name.first": "is required; the first of them",
        "section.name.second": "is required; ",
    }


def test_everything_that_is_wrong_is_reported_at_once() -> None:
    table = {"count": 0, "rate": -1, "name": 3, "tls": {"certificate": 1, "x": 2}, "no_such": 1, "items": ["a", 1, "b"]}
    assert set(problems(Settings, table)) == {
        "section.name.count",
        "section.name.rate",
        "section.name.name",
        "section.name.tls.certificate",
        "section.name.tls.x",
        "section.name.no_such",
        "section.name.items[0]",
        "section.name.items[2]",
    }


def test_all_failing_validators_are_reported_not_the_first_alone() -> None:
    assert set(problems(Settings, {"count": 0, "rate": 0})) == {"section.name.count", "section.name.rate"}


def test_nested_and_multiple_validators_are_asked() -> None:
    @frozen
    class Nested:
        inner: Settings = field(factory=Settings)
        size: int = setting(default=2, help="even", validator=[at_least(0), _even])

    found = problems(Nested, {"inner": {"count": 0}, "size": 3})
    assert found == {
        "section.name.inner.count": "must be between 1 and 9, not 0; ",
        "section.name.size": "must be even, not 3; ",
    }


def _even(instance: Any, attribute: Any, value: int) -> None:
    if value % 2:
        raise ValueError(f"{attribute.name} must be even, not {value}")


def _above_low(instance: Any, attribute: Any, value: int) -> None:
    if value < instance.low:
        raise ValueError(f"high must be at least low = {instance.low}, not {value}")


@frozen
class Range:
    low: int = setting(default=5, help="least", validator=between(0, 100))
    high: int = setting(default=10, help="most", validator=_above_low)


def test_a_validator_may_look_at_another_setting_and_at_its_default() -> None:
    assert decode(Range, {"low": 20, "high": 30}, "range", BASE) == Range(low=20, high=30)
    assert problem(Range, {"high": 4}) == "section.name.high: must be at least low = 5, not 4; "
    assert set(problems(Range, {"low": 200, "high": 4})) == {"section.name.low", "section.name.high"}


def test_a_validator_that_needs_a_setting_with_its_own_problem_is_passed_over() -> None:
    assert set(problems(Range, {"low": "x", "high": 4})) == {"section.name.low"}


def test_validators_of_attrs_read_well() -> None:
    @frozen
    class Plain:
        port: int = field(default=1, validator=attrs.validators.in_([1, 2]))
        size: int = field(default=1, validator=attrs.validators.gt(0))

    found = problems(Plain, {"port": 3, "size": 0})
    assert found["section.name.port"].startswith("must be in [1, 2] (got 3)")
    assert found["section.name.size"].startswith("must be > 0: 0")


def test_what_a_whole_class_refuses_is_reported_at_its_table() -> None:
    @frozen
    class Exclusive:
        one: int | None = None
        other: int | None = None

        def __attrs_post_init__(self) -> None:
            if self.one is not None and self.other is not None:
                raise ValueError("one and other exclude each other; remove one")

    assert problem(Exclusive, {"one": 1, "other": 2}).startswith("section.name: one and other exclude each other")


def test_a_union_of_tables_reports_the_problems_of_the_table() -> None:
    @frozen
    class Choice:
        tls: bool | Tls = False

    assert decode(Choice, {"tls": True}, "choice", BASE).tls is True
    assert problem(Choice, {"tls": {}}).startswith("section.name.tls.certificate: is required")


def test_a_key_is_the_alias_of_a_private_attribute_and_what_is_not_for_init_is_no_key() -> None:
    @frozen
    class Private:
        _hidden: int = 1
        derived: int = field(init=False, default=2)

    assert decode(Private, {"hidden": 3}, "private", BASE)._hidden == 3
    assert "unknown setting" in problem(Private, {"derived": 3})


# Paths.


@frozen
class Files:
    keys: Path = setting(default=Path("keys.toml"), help="keys")
    log: Path | None = setting(default=None, help="log")


def test_relative_paths_and_defaults_start_at_the_base_directory(tmp_path: Path) -> None:
    assert decode(Files, {}, "files", tmp_path) == Files(keys=tmp_path / "keys.toml")
    assert decode(Files, {"keys": "a/b", "log": "/log"}, "files", tmp_path) == Files(
        keys=tmp_path / "a/b", log=Path("/log")
    )


def test_a_tilde_is_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert decode(Files, {"keys": "~/keys.toml"}, "files", BASE).keys == tmp_path / "keys.toml"


# Secrets.


@frozen
class Account:
    password: Secret = setting(help="password")
    token: Secret | None = setting(default=None, help="token")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text("hunter2\n")
    return path


def test_a_secret_is_a_string_a_file_or_a_variable(secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCOUNT_TOKEN", "hunter3")
    table = {"password": {"file": secret_file.name}, "token": {"env": "ACCOUNT_TOKEN"}}
    account = decode(Account, table, "account", secret_file.parent)
    assert account.token is not None
    assert (account.password.reveal(), account.token.reveal()) == ("hunter2", "hunter3")
    assert decode(Account, {"password": "hunter4"}, "account", BASE).password.reveal() == "hunter4"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_secret_file_that_others_may_read_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    text = problem(Account, {"password": {"file": "password"}}, secret_file.parent)
    assert f"has mode {mode:04o}" in text
    assert f"chmod 600 {secret_file}" in text
    assert "hunter2" not in text


def test_a_secret_file_that_is_missing_a_directory_or_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert "No such file" in problem(Account, {"password": {"file": "none"}}, tmp_path)
    assert "is not a file" in problem(Account, {"password": {"file": "."}}, tmp_path)
    assert "is not a file" in problem(Account, {"password": {"file": "pipe"}}, tmp_path)


def test_a_secret_file_that_is_too_large_or_no_text_is_refused(secret_file: Path) -> None:
    secret_file.write_bytes(b"\xff\xfe")
    assert "is not UTF-8" in problem(Account, {"password": {"file": "password"}}, secret_file.parent)
    secret_file.write_bytes(b"x" * ((1 << 16) + 1))
    assert "is larger than 65536 bytes" in problem(Account, {"password": {"file": "password"}}, secret_file.parent)


def test_an_empty_secret_and_a_missing_variable_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCOUNT_TOKEN", raising=False)
    assert "the secret is empty" in problem(Account, {"password": ""})
    assert "no variable 'ACCOUNT_TOKEN'" in problem(Account, {"password": {"env": "ACCOUNT_TOKEN"}})


@pytest.mark.parametrize("value", [271828, ["hunter2"], {"value": "hunter2"}, {"file": "a", "env": "b"}, {"file": 7}])
def test_what_is_no_secret_is_refused_without_showing_it(value: object) -> None:
    text = problem(Account, {"password": value})
    assert "hunter2" not in text
    assert "271828" not in text


def test_a_failing_validator_of_a_secret_does_not_show_it() -> None:
    @frozen
    class Strict:
        password: Secret = field(validator=attrs.validators.in_([Secret("right")]))

    assert "hunter2" not in problem(Strict, {"password": "hunter2"})


# Defects of a configuration class.


def test_a_type_that_toml_cannot_hold_is_a_problem_of_its_class() -> None:
    @frozen
    class Odd:
        number: complex = field(default=1j)

    text = problem(Odd, {"number": 1})
    assert "complex" in text
    assert "Odd" in text
    assert "report it to the author of the plugin" in text


def test_an_annotation_that_cannot_be_resolved_is_a_problem_of_its_class() -> None:
    Unresolved = attrs.make_class("Unresolved", {"x": field(type="NoSuchName", default=1)})  # type: ignore[call-overload] # the annotation is a string, as in a module with postponed ones
    assert "NoSuchName" in problem(Unresolved, {"x": 1})
