"""The kernel's own tables, secrets, validators, problems and the JSON Schema."""

from __future__ import annotations

import copy
import enum
import logging
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import field, frozen

from mfn_core.config import (
    HELP,
    BatchingSettings,
    CacheSettings,
    ConfigError,
    PipelineSettings,
    Problem,
    Secret,
    ServerSettings,
    at_least,
    between,
    decode,
    each,
    join_path,
    json_schema,
    listen_address,
    matches,
    non_empty,
    one_of,
    plain,
    positive,
    setting,
    split_address,
    suggest,
)

# The kernel's own tables.


def test_the_defaults_of_the_server_are_the_documented_ones() -> None:
    assert plain(ServerSettings()) == {
        "plugins": [],
        "engine": "auto",
        "workers": 1,
        "min_grid": 4,
        "max_grid": 1024,
        "max_steps": 10_000,
        "max_cell_steps": 1_000_000_000,
        "compute_threads": 0,
        "compute_queue": 256,
        "batching": {"max_size": 32, "window_ms": 0.0, "busy_window_ms": 2.0, "max_cell_steps": 10_000_000},
        "calibration_seconds": 0.1,
        "event_loop": "auto",
        "scheduling": "batch",
        "drain_seconds": 10.0,
        "allow": [],
        "anonymous_role": "write",
        "log_level": "info",
        "log_format": "json",
    }
    assert PipelineSettings().order == ("audit", "telemetry", "auth", "limit")
    assert plain(CacheSettings()) == {"max_bytes": 67_108_864, "coalesce": True}


@pytest.mark.parametrize("cls", [ServerSettings, BatchingSettings, PipelineSettings, CacheSettings])
def test_every_setting_of_the_kernel_is_documented_and_bounded(cls: type[Any]) -> None:
    for attribute in attrs.fields(cls):
        assert attribute.metadata[HELP], attribute.name
        # A switch has no bounds, and a table those of its settings.
        unbounded = isinstance(attribute.default, bool) or attribute.name == "batching"
        assert unbounded or attribute.validator is not None, attribute.name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("plugins", [""]),
        ("engine", ""),
        ("workers", 0),
        ("workers", 257),
        ("min_grid", 0),
        ("max_grid", 65_537),
        ("max_steps", 0),
        ("max_cell_steps", 0),
        ("compute_threads", -1),
        ("compute_queue", -1),
        ("calibration_seconds", -0.1),
        ("calibration_seconds", 10.1),
        ("drain_seconds", -0.1),
        ("drain_seconds", 600.1),
        ("drain_seconds", math.nan),
        ("allow", ["everything"]),
        ("anonymous_role", "root"),
        ("log_level", "trace"),
        ("log_format", "xml"),
    ],
)
def test_a_value_of_the_server_beyond_its_bounds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        decode(ServerSettings, {name: value}, "server", Path("/etc"))
    assert [problem.path for problem in refused.value.problems] == [f"server.{name}"]
    with pytest.raises(ValueError, match=name):
        ServerSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_size", 0),
        ("max_size", 4097),
        ("window_ms", -0.1),
        ("window_ms", math.inf),
        ("window_ms", 1000.1),
        ("max_cell_steps", 0),
    ],
)
def test_a_value_of_batching_beyond_its_bounds_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as refused:
        decode(ServerSettings, {"batching": {name: value}}, "server", Path("/etc"))
    assert [problem.path for problem in refused.value.problems] == [f"server.batching.{name}"]


def test_an_unknown_allowance_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'anonymous'"):
        decode(ServerSettings, {"allow": ["anonymus"]}, "server", Path("/etc"))


# Problems.


def test_an_error_reads_as_one_screen_with_places_and_remedies() -> None:
    error = ConfigError(
        [
            Problem(path="server.workers", message="must be between 1 and 256, not 0"),
            Problem(path="auth", message="no authenticator", remedy="add one"),
        ]
    )
    assert str(error) == (
        "2 problems in the configuration:\n"
        "  server.workers: must be between 1 and 256, not 0\n"
        "  auth: no authenticator\n"
        "    add one"
    )
    assert str(ConfigError([Problem(path="", message="x")])) == "1 problem in the configuration:\n  x"


def test_an_error_with_many_problems_still_fits_a_screen_and_keeps_them_all() -> None:
    error = ConfigError(Problem(path=f"a[{number}]", message="wrong") for number in range(500))
    assert len(error.problems) == 500
    assert len(str(error).splitlines()) == 22
    assert str(error).endswith("and 480 more; mend these first")


def test_an_error_needs_a_problem_and_survives_pickling() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        ConfigError([])
    error = ConfigError([Problem(path="a", message="b", remedy="c")])
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


def test_paths_are_quoted_where_toml_would() -> None:
    assert join_path("", "server") == "server"
    assert join_path("transports", "grpc/public") == 'transports."grpc/public"'
    assert join_path("a", 'say "x"') == 'a."say \\"x\\""'


def test_a_suggestion_names_the_nearest_and_all_known() -> None:
    assert suggest("hmca", ["hmac", "mtls"]) == "did you mean 'hmac'? known: hmac, mtls"
    assert suggest("zzz", ["hmac", "mtls"]) == "known: hmac, mtls"
    assert suggest("zzz", []) == ""
    assert suggest("hmac" * 30, ["hmac" * 30 + "s"]).startswith("known: hmac"), "a long word is compared with none"


# Secrets.


def test_a_secret_is_redacted_however_it_is_printed(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("hunter2")

    @frozen
    class Account:
        password: Secret

    logging.getLogger("test").warning("%s %r", secret, Account(secret))
    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>3}", f"{[secret]}"]
    texts += [caplog.text, str(vars(Account).get("__repr__")), repr(Account(secret)), str(plain(Account(secret)))]
    assert not [text for text in texts if "hunter2" in text]
    assert "[REDACTED]" in caplog.text


def test_a_secret_is_revealed_on_request_alone() -> None:
    assert Secret("hunter2").reveal() == "hunter2"
    assert not hasattr(Secret("hunter2"), "__dict__")


def test_secrets_compare_by_value_and_have_no_hash() -> None:
    assert Secret("pässword") == Secret("pässword")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Secret("a"))


def test_a_secret_cannot_be_pickled_but_copied() -> None:
    secret = Secret("hunter2")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(secret)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_a_secret_of_something_else_is_refused_without_showing_it() -> None:
    with pytest.raises(TypeError, match="not of int") as refused:
        Secret(271828)  # type: ignore[arg-type] # the wrong type is the point
    assert "271828" not in str(refused.value)


# Validators.


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("[::1]:0", ("::1", 0)),
        ("[::]:65535", ("::", 65535)),
        ("localhost:80", ("localhost", 80)),
        ("a-b.example_1.org:1", ("a-b.example_1.org", 1)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "must be 'host:port'"),
        ("localhost", "must be 'host:port'"),
        (":80", "0.0.0.0:port"),
        ("localhost:", "port is a number"),
        ("localhost:65536", "from 0 to 65535"),
        ("localhost:-1", "from 0 to 65535"),
        ("localhost:١", "from 0 to 65535"),
        ("::1:80", "in brackets"),
        ("[::g]:80", "not an IPv6 address"),
        ("[127.0.0.1]:80", "not an IPv6 address"),
        ("http://localhost:80", "in brackets"),
        ("local host:80", "neither a name nor an IP address"),
        ("*:80", "neither a name nor an IP address"),
        ("-a:80", "neither a name nor an IP address"),
        ("a" * 254 + ":80", "neither a name nor an IP address"),
    ],
)
def test_what_is_no_address_is_refused(address: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        split_address(address)

    @frozen
    class Listener:
        listen: str = setting(help="where", validator=listen_address)

    with pytest.raises(ValueError, match=r"^listen "):
        Listener(address)


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (positive, [1, 0.1, 10**400], [0, -1, math.inf, math.nan]),
        (between(0.0, 1.0), [0, 1, 0.5], [-0.1, 1.1, math.nan, math.inf]),
        (at_least(2), [2, 3.5], [1, math.inf, math.nan]),
        (one_of("a", "b"), ["a"], ["A", "", 1]),
        (non_empty, ["a", (1,)], ["", ()]),
        (each(positive), [(), (1, 2)], [(0,), (1, -1)]),
        (matches("[a-z]+", "lower-case letters"), ["abc"], ["", "aB", "a\n"]),
    ],
)
def test_validators_take_what_is_within_their_bound_alone(validator: Any, good: list[Any], bad: list[Any]) -> None:
    @frozen
    class Holder:
        value: Any = field(validator=validator)

    for value in good:
        assert Holder(value).value == value
    for value in bad:
        with pytest.raises(ValueError, match="value "):
            Holder(value)


# JSON Schema.


class Colour(enum.Enum):
    RED = "red"


@frozen
class Inner:
    """A table within.

    More of it.
    """

    path: Path = setting(help="a path")


@frozen
class Outer:
    count: int = setting(default=1, help="how many", unit="calls", validator=between(1, 9))
    rate: float = setting(default=1.0, help="how often", validator=[positive, at_least(0.5)])
    old: int = field(default=2, validator=attrs.validators.and_(attrs.validators.gt(1), attrs.validators.le(5)))
    unset: int | None = field(default=None, validator=attrs.validators.optional(attrs.validators.in_([1, 2])))
    mode: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    names: tuple[str, ...] = setting(default=(), help="names", validator=each(non_empty))
    pair: tuple[int, str] = (1, "a")
    table: Mapping[str, float] = field(factory=dict)
    either: int | str | None = None
    secret: Secret | None = None
    inner: Inner | None = None
    inners: list[Inner] = field(factory=list)


def test_the_schema_of_a_class_has_types_bounds_defaults_and_help() -> None:
    schema = json_schema(Outer)
    properties = schema["properties"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    assert "required" not in schema
    assert properties["count"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "description": "how many",
        "x-unit": "calls",
        "default": 1,
    }
    assert properties["rate"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "minimum": 0.5,
        "description": "how often",
        "default": 1.0,
    }
    assert properties["old"] == {"type": "integer", "exclusiveMinimum": 1, "maximum": 5, "default": 2}
    assert properties["unset"] == {"type": "integer", "enum": [1, 2]}
    assert properties["mode"] == {"enum": ["a", "b"], "default": "a"}
    assert properties["colour"] == {"enum": ["red"], "default": "red"}
    assert properties["names"] == {
        "type": "array",
        "items": {"type": "string", "minLength": 1},
        "description": "names",
        "default": [],
    }
    assert properties["pair"]["prefixItems"] == [{"type": "integer"}, {"type": "string"}]
    assert properties["table"] == {"type": "object", "additionalProperties": {"type": "number"}, "default": {}}
    assert properties["either"] == {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    assert [form["type"] for form in properties["secret"]["oneOf"]] == ["string", "object", "object"]
    assert properties["inner"]["required"] == ["path"]
    assert properties["inner"]["description"] == "A table within."
    assert properties["inners"]["items"]["properties"]["path"]["type"] == "string"


def test_making_a_schema_leaves_the_shared_parts_alone() -> None:
    assert json_schema(Outer) == json_schema(Outer)
    json_schema(ServerSettings)
    assert json_schema(Inner)["properties"]["path"] == {
        "type": "string",
        "format": "path",
        "minLength": 1,
        "description": "a path",
    }


def test_the_schema_of_a_type_that_toml_cannot_hold_is_refused_by_name() -> None:
    @frozen
    class Odd:
        number: complex = 1j

    with pytest.raises(TypeError, match=r"Odd\.number: a configuration cannot hold"):
        json_schema(Odd)


def test_the_schema_of_the_kernel_tables_accepts_their_defaults() -> None:
    for cls in (ServerSettings, PipelineSettings, CacheSettings):
        properties = json_schema(cls)["properties"]
        assert {name: schema["default"] for name, schema in properties.items()} == plain(cls())


def test_a_default_and_a_factory_are_both_given_by_setting() -> None:
    @frozen
    class Both:
        names: list[str] = setting(factory=list, help="names")
        hidden: str = setting(default="x", help="hidden", repr=False)

    assert Both().names is not Both().names
    assert "hidden" not in repr(Both())
