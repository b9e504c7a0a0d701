"""The rule, the pace and the budget of retries, without a server."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mfn_client import Code, RetryBudget
from mfn_client.raw import RawStatus
from mfn_client.retrying import RetryPolicy, may_retry

FINAL = sorted(set(Code) - {Code.OK, Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED})


@pytest.mark.parametrize("code", FINAL)
@pytest.mark.parametrize("retry_after", [None, 0.0])
def test_a_permanent_code_is_final_whatever_comes_with_it(code: str, retry_after: float | None) -> None:
    status = RawStatus(code=code, retry_after=retry_after)
    assert not may_retry(status, idempotent=True)
    assert not may_retry(status, idempotent=False, sent=False)


@pytest.mark.parametrize(
    ("code", "retry_after", "idempotent", "sent", "allowed"),
    [
        # A connection that broke: the operation may have been executed.
        ("UNAVAILABLE", None, True, True, True),
        ("UNAVAILABLE", None, False, True, False),
        # It never left.
        ("UNAVAILABLE", None, False, False, True),
        # The server itself refused, and says when to come back.
        ("UNAVAILABLE", 0.0, False, True, True),
        ("RESOURCE_EXHAUSTED", 0.5, True, True, True),
        ("RESOURCE_EXHAUSTED", 0.5, False, True, True),
        # A server that shut down, and does not say whether the call had begun.
        ("CANCELLED", None, True, True, True),
        ("CANCELLED", None, False, True, False),
        ("CANCELLED", None, False, False, True),
        # A bound that waiting does not move.
        ("RESOURCE_EXHAUSTED", None, True, True, False),
        ("RESOURCE_EXHAUSTED", None, True, False, False),
    ],
)
def test_what_may_be_attempted_again(
    code: str, retry_after: float | None, idempotent: bool, sent: bool, allowed: bool
) -> None:
    assert may_retry(RawStatus(code=code, retry_after=retry_after), idempotent=idempotent, sent=sent) is allowed


def test_a_call_that_this_side_gave_up_is_not_attempted_again() -> None:
    assert not may_retry(RawStatus(code="CANCELLED", local=True), idempotent=True, sent=False)


def test_pauses_are_drawn_from_nothing_to_a_bound_that_doubles_up_to_a_cap() -> None:
    policy = RetryPolicy(backoff_seconds=0.1, max_backoff_seconds=0.5)
    assert [policy.pause(failures, lambda: 0.0) for failures in (1, 2, 3)] == [0.0, 0.0, 0.0]
    longest = [policy.pause(failures, lambda: 1.0) for failures in (1, 2, 3, 4, 5, 99)]
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5, 0.5])
    drawn = {policy.pause(3) for _ in range(100)}
    assert len(drawn) > 90
    assert all(0.0 <= pause <= 0.4 for pause in drawn)


@pytest.mark.parametrize(
    "values",
    [
        {"max_attempts": 0},
        {"max_attempts": 101},
        {"backoff_seconds": 0.0},
        {"backoff_seconds": math.nan},
        {"max_backoff_seconds": math.inf},
    ],
)
def test_a_pace_out_of_its_bounds_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must be (1 to 100|positive and finite), got"):
        RetryPolicy(**values)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_gives_what_it_holds_and_then_nothing() -> None:
    budget = RetryBudget(capacity=3, per_call=0.0, per_second=0.0)
    assert [budget.take() for _ in range(5)] == [True, True, True, False, False]


def test_calls_put_their_share_into_the_budget_up_to_its_capacity() -> None:
    budget = RetryBudget(capacity=2, per_call=0.25, per_second=0.0)
    budget.call_begun()
    assert budget.tokens == 2.0
    assert budget.take()
    assert budget.take()
    for _ in range(3):
        budget.call_begun()
        assert not budget.take()
    budget.call_begun()
    assert budget.take()
    assert not budget.take()


def test_a_client_that_calls_seldom_has_a_trickle() -> None:
    clock = Clock()
    budget = RetryBudget(capacity=1, per_call=0.0, per_second=0.5, clock=clock)
    assert budget.take()
    clock.now += 1.9
    assert not budget.take()
    clock.now += 0.1
    assert budget.take()
    clock.now += 1000.0
    assert budget.tokens == 1.0


@pytest.mark.parametrize("values", [{"capacity": 0.5}, {"per_call": -0.1}, {"per_second": math.inf}])
def test_a_budget_out_of_its_bounds_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="of a retry budget must be finite and at least"):
        RetryBudget(**values)
