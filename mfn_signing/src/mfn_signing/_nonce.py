"""Nonces: random ones, and windowed ones that let a server remember a busy client in constant memory."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Final, NoReturn

from mfn_signing._errors import MalformedError

__all__ = [
    "MAX_COUNTER",
    "NONCE_PATTERN",
    "RandomNonce",
    "WindowedNonce",
    "WindowedNonceSource",
    "counter_overflows",
    "new_random_nonce",
    "parse_nonce",
]

MAX_COUNTER: Final = 2**63 - 1
"""Greatest counter of a windowed nonce."""

_RANDOM = r"[A-Za-z0-9_-]{16,64}"
_INSTANCE = r"[A-Za-z0-9_-]{16,32}"
_COUNTER = r"[1-9][0-9]{0,18}"

# A random nonce is written as an instance and what follows it, so that neither kind is read twice.
NONCE_PATTERN: Final = rf"{_INSTANCE}(?:\.{_COUNTER}|[A-Za-z0-9_-]{{0,32}})"
"""Regular expression of both kinds; `counter_overflows` decides what it leaves open."""

_random_match = re.compile(_RANDOM).fullmatch
_instance_match = re.compile(_INSTANCE).fullmatch
_counter_match = re.compile(_COUNTER).fullmatch

_MAX_COUNTER_TEXT = str(MAX_COUNTER)
_ENTROPY_BYTES = 16
"""128 random bits, 22 characters: no two draws meet in practice."""


def counter_overflows(nonce: str) -> bool:
    """Say whether `nonce`, which matched `NONCE_PATTERN`, counts beyond `MAX_COUNTER`."""
    # Only a counter of as many digits as the bound can pass it, and equally long digits compare as text.
    return len(nonce) > 35 and nonce[-20] == "." and nonce[-19:] > _MAX_COUNTER_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomNonce:
    """A nonce that is never used twice with the same key.

    Attributes:
        value: 16 to 64 characters of `[A-Za-z0-9_-]`.
    """

    value: str

    def __post_init__(self) -> None:
        """Refuse any other text with MalformedError."""
        if _random_match(self.value) is None:
            raise MalformedError(
                "nonce",
                f"of {len(self.value)} characters is not 16 to 64 characters of [A-Za-z0-9_-]; "
                "draw 16 random bytes and write them in base64url without padding",
            )

    def __str__(self) -> str:
        """The text that travels in the header."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowedNonce:
    """A nonce `INSTANCE.COUNTER`, remembered as one position in its instance's replay window.

    Attributes:
        instance: 16 to 32 characters of `[A-Za-z0-9_-]`, drawn at random once per client.
        counter: from 1 to `MAX_COUNTER`, rising with each request of the instance.
    """

    instance: str
    counter: int

    def __post_init__(self) -> None:
        """Refuse an instance or a counter out of bounds with MalformedError."""
        if _instance_match(self.instance) is None:
            raise MalformedError(
                "nonce",
                f"has an instance of {len(self.instance)} characters that is not 16 to 32 characters of "
                "[A-Za-z0-9_-]; draw 16 random bytes once per client and write them in base64url",
            )
        if not 1 <= self.counter <= MAX_COUNTER:
            raise MalformedError(
                "nonce",
                f"has a counter out of 1 to {MAX_COUNTER}; draw a new instance and count from 1 again",
            )

    def __str__(self) -> str:
        """The text that travels in the header."""
        return f"{self.instance}.{self.counter}"


def parse_nonce(text: str) -> RandomNonce | WindowedNonce:
    """Read the nonce header: a dot makes it windowed.

    Raises:
        MalformedError: `text` is of neither kind.
    """
    instance, dot, digits = text.partition(".")
    if not dot:
        return RandomNonce(value=text)
    if _counter_match(digits) is None:
        raise MalformedError(
            "nonce",
            f"has a counter that is not 1 to {MAX_COUNTER} in decimal digits without leading zeros; "
            "write INSTANCE.COUNTER with COUNTER from 1, rising",
        )
    return WindowedNonce(instance=instance, counter=int(digits))


def new_random_nonce() -> str:
    """Draw a random nonce: 128 bits from the operating system, 22 characters. Safe from any thread."""
    return secrets.token_urlsafe(_ENTROPY_BYTES)


# Raised in the child of every fork: what a source drew under another generation belongs to the parent. A
# process id could come round again in a grandchild; this number cannot.
_generation = 0
_renewal = Lock()


def _forked() -> None:
    """Disown, in a child, every instance drawn so far, and the lock that a thread of the parent may hold."""
    global _generation, _renewal
    _generation += 1
    _renewal = Lock()


if hasattr(os, "register_at_fork"):  # platforms without fork have no such hook, nor need of it
    os.register_at_fork(after_in_child=_forked)


class _Instance:
    """One drawn instance, its counter, and the process generation that may use it."""

    __slots__ = ("counter", "generation", "lock", "prefix")

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.prefix = secrets.token_urlsafe(_ENTROPY_BYTES) + "."
        self.counter = count(1)
        self.lock = Lock()


class WindowedNonceSource:
    """The windowed nonces of one client: an instance drawn once, and a counter that rises with each call.

    One source may serve all keys, connections and threads of a client. After a fork the child draws an
    instance of its own at its first call. A source cannot be pickled or copied, because two with one
    instance would send the same nonce twice.

    A server keeps a window of 1024 counters: a request that arrives after 1024 later ones of its source is
    refused, so a client with more requests than that in flight should use several sources.
    """

    __slots__ = ("__weakref__", "_instance")

    def __init__(self) -> None:
        """Draw the instance: 128 bits from the operating system."""
        self._instance = _Instance(_generation)

    def next(self) -> str:
        """The next nonce, as the header carries it. Safe from any thread; never the same twice."""
        while True:
            instance = self._instance
            if instance.generation == _generation:
                with instance.lock:
                    number = next(instance.counter)
                # A fork between the two looks (from a signal handler, say) leaves this number to the parent.
                if instance.generation == _generation and number <= MAX_COUNTER:
                    return f"{instance.prefix}{number}"
            self._renew(instance)

    def _renew(self, spent: _Instance) -> None:
        """Draw a new instance in place of `spent`, once however many threads ask."""
        with _renewal:
            if self._instance is spent:
                self._instance = _Instance(_generation)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a windowed nonce source cannot be pickled or copied; make a new one in its place")
