"""What every authenticator must do, as a suite that its author subclasses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar

import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from mfn_core.auth import AUTHENTICATION_FAILED, ROLES, Authenticator
from mfn_core.call import Call, Metadata, Peer, Request
from mfn_core.errors import Code, MfnError
from mfn_core.operation import Operation, Shape

__all__ = ["AuthenticatorSuite", "Headers"]

Headers = Sequence[tuple[str, str | bytes]]
"""Metadata of a call, in order."""


async def _silent(request: object, call: Call) -> BytesValue:
    return BytesValue()


@pytest.mark.asyncio
class AuthenticatorSuite:
    """Subclass it under a name that begins with `Test`; give a fixture `authenticator`, `credentials` and `wrong`.

    `authenticator`: what the factory makes, ready to be asked, made anew for each test. The suite makes calls of its
    own on `/suite.Service/…`, in every shape, from a local peer. What credentials vouch for is said by `covers_body`,
    `covers_method` and `single_use`; set to False what they do not.
    """

    covers_body: ClassVar[bool] = True
    """Whether the credentials of a single-request call vouch for its body."""
    covers_method: ClassVar[bool] = True
    """Whether they vouch for the method."""
    single_use: ClassVar[bool] = True
    """Whether they serve one call."""

    def credentials(self, path: str, body: bytes | None) -> Headers:
        """Right credentials for one call; `body` is None where the client streams."""
        raise NotImplementedError(f"{type(self).__name__} gives no `credentials`: right headers for one call")

    def wrong(self, path: str, body: bytes | None) -> Mapping[str, Headers]:
        """Wrong credentials of every kind, by what is wrong with them."""
        raise NotImplementedError(f"{type(self).__name__} gives no `wrong`: wrong headers, by what is wrong with them")

    def secrets(self) -> Sequence[str]:
        """Texts that no error may show."""
        return ()

    # The calls.

    def operation(self, shape: Shape, method: str = "Call") -> Operation:
        """An operation of the suite."""
        return Operation(
            service="suite.Service",
            method=method,
            shape=shape,
            request_type=BytesValue,
            response_type=BytesValue,
            handler=_silent,
        )

    def call(self, operation: Operation, headers: Headers, body: bytes = b"body") -> Call:
        """A call of an operation with these headers."""

        async def inbound() -> AsyncIterator[bytes]:
            yield body

        streams = operation.shape.client_streams
        return Call(
            id="0" * 24,
            operation=operation,
            transport="suite",
            metadata=Metadata(headers),
            peer=Peer(address="127.0.0.1:40000"),
            request=None if streams else Request(raw=body),
            inbound=inbound() if streams else None,
        )

    def signed(self, shape: Shape, body: bytes = b"body") -> Headers:
        """Right credentials for the suite's operation of a shape."""
        return self.credentials(self.operation(shape).path, None if shape.client_streams else body)

    async def refused(self, authenticator: Authenticator, call: Call, about: str) -> MfnError:
        """The refusal of a call that must be refused."""
        try:
            principal = await authenticator.authenticate(call)
        except MfnError as refused:
            return refused
        proved = "left to another authenticator" if principal is None else f"taken for {principal.name!r}"
        pytest.fail(f"{about}: the call was {proved}, not refused")

    @pytest.mark.parametrize("shape", list(Shape), ids=lambda shape: shape.label)
    async def test_right_credentials_prove_a_principal(self, authenticator: Authenticator, shape: Shape) -> None:
        principal = await authenticator.authenticate(self.call(self.operation(shape), self.signed(shape)))
        assert principal is not None, "right credentials were not understood"
        assert principal.name, "the principal has no name"
        assert principal.roles, "the principal has no role"
        assert principal.roles <= set(ROLES), f"roles are {ROLES}, not {sorted(principal.roles)}"
        assert principal.method, "the principal does not say which authenticator proved it"

    async def test_a_call_without_credentials_is_left_to_others(self, authenticator: Authenticator) -> None:
        call = self.call(self.operation(Shape.UNARY), [("user-agent", "suite")])
        assert await authenticator.authenticate(call) is None

    @pytest.mark.parametrize("shape", list(Shape), ids=lambda shape: shape.label)
    async def test_wrong_credentials_are_refused_with_one_text_and_their_true_reason(
        self, authenticator: Authenticator, shape: Shape
    ) -> None:
        operation = self.operation(shape)
        kinds = self.wrong(operation.path, None if shape.client_streams else b"body")
        assert kinds
        reasons = {}
        for kind, headers in kinds.items():
            refused = await self.refused(authenticator, self.call(operation, headers), kind)
            assert refused.code is Code.UNAUTHENTICATED, kind
            assert refused.message == AUTHENTICATION_FAILED, f"{kind}: raise what `mfn_core.unauthenticated` makes"
            assert not refused.violations, kind
            assert not refused.details, kind
            reasons[kind] = refused.reason
            for secret in self.secrets():
                # Not as an assertion on both texts, which would print them.
                if secret in refused.reason:
                    pytest.fail(f"{kind}: the reason shows a secret")
        assert all(reason and reason != AUTHENTICATION_FAILED for reason in reasons.values()), reasons

    async def test_an_altered_body_is_refused(self, authenticator: Authenticator) -> None:
        if not self.covers_body:
            pytest.skip("the credentials do not vouch for the body")
        for shape in (Shape.UNARY, Shape.SERVER_STREAM):
            call = self.call(self.operation(shape), self.signed(shape), body=b"bodY")
            await self.refused(authenticator, call, f"an altered body of a {shape.label} call")

    async def test_credentials_of_another_method_are_refused(self, authenticator: Authenticator) -> None:
        if not self.covers_method:
            pytest.skip("the credentials do not vouch for the method")
        for shape in Shape:
            call = self.call(self.operation(shape, "Other"), self.signed(shape))
            await self.refused(authenticator, call, f"credentials of another {shape.label} method")

    async def test_credentials_serve_one_call(self, authenticator: Authenticator) -> None:
        if not self.single_use:
            pytest.skip("the credentials serve many calls")
        for shape in Shape:
            headers = self.signed(shape)
            assert await authenticator.authenticate(self.call(self.operation(shape), headers)) is not None
            again = self.call(self.operation(shape), headers)
            await self.refused(authenticator, again, f"credentials that have served a {shape.label} call")

    async def test_many_calls_at_once_do_not_disturb_each_other(self, authenticator: Authenticator) -> None:
        operation = self.operation(Shape.UNARY)
        calls = []
        for number in range(100):
            body = b"%d" % number
            calls.append(self.call(operation, self.credentials(operation.path, body), body))
        principals = await asyncio.gather(*(authenticator.authenticate(call) for call in calls))
        assert all(principals)
