"""The limiter: which buckets a call takes from, and which slots it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from mfn_core import Allowance, Call, Code, ComponentContext, Lease, MfnError
from mfn_core.config import ConfigError, Problem, suggest
from mfn_ratelimit.bucket import Buckets, Refusal
from mfn_ratelimit.settings import PolicySettings, TokenBucketSettings

__all__ = ["TokenBucketLimiter", "make_limiter"]

RETRY_AFTER_SLOT = 1.0
"""Seconds that a caller is asked to wait for a slot: nobody knows when one of its own calls will end."""


class _NoLease:
    """What a call holds that no limit applies to."""

    def release(self) -> None:
        """Nothing to give back."""


_NO_LEASE = _NoLease()


class _Applied(NamedTuple):  # one is made for every call, in the order of its fields, which is sooner done
    """One policy as it holds for one call."""

    name: str
    owner: str
    """Key of the buckets and slots."""
    policy: PolicySettings


class _Slots:
    """The slots that one call holds: one under each of its policies that counts calls in flight."""

    __slots__ = ("_applied", "_in_flight")

    def __init__(self, in_flight: dict[str, int], applied: Sequence[_Applied]) -> None:
        self._in_flight = in_flight
        self._applied = applied
        for each in applied:
            if each.policy.concurrent:
                in_flight[each.owner] = in_flight.get(each.owner, 0) + 1

    def release(self) -> None:
        """Give them back."""
        in_flight = self._in_flight
        for each in self._applied:
            if each.policy.concurrent:
                left = in_flight[each.owner] - 1
                if left:
                    in_flight[each.owner] = left
                else:
                    del in_flight[each.owner]  # memory is bounded by the calls in flight


class TokenBucketLimiter:
    """Calls a second, calls in flight and cell-steps a second, for each principal.

    A call is under its principal's policy and, where its operation has one, under that one too. It takes from all
    of them or from none.
    """

    def __init__(self, settings: TokenBucketSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Apply `settings`; `clock` gives seconds and does not go back."""
        self._settings = settings
        self._clock = clock
        self._calls = Buckets(settings.max_bytes // 2)
        self._cell_steps = Buckets(settings.max_bytes // 2)
        self._in_flight: dict[str, int] = {}

    @property
    def in_flight(self) -> int:
        """Owners that hold a slot now."""
        return len(self._in_flight)

    @property
    def buckets(self) -> int:
        """Buckets that are kept."""
        return len(self._calls) + len(self._cell_steps)

    async def admit(self, call: Call) -> Lease:
        """Take a slot and a token under every policy of the call, or refuse it and take none."""
        if call.operation.public:
            return _NO_LEASE
        applied = self._applied(call)
        call.allowance = partial(self._allowance, applied)
        for each in applied:
            limit = each.policy.concurrent
            if limit and self._in_flight.get(each.owner, 0) >= limit:
                raise _refused(each, f"{limit} calls in flight", "concurrent", RETRY_AFTER_SLOT)
        now = self._clock()
        for each in applied:
            policy = each.policy
            refusal = self._calls.take(each.owner, tokens=1.0, rate=policy.rate, burst=policy.burst, now=now)
            if refusal is not None:
                for other in applied[: applied.index(each)]:
                    self._calls.put_back(other.owner, tokens=1.0, rate=other.policy.rate)
                raise _refused(each, f"{policy.rate:g} calls a second", "rate", refusal.retry_after)
        return _Slots(self._in_flight, applied)

    async def charge(self, call: Call, cost: float) -> None:
        """Take `cost` cell-steps under every policy that limits them, or refuse the call and take none."""
        if call.operation.public or cost <= 0:
            return
        now = self._clock()
        taken: list[_Applied] = []
        for each in self._applied(call):
            rate, burst = each.policy.cell_steps_per_second, each.policy.cell_steps_burst
            if not rate:
                continue
            refusal: Refusal | None = self._cell_steps.take(each.owner, tokens=cost, rate=rate, burst=burst, now=now)
            if refusal is not None:
                for other in taken:
                    self._cell_steps.put_back(other.owner, tokens=cost, rate=other.policy.cell_steps_per_second)
                raise _refused(each, f"{rate:g} cell-steps a second", "cell_steps", refusal.retry_after)
            taken.append(each)

    def _allowance(self, applied: Sequence[_Applied]) -> Allowance:
        """Of the policy that leaves the caller least."""
        now = self._clock()
        return min(
            (
                Allowance(
                    policy=each.name,
                    limit=int(each.policy.burst),
                    remaining=int(
                        self._calls.left(each.owner, rate=each.policy.rate, burst=each.policy.burst, now=now) + 1e-9
                    ),
                    window=each.policy.burst / each.policy.rate,
                )
                for each in applied
            ),
            key=lambda allowance: allowance.remaining,
        )

    def _applied(self, call: Call) -> list[_Applied]:
        settings, principal = self._settings, call.principal
        if principal is None or principal.method == "anonymous":
            # Callers without a name are told apart by where they call from.
            owner, name = f"@{call.peer.address.rpartition(':')[0]}", None
        else:
            owner, name = principal.name, settings.principals.get(principal.name)
        policy = settings if name is None else settings.policies[name]
        applied = [_Applied(name or "default", owner, policy)]
        named = settings.operations.get(call.operation.path) if settings.operations else None
        if named is not None:
            owner = f"{owner}\n{call.operation.path}"
            applied.append(_Applied(name=named, owner=owner, policy=settings.policies[named]))
        return applied


def make_limiter(settings: TokenBucketSettings, context: ComponentContext) -> TokenBucketLimiter:
    """The factory of the component.

    Raises:
        ConfigError: a principal or an operation has a policy that does not exist.
    """
    problems = [
        Problem(
            path=f"limits.{context.name}.{table}",
            message=f"{owner!r} has the policy {name!r}, which does not exist",
            remedy=suggest(name, settings.policies) or f"write [limits.{context.name}.policies.{name}]",
        )
        for table, names in (("principals", settings.principals), ("operations", settings.operations))
        for owner, name in names.items()
        if name not in settings.policies
    ]
    if problems:
        raise ConfigError(problems)
    return TokenBucketLimiter(settings)


def _refused(applied: _Applied, what: str, limit: str, retry_after: float) -> MfnError:
    return MfnError(
        Code.RESOURCE_EXHAUSTED,
        f"limit reached: {what} (policy {applied.name!r}); retry after {retry_after:.3f} s",
        reason=f"limit {limit} of policy {applied.name!r} for {applied.owner.partition(chr(10))[0]!r}",
        retry_after=retry_after,
        details={"limit": limit, "policy": applied.name},
    )
