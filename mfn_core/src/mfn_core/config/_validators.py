"""Bounds of settings: validators that check a value, say what is allowed, and describe themselves to JSON Schema."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen

from mfn_core.config._problems import suggest

__all__ = [
    "SchemaValidator",
    "at_least",
    "between",
    "each",
    "listen_address",
    "matches",
    "non_empty",
    "one_of",
    "positive",
    "split_address",
]

Validator = Callable[[Any, Any, Any], Any]
"""What attrs calls with the instance, the attribute and the value."""


class SchemaValidator(Protocol):
    """A validator that can describe its bound."""

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        """Check the value.

        Raises:
            ValueError: it begins with the attribute's name and names the value and the bound.
        """
        ...

    def schema(self) -> dict[str, Any]:
        """Keywords of JSON Schema that say the same."""
        ...


@frozen
class _Between:
    low: float
    high: float

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if not self.low <= value <= self.high:
            raise ValueError(f"{attribute.name} must be between {self.low} and {self.high}, not {value!r}")

    def schema(self) -> dict[str, Any]:
        return {"minimum": self.low, "maximum": self.high}


@frozen
class _AtLeast:
    low: float

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if not self.low <= value < math.inf:
            raise ValueError(f"{attribute.name} must be at least {self.low}, and finite, not {value!r}")

    def schema(self) -> dict[str, Any]:
        return {"minimum": self.low}


@frozen
class _Positive:
    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if not 0 < value < math.inf:
            raise ValueError(f"{attribute.name} must be greater than 0, and finite, not {value!r}")

    def schema(self) -> dict[str, Any]:
        return {"exclusiveMinimum": 0}


@frozen
class _OneOf:
    choices: tuple[Any, ...]

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if value not in self.choices:
            words = [str(choice) for choice in self.choices]
            raise ValueError(f"{attribute.name} cannot be {value!r}; {suggest(str(value), words)}")

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.choices)}


@frozen
class _Matches:
    pattern: str
    what: str

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(f"{attribute.name} must be {self.what}, not {value!r}")

    def schema(self) -> dict[str, Any]:
        return {"pattern": f"^(?:{self.pattern})$"}


@frozen
class _NonEmpty:
    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        if not value:
            raise ValueError(f"{attribute.name} must not be empty")

    def schema(self) -> dict[str, Any]:
        return {"minLength": 1, "minItems": 1}


@frozen
class _Each:
    member: Validator

    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        for item in value:
            self.member(instance, attribute, item)

    def schema(self) -> dict[str, Any]:
        describe = getattr(self.member, "schema", None)
        return {"items": describe()} if describe is not None else {}


@frozen
class _ListenAddress:
    def __call__(self, instance: Any, attribute: Any, value: Any) -> None:
        try:
            split_address(value)
        except ValueError as wrong:
            raise ValueError(f"{attribute.name} {wrong}") from None

    def schema(self) -> dict[str, Any]:
        return {"pattern": r"^(\[[0-9A-Fa-f:.%A-Za-z0-9]+\]|[^\[\]:\s/]+):[0-9]{1,5}$"}


positive: SchemaValidator = _Positive()
"""Greater than 0 and finite."""

non_empty: SchemaValidator = _NonEmpty()
"""Text of at least one character, or an array of at least one item."""

listen_address: SchemaValidator = _ListenAddress()
"""`host:port` or `[::1]:port`, port 0 to 65535."""


def between(low: float, high: float) -> SchemaValidator:
    """A number from `low` to `high`, both included."""
    return _Between(low, high)


def at_least(low: float) -> SchemaValidator:
    """A finite number of at least `low`."""
    return _AtLeast(low)


def one_of(*choices: Any) -> SchemaValidator:
    """One of the values given."""
    return _OneOf(choices)


def each(member: Validator) -> SchemaValidator:
    """An array, every item of which passes `member`."""
    return _Each(member)


def matches(pattern: str, what: str) -> SchemaValidator:
    """Text that the regular expression matches from end to end; `what` says in words what it must be."""
    return _Matches(pattern, what)


_HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)


def split_address(text: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port of an address to listen on.

    Raises:
        ValueError: it is not `host:port`; the message goes after the setting's name.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise ValueError(f"must be 'host:port', not {text!r}; for every address write '0.0.0.0:port' or '[::]:port'")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"has the port {port!r}; a port is a number from 0 to 65535, and 0 asks for a free one")
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(host[1:-1]), int(port)
    if ":" in host:
        raise ValueError(f"must have its IPv6 address in brackets: '[{host}]:{port}', not {text!r}")
    if _HOST.fullmatch(host) is None:
        raise ValueError(f"has the host {host!r}, which is neither a name nor an IP address")
    return host, int(port)


def _ipv6(host: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"has [{host}], which is not an IPv6 address") from None
    return host
