"""Keys over their life: made, listed, rotated, revoked, and read again while a server runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mfn_auth_hmac import HmacAuthenticator
from mfn_auth_hmac.commands.keys import keys
from mfn_auth_hmac.commands.sign import sign
from mfn_auth_hmac.keysfile import KeysFile
from mfn_core import MfnError, Shape
from mfn_core.testing.auth import AuthenticatorSuite
from mfn_core.testing.plugin import PluginSuite
from mfn_signing import Key, encode_secret, load_keys, new_random_nonce, sign_headers, verify_signature


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keys, list(arguments))


def new(path: Path, key_id: str, *more: str) -> Key:
    done = run("new", "-f", str(path), "--principal", "alice", "--id", key_id, *more)
    assert done.exit_code == 0, done.output
    return next(key for key in load_keys(path) if key.id == key_id)


class TestPlugin(PluginSuite):
    plugin = "auth_hmac"

    @pytest.fixture(autouse=True)
    def _keys(self, path: Path) -> None:
        new(path, "a")
        type(self).settings = {"auth.hmac": {"keys_file": str(path)}}


def test_a_new_key_is_in_a_private_file_and_its_secret_is_not_shown(path: Path) -> None:
    done = run("new", "-f", str(path), "--principal", "alice", "--role", "write")
    (key,) = load_keys(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert key.id in done.output
    assert key.roles == {"write"}
    assert encode_secret(key.secret) not in done.output


def test_a_secret_is_shown_to_whoever_asks_for_it(path: Path) -> None:
    done = run("new", "-f", str(path), "--principal", "alice", "--show")
    assert encode_secret(load_keys(path)[0].secret) in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--principal", "alice", "--id", "a b"), "id"),
        (("--principal", ""), "principal"),
        (("--principal", "alice", "--id", "first"), "first"),
    ],
)
def test_a_key_that_cannot_be_made_changes_nothing(path: Path, arguments: tuple[str, ...], said: str) -> None:
    new(path, "first")
    before = path.read_bytes()
    done = run("new", "-f", str(path), *arguments)
    assert done.exit_code == 1
    assert said in done.output
    assert path.read_bytes() == before


def test_the_list_says_what_each_key_is_good_for_and_no_secret(path: Path) -> None:
    made = [new(path, "a"), new(path, "b", "--days", "1")]
    assert run("revoke", "a", "-f", str(path)).exit_code == 0
    rows = json.loads(run("list", "-f", str(path), "--json").output)
    assert [(row["id"], row["state"]) for row in rows] == [("a", "revoked"), ("b", "active")]
    shown = run("list", "-f", str(path)).output
    for key in made:
        assert encode_secret(key.secret) not in shown


def test_a_rotation_leaves_both_keys_valid_for_the_overlap(path: Path) -> None:
    old = new(path, "old", "--role", "admin")
    path.write_text("# who has which key: ask ops\n" + path.read_text())
    assert run("rotate", "old", "-f", str(path), "--id", "new", "--overlap-hours", "2").exit_code == 0
    before, after = load_keys(path)
    assert (after.id, after.principal, after.roles) == ("new", "alice", {"admin"})
    assert after.secret != old.secret
    assert before.not_after is not None
    assert 7190 < before.not_after.timestamp() - time.time() < 7210
    assert path.read_text().startswith("# who has which key: ask ops\n")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_rotation_does_not_lengthen_the_life_of_the_old_key(path: Path) -> None:
    old = new(path, "old", "--days", "1")
    assert run("rotate", "old", "-f", str(path), "--overlap-hours", "500").exit_code == 0
    assert load_keys(path)[0].not_after == old.not_after


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_key_that_is_not_there_is_named_with_those_that_are(path: Path, command: str) -> None:
    new(path, "alice-1")
    done = run(command, "alice-2", "-f", str(path))
    assert done.exit_code == 1
    assert "alice-1" in done.output


def test_a_revoked_key_is_not_rotated(path: Path) -> None:
    new(path, "a")
    run("revoke", "a", "-f", str(path))
    assert "revoked" in run("rotate", "a", "-f", str(path)).output


def test_sign_prints_headers_that_verify(path: Path, tmp_path: Path) -> None:
    key = new(path, "a")
    body = tmp_path / "body"
    body.write_bytes(b"\x10\x2a")
    done = CliRunner().invoke(sign, ["/a.B/C", "-k", str(path), "--key-id", "a", "-d", str(body)])
    headers = dict(line.split(": ", 1) for line in done.output.splitlines())
    assert verify_signature(
        key.secret,
        "/a.B/C",
        headers["x-mfn-timestamp"],
        headers["x-mfn-nonce"],
        headers["x-mfn-content-sha256"],
        headers["x-mfn-signature"],
    )
    curl = CliRunner().invoke(sign, ["/a.B/C", "-k", str(path), "--key-id", "a", "--stream", "--curl"]).output
    assert "-H 'x-mfn-content-sha256: STREAM'" in curl


@pytest.mark.parametrize(
    "words",
    [
        ["--http", "POST /simulate?x=1", "--data", '{"seed": 7}'],
        ["--http", "POST", "/simulate?x=1", "--data", '{"seed": 7}'],
        ["--http", "POST /simulate?x=1", "--data", "@{body}"],
        ["--http", "POST /simulate?x=1", "-d", "{body}"],
    ],
)
def test_sign_covers_method_path_query_and_body_of_rest(path: Path, tmp_path: Path, words: list[str]) -> None:
    key = new(path, "a")
    body = tmp_path / "body"
    body.write_bytes(b'{"seed": 7}')
    given = [word.replace("{body}", str(body)) for word in words]
    done = CliRunner().invoke(sign, [*given, "-k", str(path), "--key-id", "a"])
    assert done.exit_code == 0, done.output
    headers = dict(line.split(": ", 1) for line in done.output.splitlines())
    assert headers["x-mfn-content-sha256"] == hashlib.sha256(b'{"seed": 7}').hexdigest()
    assert verify_signature(
        key.secret,
        "POST /simulate?x=1",
        headers["x-mfn-timestamp"],
        headers["x-mfn-nonce"],
        headers["x-mfn-content-sha256"],
        headers["x-mfn-signature"],
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give METHOD"),
        (["--http", "POST"], "give METHOD"),
        (["/a.B/C", "--http", "POST /a.B/C"], "give METHOD"),
        (["/a.B/C", "--data", "x", "--stream"], "exclude each other"),
        (["/a.B/C", "--data", "@nowhere"], "nowhere: no such file"),
        (["--http", "post /simulate"], "upper-case"),
        (["--http", "POST simulate"], "request target"),
    ],
)
def test_sign_says_what_it_cannot_sign(path: Path, words: list[str], said: str) -> None:
    new(path, "a")
    done = CliRunner().invoke(sign, [*words, "-k", str(path), "--key-id", "a"])
    assert done.exit_code != 0
    assert said in done.output


# A server that runs.


def headers(key: Key, suite: AuthenticatorSuite) -> list[tuple[str, str | bytes]]:
    path = suite.operation(Shape.UNARY).path
    return list(sign_headers(key, path, b"body", timestamp=int(time.time()), nonce=new_random_nonce()))


class Running:
    """An authenticator that watches its keys file."""

    def __init__(self, path: Path) -> None:
        self.file = KeysFile(path, logging.getLogger("test.keys"))
        self.authenticator = HmacAuthenticator(self.file.load(), keys_file=self.file)
        self.suite = AuthenticatorSuite()

    async def accepts(self, key: Key) -> bool:
        call = self.suite.call(self.suite.operation(Shape.UNARY), headers(key, self.suite))
        try:
            return await self.authenticator.authenticate(call) is not None
        except MfnError:
            return False

    async def until(self, key: Key, accepted: bool) -> None:
        async with asyncio.timeout(20):
            while await self.accepts(key) is not accepted:
                await asyncio.sleep(0.01)


@pytest.fixture
async def running(path: Path) -> AsyncIterator[Running]:
    new(path, "first")
    made = Running(path)
    await made.authenticator.start()
    yield made
    await made.authenticator.stop()


async def test_a_key_that_is_added_is_accepted_without_a_restart(running: Running, path: Path) -> None:
    await running.until(new(path, "second"), accepted=True)


async def test_a_key_that_is_revoked_is_refused_without_a_restart(running: Running, path: Path) -> None:
    (first,) = load_keys(path)
    assert await running.accepts(first)
    run("revoke", "first", "-f", str(path))
    await running.until(first, accepted=False)


async def test_a_keys_file_that_breaks_changes_nothing_and_is_reported(
    running: Running, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = load_keys(path)
    good = path.read_text()
    secret = encode_secret(first.secret)
    with caplog.at_level(logging.ERROR, "test.keys"):
        path.write_text(good.replace("[[keys]]", "[[keys"))
        async with asyncio.timeout(20):
            while "stay in force" not in caplog.text:
                await asyncio.sleep(0.01)
    assert secret not in caplog.text
    assert await running.accepts(first)
    path.unlink()
    assert await running.accepts(first)
    path.write_text(good)
    path.chmod(0o600)
    await running.until(new(path, "second"), accepted=True)


async def test_rotation_under_load_fails_no_call(running: Running, path: Path) -> None:
    (first,) = load_keys(path)
    outcomes: list[bool] = []
    done = asyncio.Event()

    async def load() -> None:
        key = first
        while not done.is_set():
            outcomes.append(await running.accepts(key))
            await asyncio.sleep(0)

    loading = [asyncio.create_task(load()) for _ in range(4)]
    for number in range(5):
        await asyncio.to_thread(run, "rotate", "first", "-f", str(path), "--id", f"next-{number}")
        fresh = next(key for key in load_keys(path) if key.id == f"next-{number}")
        await running.until(fresh, accepted=True)
    done.set()
    await asyncio.gather(*loading)
    assert len(outcomes) > 100
    assert all(outcomes)
