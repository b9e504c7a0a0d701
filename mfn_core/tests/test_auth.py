"""Calls on a connection that was authenticated when it was opened."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core.auth import AuthMiddleware
from mfn_core.call import Call, Metadata, Peer, Principal, Request
from mfn_core.errors import Code, MfnError
from mfn_core.operation import Operation, Shape

ADA = Principal(name="ada", roles=frozenset({"read"}), key_id="ada-1", method="hmac")
NOBODY = Principal(name="anonymous", roles=frozenset({"write"}), method="anonymous")


async def _echo(request: BytesValue, call: Call) -> BytesValue:
    return request


def made(*, opened_by: Call | None = None, role: str = "read", peer: Peer | None = None) -> Call:
    operation = Operation(
        service="a.Test",
        method="Echo",
        shape=Shape.UNARY,
        request_type=BytesValue,
        response_type=BytesValue,
        handler=_echo,
        role=role,
    )
    return Call(
        id="0" * 24,
        operation=operation,
        transport="asgi",
        metadata=Metadata(),
        peer=peer or Peer(address="127.0.0.1:1"),
        request=Request(),
        opened_by=opened_by,
    )


def opening(principal: Principal | None) -> Call:
    call = made()
    call.principal = principal
    call.key_id = None if principal is None else principal.key_id
    return call


class Asked:
    """An authenticator that knows nobody, and counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    async def authenticate(self, call: Call) -> Principal | None:
        self.times += 1
        return None


async def passed(call: Call, authenticators: Sequence[Asked] = ()) -> list[Call]:
    seen: list[Call] = []

    async def following(call: Call) -> None:
        seen.append(call)

    await AuthMiddleware(authenticators, anonymous=NOBODY)(call, following)
    return seen


async def test_it_has_the_principal_and_the_key_of_the_opening_and_nobody_is_asked_again() -> None:
    asked = Asked()
    call = made(opened_by=opening(ADA))
    assert await passed(call, [asked]) == [call]
    assert (call.principal, call.key_id, asked.times) == (ADA, "ada-1", 0)


async def test_it_is_refused_once_the_authenticator_has_taken_its_proof_back() -> None:
    class Withdrawing(Asked):
        vouching = True

        async def authenticate(self, call: Call) -> Principal | None:
            return ADA

        def still_vouches(self, principal: Principal) -> bool:
            assert principal is ADA
            return self.vouching

    asked = Withdrawing()
    first = made()
    await passed(first, [Asked(), asked])
    assert len(await passed(made(opened_by=first), [asked])) == 1
    asked.vouching = False
    with pytest.raises(MfnError) as refused:
        await passed(made(opened_by=first), [asked])
    assert (refused.value.code, refused.value.message) == (Code.UNAUTHENTICATED, "authentication failed")
    assert "revoked" in refused.value.reason


async def test_it_needs_the_role_of_its_own_operation() -> None:
    with pytest.raises(MfnError) as refused:
        await passed(made(opened_by=opening(ADA), role="write"))
    assert refused.value.code is Code.PERMISSION_DENIED


async def test_an_opening_that_proved_nobody_opens_nothing_not_even_as_anonymous() -> None:
    with pytest.raises(MfnError) as refused:
        await passed(made(opened_by=opening(None)))
    assert refused.value.code is Code.UNAUTHENTICATED


async def test_from_another_machine_it_needs_encryption_because_nothing_after_the_opening_is_signed() -> None:
    far, safe = Peer(address="192.0.2.1:1"), Peer(address="192.0.2.1:1", encrypted=True)
    with pytest.raises(MfnError) as refused:
        await passed(made(opened_by=opening(ADA), peer=far))
    assert refused.value.code is Code.UNAUTHENTICATED
    assert "in the clear" in refused.value.reason
    assert len(await passed(made(opened_by=opening(ADA), peer=safe))) == 1
    assert len(await passed(made(opened_by=opening(NOBODY), peer=far))) == 1
