"""What every limiter must do, as a suite that its author subclasses."""

from __future__ import annotations

import asyncio
from inspect import getattr_static

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core.call import Call, Metadata, Peer, Principal, Request
from mfn_core.errors import Code, MfnError
from mfn_core.limits import Lease, Limiter
from mfn_core.operation import Operation, Shape

__all__ = ["LimiterSuite"]


_KINDS = ("one_slot", "one_token", "cell_steps")


async def _silent(request: object, call: Call) -> BytesValue:
    return BytesValue()


@pytest.mark.asyncio
class LimiterSuite:
    """Subclass it under a name that begins with `Test`, and give a fixture for each kind of limit that there is.

    `one_slot`: a limiter that admits one call in flight of each principal. `one_token`: one that admits one call of
    each principal, and no second for a long time. `cell_steps`: one that has 1000 cell-steps for each principal and
    no more for a long time. The tests of a kind that is not given are skipped; one kind at least is.
    """

    @pytest.fixture
    def one_slot(self) -> Limiter:
        """A limiter of calls in flight."""
        pytest.skip("no fixture `one_slot` is given: calls in flight are not limited")

    @pytest.fixture
    def one_token(self) -> Limiter:
        """A limiter of calls."""
        pytest.skip("no fixture `one_token` is given: calls over time are not limited")

    @pytest.fixture
    def cell_steps(self) -> Limiter:
        """A limiter of compute."""
        pytest.skip("no fixture `cell_steps` is given: compute is not limited")

    @pytest.fixture
    def any_limiter(self, request: pytest.FixtureRequest) -> Limiter:
        """The first one that the subclass gives."""
        for name in _KINDS:
            if getattr_static(type(self), name) is not getattr_static(LimiterSuite, name):
                limiter: Limiter = request.getfixturevalue(name)
                return limiter
        pytest.fail(f"{type(self).__name__} gives none of the fixtures {', '.join(_KINDS)}: it limits nothing")

    def call(self, principal: str = "alice", method: str = "Call", *, public: bool = False) -> Call:
        """A call of a principal."""
        call = Call(
            id="0" * 24,
            operation=Operation(
                service="suite.Service",
                method=method,
                shape=Shape.SERVER_STREAM,
                request_type=BytesValue,
                response_type=BytesValue,
                handler=_silent,
                public=public,
            ),
            transport="suite",
            metadata=Metadata(),
            peer=Peer(address="127.0.0.1:40000"),
            request=Request(),
        )
        if not public:
            call.principal = Principal(name=principal, roles=frozenset({"read"}), method="suite")
        return call

    async def refused(self, limiter: Limiter, call: Call) -> MfnError:
        """The refusal of a call that must be refused."""
        with pytest.raises(MfnError) as refusal:
            await limiter.admit(call)
        error = refusal.value
        assert error.code is Code.RESOURCE_EXHAUSTED, f"refused as {error.code.name}"
        assert error.retry_after is not None, "the refusal has no retry_after"
        assert error.retry_after > 0, f"retry_after is {error.retry_after}"
        assert error.details.get("limit"), f"the refusal does not name its limit in details: {error.details}"
        return error

    async def test_a_slot_is_free_again_after_its_release(self, one_slot: Limiter) -> None:
        lease = await one_slot.admit(self.call())
        await self.refused(one_slot, self.call())
        lease.release()
        (await one_slot.admit(self.call())).release()

    async def test_a_refused_call_holds_no_slot(self, one_slot: Limiter) -> None:
        lease = await one_slot.admit(self.call())
        for _ in range(20):
            await self.refused(one_slot, self.call())
        lease.release()
        again = await one_slot.admit(self.call())
        again.release()

    async def test_principals_do_not_share_slots(self, one_slot: Limiter) -> None:
        leases: list[Lease] = [await one_slot.admit(self.call(name)) for name in ("alice", "bob", "carol")]
        await self.refused(one_slot, self.call("bob"))
        for lease in leases:
            lease.release()

    async def test_many_calls_at_once_get_one_slot_between_them(self, one_slot: Limiter) -> None:
        outcomes = await asyncio.gather(*(one_slot.admit(self.call()) for _ in range(50)), return_exceptions=True)
        assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1

    async def test_tokens_run_out_for_each_principal_alone(self, one_token: Limiter) -> None:
        (await one_token.admit(self.call())).release()
        await self.refused(one_token, self.call())
        (await one_token.admit(self.call("bob"))).release()

    async def test_a_public_operation_is_outside_every_limit(self, any_limiter: Limiter) -> None:
        leases = [await any_limiter.admit(self.call(public=True)) for _ in range(5)]
        for lease in leases:
            lease.release()

    async def test_compute_is_charged_and_runs_out(self, cell_steps: Limiter) -> None:
        call = self.call()
        lease = await cell_steps.admit(call)
        await cell_steps.charge(call, 600.0)
        with pytest.raises(MfnError) as refusal:
            await cell_steps.charge(call, 600.0)
        assert refusal.value.code is Code.RESOURCE_EXHAUSTED
        assert refusal.value.retry_after is not None
        await cell_steps.charge(call, 400.0)
        lease.release()
