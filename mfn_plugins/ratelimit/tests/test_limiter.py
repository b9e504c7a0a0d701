"""Token buckets, slots and compute."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from mfn_core import Call, ComponentContext, ConfigError, MfnError, Peer
from mfn_core.config import ServerSettings
from mfn_core.execution import ComputePool
from mfn_core.operation import Catalogue
from mfn_core.testing.limits import LimiterSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_ratelimit import Buckets, PolicySettings, TokenBucketLimiter, TokenBucketSettings
from mfn_ratelimit.bucket import ENTRY_BYTES
from mfn_ratelimit.limiter import make_limiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock | None = None, **settings: Any) -> TokenBucketLimiter:
    return TokenBucketLimiter(TokenBucketSettings(**settings), clock=clock or Clock())


class TestTokenBucketLimiter(LimiterSuite):
    @pytest.fixture
    def one_slot(self) -> TokenBucketLimiter:
        return limiter(concurrent=1)

    @pytest.fixture
    def one_token(self) -> TokenBucketLimiter:
        return limiter(rate=0.01, burst=1)

    @pytest.fixture
    def cell_steps(self) -> TokenBucketLimiter:
        return limiter(cell_steps_per_second=1.0, cell_steps_burst=1000.0)


class TestPlugin(PluginSuite):
    plugin = "ratelimit"


SUITE = LimiterSuite()


async def admitted(target: TokenBucketLimiter, call: Call) -> bool:
    try:
        (await target.admit(call)).release()
    except MfnError:
        return False
    return True


@pytest.mark.parametrize("calls_a_second", [2_000, 5_000, 50_000])
async def test_no_more_than_the_burst_and_the_rate_is_admitted_and_hardly_less(calls_a_second: int) -> None:
    clock = Clock()
    target = limiter(clock, rate=1000.0, burst=1000)
    seconds, count = 2.0, 0
    for _ in range(int(calls_a_second * seconds)):
        count += await admitted(target, SUITE.call())
        clock.now += 1 / calls_a_second
    most = 1000 + seconds * 1000
    assert count <= most
    assert count >= 0.98 * min(most, calls_a_second * seconds)


@pytest.mark.slow
async def test_of_ten_thousand_calls_in_two_seconds_of_real_time_as_many_are_admitted() -> None:
    calls, seconds = 10_000, 2.0
    target = TokenBucketLimiter(TokenBucketSettings(rate=1000.0, burst=1000))
    call, count, begun = SUITE.call(), 0, time.monotonic()
    for number in range(calls):
        if (early := begun + number * seconds / calls - time.monotonic()) > 0:
            await asyncio.sleep(early)
        count += await admitted(target, call)
    took = time.monotonic() - begun
    assert 0.98 * (1000 + 1000 * seconds) <= count <= 1000 + 1000 * took, f"{count} calls in {took:.2f} s"


async def test_the_retry_hint_is_exactly_when_a_token_is_there() -> None:
    clock = Clock()
    target = limiter(clock, rate=4.0, burst=2)
    assert await admitted(target, SUITE.call())
    assert await admitted(target, SUITE.call())
    refusal = await SUITE.refused(target, SUITE.call())
    assert refusal.retry_after == pytest.approx(0.25)
    clock.now += 0.249
    assert not await admitted(target, SUITE.call())
    clock.now += 0.0011
    assert await admitted(target, SUITE.call())


async def test_a_principal_may_have_a_policy_of_its_own() -> None:
    target = limiter(
        rate=0.01,
        burst=1,
        policies={"large": PolicySettings(rate=0.01, burst=3)},
        principals={"bob": "large"},
    )
    assert [await admitted(target, SUITE.call("alice")) for _ in range(4)] == [True, False, False, False]
    assert [await admitted(target, SUITE.call("bob")) for _ in range(4)] == [True, True, True, False]


async def test_an_operation_may_have_a_policy_beside_the_principal_s() -> None:
    target = limiter(
        rate=0.01,
        burst=3,
        policies={"slow": PolicySettings(rate=0.01, burst=1)},
        operations={"/suite.Service/Train": "slow"},
    )
    assert await admitted(target, SUITE.call(method="Train"))
    refusal = await SUITE.refused(target, SUITE.call(method="Train"))
    assert refusal.details["policy"] == "slow"
    # What the operation's policy refused has cost the principal's own policy nothing.
    assert [await admitted(target, SUITE.call()) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("own", "beside"), [(0, 0), (2, 0), (0, 2), (2, 2)])
async def test_a_call_holds_a_slot_under_each_policy_that_counts_them(own: int, beside: int) -> None:
    target = limiter(
        rate=1000.0,
        burst=1000,
        concurrent=own,
        policies={"slow": PolicySettings(rate=1000.0, burst=1000, concurrent=beside)},
        operations={"/suite.Service/Train": "slow"},
    )
    leases = [await target.admit(SUITE.call(method="Train")) for _ in range(2)]
    assert target.in_flight == bool(own) + bool(beside)
    assert await admitted(target, SUITE.call(method="Train")) == (not own and not beside)
    assert await admitted(target, SUITE.call()) == (not own)
    for lease in leases:
        lease.release()
    assert await admitted(target, SUITE.call(method="Train"))


async def test_compute_beyond_a_full_bucket_is_lent_and_paid_back() -> None:
    clock = Clock()
    target = limiter(clock, cell_steps_per_second=100.0, cell_steps_burst=1000.0)
    call = SUITE.call()
    await target.charge(call, 5000.0)
    with pytest.raises(MfnError) as refused:
        await target.charge(call, 1.0)
    assert refused.value.retry_after == pytest.approx(40.01)
    clock.now += 40.02
    await target.charge(call, 1.0)


async def test_callers_without_a_name_are_told_apart_by_their_address() -> None:
    target = limiter(rate=0.01, burst=1)

    def call(address: str) -> Call:
        made = SUITE.call()
        made.principal = None
        made.peer = Peer(address=address)
        return made

    assert await admitted(target, call("192.0.2.1:1000"))
    assert not await admitted(target, call("192.0.2.1:2000"))
    assert await admitted(target, call("192.0.2.2:1000"))


async def test_slots_leave_nothing_behind() -> None:
    target = limiter(concurrent=2)
    leases = [await target.admit(SUITE.call(f"p{number}")) for number in range(100)]
    assert target.in_flight == 100
    for lease in leases:
        lease.release()
    assert target.in_flight == 0


KEPT = """
import sys
from mfn_ratelimit import Buckets

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

principals, allowed, name = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
buckets = Buckets(allowed)
before = resident()
for number in range(principals):
    buckets.take(name.format(number), tokens=1.0, rate=0.001, burst=10, now=number / 1e6)
print(len(buckets), buckets.capacity, resident() - before)
"""
SHORT, LONGEST_AS_IT_IS, ANY_SCRIPT = "principal-{:08d}@example", "{:048d}", "{:08d}" + 248 * "\N{MUSHROOM}"


# How much of the mapping is empty depends on how many buckets fit: at 40 MiB, most of it.
@pytest.mark.parametrize(
    ("principals", "mebibytes", "name"),
    [
        (200_000, 40, LONGEST_AS_IT_IS),
        *(
            pytest.param(1_000_000, mebibytes, name, marks=pytest.mark.slow)
            for mebibytes, name in ((16, SHORT), (24, SHORT), (64, SHORT), (32, ANY_SCRIPT))
        ),
    ],
    ids=["200,000", "16-MiB", "24-MiB", "64-MiB", "another-script"],
)
def test_a_million_principals_stay_within_the_configured_memory(principals: int, mebibytes: int, name: str) -> None:
    allowed = mebibytes * 1024 * 1024
    done = subprocess.run(
        [sys.executable, "-c", KEPT, str(principals), str(allowed), name],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    held, capacity, grown = map(int, done.stdout.split())
    assert held == capacity == allowed // ENTRY_BYTES
    assert grown <= allowed


LIMITED = """
import asyncio
from attrs import evolve
from mfn_core.testing.limits import LimiterSuite
from mfn_ratelimit import TokenBucketLimiter, TokenBucketSettings

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

async def main():
    settings = TokenBucketSettings(rate=0.001, burst=10, cell_steps_per_second=1.0)
    limiter, call = TokenBucketLimiter(settings), LimiterSuite().call()
    named = call.principal
    (await limiter.admit(call)).release()
    before = resident()
    for number in range(1_000_000):
        call.principal = evolve(named, name=f"principal-{number:08d}@example")
        lease = await limiter.admit(call)
        await limiter.charge(call, 1000.0)
        lease.release()
    print(settings.max_bytes, limiter.buckets, limiter.in_flight, resident() - before)

asyncio.run(main())
"""


@pytest.mark.slow
def test_calls_of_a_million_principals_stay_within_the_default_memory() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True, timeout=100)
    allowed, buckets, in_flight, grown = map(int, done.stdout.split())
    assert buckets == 2 * (allowed // 2 // ENTRY_BYTES)  # those of calls, and those of cell-steps
    assert in_flight == 0
    assert grown <= allowed


def test_long_names_have_buckets_of_their_own() -> None:
    buckets = Buckets(10 * ENTRY_BYTES)
    names = ["x" * 256, "x" * 255 + "y", "\N{MUSHROOM}", "\N{SPIRAL SHELL}"]
    take = {"tokens": 1.0, "rate": 1.0, "burst": 1.0, "now": 0.0}
    assert [buckets.take(name, **take) for name in names] == [None] * len(names)
    assert all(buckets.take(name, **take) is not None for name in names)
    buckets.put_back(names[0], tokens=1.0, rate=1.0)
    assert buckets.take(names[0], **take) is None


def test_full_buckets_are_forgotten_and_lose_nothing() -> None:
    buckets = Buckets(10 * ENTRY_BYTES)
    for number in range(10):
        buckets.take(f"k{number}", tokens=1.0, rate=1.0, burst=1.0, now=0.0)
    assert buckets.take("new", tokens=1.0, rate=1.0, burst=1.0, now=5.0) is None
    assert len(buckets) == 1


@given(
    st.floats(0.1, 1000.0),
    st.integers(1, 50),
    st.lists(st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 60.0)), min_size=1, max_size=60),
)
def test_a_bucket_behaves_as_the_textbook_s(rate: float, burst: int, moves: list[tuple[float, float]]) -> None:
    buckets = Buckets(ENTRY_BYTES)
    level, now = float(burst), 0.0
    for wait, tokens in moves:
        now += wait
        level = min(float(burst), level + wait * rate)
        refusal = buckets.take("k", tokens=tokens, rate=rate, burst=burst, now=now)
        enough = level - min(tokens, burst)
        if abs(enough) < 1e-6:
            return  # a tie: rounding decides
        assert (refusal is None) == (enough > 0)
        if refusal is None:
            level -= tokens
        else:
            assert refusal.retry_after == pytest.approx(-enough / rate, rel=1e-6, abs=1e-6)


def test_a_policy_that_does_not_exist_is_named_with_what_is_meant() -> None:
    settings = TokenBucketSettings(
        policies={"slow": PolicySettings()}, principals={"bob": "slwo"}, operations={"/a.B/C": "fast"}
    )
    context = ComponentContext(
        name="token_bucket",
        server=ServerSettings(),
        worker=0,
        compute=ComputePool({}),
        catalogue=Catalogue(),
        log=logging.getLogger("test"),
    )
    with pytest.raises(ConfigError) as refused:
        make_limiter(settings, context)
    found = {problem.path: f"{problem.message} {problem.remedy}" for problem in refused.value.problems}
    assert "did you mean 'slow'" in found["limits.token_bucket.principals"]
    assert "'fast'" in found["limits.token_bucket.operations"]
    assert evolve(settings, principals={}, operations={}) is not None


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"rate": float("nan")}, {"burst": 0}, {"concurrent": -1}])
def test_a_policy_out_of_its_bounds_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PolicySettings(**wrong)


async def test_a_call_tells_what_is_left_of_the_limit_that_leaves_least() -> None:
    clock = Clock()
    call = SUITE.call()
    tight = PolicySettings(rate=1.0, burst=4)
    target = limiter(clock, rate=10.0, burst=100, policies={"tight": tight}, operations={call.operation.path: "tight"})
    assert call.allowance is None
    await target.admit(call)
    assert call.allowance is not None
    left = call.allowance()
    assert (left.policy, left.limit, left.remaining, left.window) == ("tight", 4, 3, 4.0)
    for _ in range(3):
        await target.admit(SUITE.call())
    assert call.allowance().remaining == 0
    refused = SUITE.call()
    with pytest.raises(MfnError):
        await target.admit(refused)
    assert refused.allowance is not None
    assert refused.allowance().remaining == 0
    clock.now += 2.0
    assert refused.allowance().remaining == 2
    clock.now += 100.0
    assert refused.allowance().remaining == 4


async def test_a_call_that_gets_no_slot_is_told_what_is_left_too() -> None:
    target = limiter(Clock(), rate=10.0, burst=5, concurrent=1)
    await target.admit(SUITE.call())
    refused = SUITE.call()
    with pytest.raises(MfnError):
        await target.admit(refused)
    assert refused.allowance is not None
    assert refused.allowance().remaining == 4
