"""The token of the live page: who is believed, for how long, from where."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from mfn_auth_loopback._token_file import PREFIX, TokenFile
from mfn_auth_loopback.authenticator import LoopbackAuthenticator, LoopbackSettings
from mfn_core import Call, Metadata, MfnError, Operation, Peer, Request, Shape
from mfn_core.testing.auth import AuthenticatorSuite, Headers


def bearer(text: str) -> Headers:
    return [("authorization", f"Bearer {text}")]


class TestLoopbackAuthenticator(AuthenticatorSuite):
    covers_body: ClassVar[bool] = False
    covers_method: ClassVar[bool] = False
    single_use: ClassVar[bool] = False
    token = ""

    @pytest.fixture
    async def authenticator(self, tmp_path: Path) -> AsyncIterator[LoopbackAuthenticator]:
        made = LoopbackAuthenticator(LoopbackSettings(token_file=tmp_path / "token"))
        await made.start()
        self.token = json.loads((tmp_path / "token").read_text())["token"]
        yield made
        await made.stop()

    def credentials(self, path: str, body: bytes | None) -> Headers:
        return bearer(self.token)

    def wrong(self, path: str, body: bytes | None) -> Mapping[str, Headers]:
        altered = self.token[:-1] + ("A" if self.token[-1] != "A" else "B")
        return {
            "another token": bearer(PREFIX + "x" * 43),
            "one character": bearer(altered),
            "cut short": bearer(self.token[:-1]),
            "nothing behind the prefix": bearer(PREFIX),
            "not ascii": bearer(self.token + "é"),
            "twice": [*bearer(self.token), *bearer(self.token)],
            "beside another": [*bearer(self.token), *bearer("other")],
        }

    def secrets(self) -> Sequence[str]:
        return [self.token]


class Clock:
    """A clock that stands until it is set, from the present on."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def call(operation: Operation, headers: Headers, address: str = "127.0.0.1:5000") -> Call:
    return Call(
        id="0" * 24,
        operation=operation,
        transport="asgi",
        metadata=Metadata(headers),
        peer=Peer(address=address, encrypted=True),
        request=Request(),
    )


@pytest.fixture
def operation() -> Operation:
    return TestLoopbackAuthenticator().operation(Shape.UNARY)


async def test_other_bearer_tokens_are_left_to_other_authenticators(operation: Operation, tmp_path: Path) -> None:
    authenticator = LoopbackAuthenticator(LoopbackSettings(token_file=tmp_path / "token"))
    await authenticator.start()
    for header in ("Bearer eyJhbGciOiJFUzI1NiJ9", "Basic bWZubF94", "Bearer"):
        assert await authenticator.authenticate(call(operation, [("authorization", header)])) is None


async def test_the_principal_has_the_role_and_the_name_of_the_settings(operation: Operation, tmp_path: Path) -> None:
    settings = LoopbackSettings(token_file=tmp_path / "token", role="write", principal="me")
    authenticator = LoopbackAuthenticator(settings)
    await authenticator.start()
    token = TokenFile(tmp_path / "token").read(owner=os.getppid())
    assert token is not None
    made = call(operation, bearer(token.text))
    principal = await authenticator.authenticate(made)
    assert principal is not None
    assert (principal.name, principal.roles, principal.method) == ("me", {"write"}, "loopback")
    assert made.key_id == principal.key_id == "loopback"


async def test_the_right_token_from_another_machine_is_refused(operation: Operation, tmp_path: Path) -> None:
    authenticator = LoopbackAuthenticator(LoopbackSettings(token_file=tmp_path / "token"))
    await authenticator.start()
    token = TokenFile(tmp_path / "token").read(owner=os.getppid())
    assert token is not None
    for address in ("192.0.2.7:4000", "[2001:db8::1]:4000", "unknown"):
        with pytest.raises(MfnError, match="authentication failed") as refused:
            await authenticator.authenticate(call(operation, bearer(token.text), address))
        assert "this machine" in refused.value.reason
    assert await authenticator.authenticate(call(operation, bearer(token.text), "[::1]:4000")) is not None


async def test_it_is_refused_once_its_time_is_over(operation: Operation, tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    authenticator = LoopbackAuthenticator(LoopbackSettings(token_file=file.path), clock=(clock := Clock(0.0)))
    await authenticator.start()
    token = file.read(owner=os.getppid())
    assert token is not None
    clock.now = token.expires - 1.0
    assert await authenticator.authenticate(call(operation, bearer(token.text))) is not None
    clock.now = token.expires
    with pytest.raises(MfnError) as refused:
        await authenticator.authenticate(call(operation, bearer(token.text)))
    assert "expired" in refused.value.reason


async def test_it_is_revoked_when_the_server_stops(operation: Operation, tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    authenticator = LoopbackAuthenticator(LoopbackSettings(token_file=file.path))
    await authenticator.start()
    token = file.read(owner=os.getppid())
    assert token is not None
    await authenticator.stop()
    assert not file.path.exists()
    with pytest.raises(MfnError):
        await authenticator.authenticate(call(operation, bearer(token.text)))
    await authenticator.start()
    with pytest.raises(MfnError):
        await authenticator.authenticate(call(operation, bearer(token.text)))
    await authenticator.stop()


def test_a_worker_that_is_restarted_has_the_same_token_and_another_server_has_not(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    first = file.obtain(owner=1, valid_seconds=60.0)
    assert file.obtain(owner=1, valid_seconds=60.0) == first
    other = file.obtain(owner=2, valid_seconds=60.0)
    assert other.text != first.text
    assert file.read(owner=1) is None
    assert file.read(owner=2) == other


def test_a_token_that_has_expired_is_drawn_anew(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    old = file.obtain(owner=1, valid_seconds=-1.0)
    assert file.read(owner=1) is None
    assert file.obtain(owner=1, valid_seconds=60.0).text != old.text


def test_the_file_is_for_its_owner_alone_and_another_one_is_refused(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "token")
    token = file.obtain(owner=1, valid_seconds=60.0)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert token.text not in repr(token)
    assert len(token.text) >= len(PREFIX) + 43
    file.path.chmod(0o644)
    with pytest.raises(PermissionError, match="remove it"):
        file.obtain(owner=1, valid_seconds=60.0)


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        TokenFile(tmp_path / "token").obtain(owner=1, valid_seconds=60.0)
    assert (tmp_path / "elsewhere").read_text() == "precious"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"owner": 1}', '{"owner": 1, "token": "x", "expires": "soon"}'])
def test_a_file_that_says_nothing_is_written_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text(content)
    assert TokenFile(path).read(owner=1) is None
    token = TokenFile(path).obtain(owner=1, valid_seconds=60.0)
    assert TokenFile(path).read(owner=1) == token
