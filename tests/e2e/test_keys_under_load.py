"""Keys that change while a server is called: no call fails, and a file that breaks changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import pytest

from mfn_client.raw import RawClient
from mfn_e2e.calls import Caller, Ended, exchange
from mfn_e2e.commands import mfn
from mfn_e2e.deployment import Deployment, tables
from mfn_e2e.installed import TRANSPORTS
from mfn_e2e.operations import EXAMPLES
from mfn_signing import Credentials, encode_secret

CALLERS = 2
"""Tasks that call on each transport, each in every shape in turn."""

SECONDS = 20.0
"""Within which a server takes notice of a file, on a busy machine; it looks twice a second."""

STAY = "the keys read before stay in force"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A server whose keys file is the test's to change."""
    with Deployment(tables(server={"log_level": "info"}), tmp_path_factory.mktemp("keyed")) as started:
        yield started


def caller_of(server: Deployment, key_id: str) -> Caller:
    """A client of a key as the file has it."""
    return Caller(credentials=Credentials.from_keys_file(server.directory / "keys.toml", key_id))


async def called(client: RawClient, caller: Caller, number: int = 0) -> Ended:
    example = EXAMPLES[number % len(EXAMPLES)]
    return await exchange(client, example.path, example.raw(), example.sign(caller))


@asynccontextmanager
async def under_load(server: Deployment, caller: Caller) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Calls of every shape on every transport, none of which may fail; what is given waits until more were answered."""
    answered, over = 0, asyncio.Event()

    async def load(client: RawClient, first: int) -> None:
        nonlocal answered
        number = first
        while not over.is_set():
            ended = await called(client, caller, number)
            assert ended.status.ok, ended.status
            answered, number = answered + 1, number + 1

    async def more() -> None:
        until = answered + 5 * CALLERS * len(TRANSPORTS)
        async with asyncio.timeout(SECONDS):
            while answered < until:
                await asyncio.sleep(0.01)

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawClient(server.address(name))) for name in TRANSPORTS]
        async with asyncio.TaskGroup() as group:
            for client in clients:
                for first in range(CALLERS):
                    group.create_task(load(client, first))
            await more()
            try:
                yield more
            finally:
                over.set()


async def until(server: Deployment, transport: str, caller: Caller, code: str) -> None:
    """Call until a call ends like this."""
    async with RawClient(server.address(transport)) as client, asyncio.timeout(SECONDS):
        while (await called(client, caller)).code != code:
            await asyncio.sleep(0.02)  # the server looks at the file when it does


async def test_a_key_that_is_rotated_under_load_fails_no_call(keyed: Deployment) -> None:
    file = keyed.directory / "keys.toml"
    async with under_load(keyed, keyed.caller("ada")) as more:
        for number in range(3):
            fresh = f"ada-{number}"
            await asyncio.to_thread(mfn, "keys", "rotate", "ada", "-f", file, "--id", fresh, "--overlap-hours", "1")
            for transport in TRANSPORTS:
                await until(keyed, transport, caller_of(keyed, fresh), "OK")
            await more()


@pytest.mark.slow
async def test_a_keys_file_that_breaks_under_load_fails_no_call_and_is_reported(keyed: Deployment) -> None:
    file = keyed.directory / "keys.toml"
    good = file.read_text()

    async def leads_to(text: str, change: Callable[[], object]) -> None:
        """Change the file, and wait until the server has said so."""
        before = keyed.stderr_text().count(text)
        change()
        async with asyncio.timeout(SECONDS):
            while keyed.stderr_text().count(text) == before:
                await asyncio.sleep(0.02)  # another process writes it

    async with under_load(keyed, keyed.caller("ada")) as more:
        for broken in (good.replace("[[keys]]", "[[keys", 1), good[: len(good) // 2]):  # as a copy that is under way
            await leads_to(STAY, partial(file.write_text, broken))
            await more()
        await leads_to(STAY, file.unlink)
        await more()

        def write_for_all() -> None:
            file.write_text(good)
            file.chmod(0o644)

        await leads_to(STAY, write_for_all)
        await more()
        # A file that is right again is taken.
        await leads_to("read again", partial(file.chmod, 0o600))
        await asyncio.to_thread(mfn, "keys", "new", "-f", file, "--principal", "eve", "--id", "eve")
        eve = caller_of(keyed, "eve")
        for transport in TRANSPORTS:
            await until(keyed, transport, eve, "OK")
        await asyncio.to_thread(mfn, "keys", "revoke", "eve", "-f", file)
        for transport in TRANSPORTS:
            await until(keyed, transport, eve, "UNAUTHENTICATED")
        await more()
    said = keyed.stderr_text()
    for key in keyed.keys.values():
        assert encode_secret(key.secret) not in said
