"""`mfn serve` with nothing to go by: for this machine alone, with a key of its own that nobody sees."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen

from mfn_client.raw import RawClient, RpcFailed
from mfn_e2e.audit import verified
from mfn_e2e.calls import Caller
from mfn_e2e.commands import mfn
from mfn_e2e.installed import PLUGINS, TRANSPORTS
from mfn_e2e.processes import descendants
from mfn_e2e.sockets import listeners
from mfn_proto import mfn_pb2 as w1
from mfn_signing import Credentials, encode_secret, load_keys

RUN = "/mfn.MFNSimulationService/RunSimulation"


@frozen
class Default:
    """A running default server."""

    process: subprocess.Popen[bytes]
    addresses: dict[str, str]
    screen: Path
    """What it wrote to standard error; its one line on standard output is there too."""
    directory: Path
    """Where it keeps its key and its record, as the screen names it."""

    @property
    def keys_file(self) -> Path:
        """As the screen names it."""
        (found,) = re.findall(r"wrote (\S+keys\S*) \(mode 0600\)", self.screen.read_text())
        return Path(found)


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Default]:
    home = tmp_path_factory.mktemp("d")
    screen = home / "screen"
    # The standard ports may be taken on this machine; what they are is asked of `mfn check` below.
    elsewhere = [word for name in TRANSPORTS for word in ("--set", f"transports.{name}.listen=127.0.0.1:0")]
    with screen.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "mfn_core", "serve", *elsewhere],
            cwd=home,
            env={**os.environ, "TMPDIR": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=written,
        )
    assert process.stdout is not None
    watchdog = threading.Timer(60.0, process.kill)
    watchdog.start()
    try:
        ready = process.stdout.readline().decode()
        watchdog.cancel()
        assert ready.startswith("mfn ready "), screen.read_text()
        with screen.open("a") as written_too:
            written_too.write(ready)
        (directory,) = re.findall(r"on loopback, from (\S+)", screen.read_text())
        addresses = dict(word.split("=", 1) for word in ready.split()[2:])
        yield Default(process, addresses, screen, Path(directory))
    finally:
        watchdog.cancel()
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
        process.stdout.close()
    assert status == 0, screen.read_text()
    if "audit_jsonl" in PLUGINS:
        # Its record outlives it.
        (trail,) = Path(directory).glob("*.jsonl")
        assert verified(trail)[0] == 0


def test_the_standard_addresses_are_loopback() -> None:
    described = json.loads(mfn("check", "--json"))
    found = {listener["section"]: listener["listen"] for listener in described["listeners"]}
    assert set(found) == {f"transports.{name}" for name in TRANSPORTS}
    assert all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", listen) for listen in found.values()), found


def test_it_listens_on_loopback_alone(default: Default) -> None:
    assert set(default.addresses) == set(TRANSPORTS)
    found = listeners([default.process.pid, *descendants(default.process.pid)])
    assert {host for host, _ in found} == {"127.0.0.1"}
    assert {port for _, port in found} == {int(address.rpartition(":")[2]) for address in default.addresses.values()}


def test_its_key_is_in_a_file_for_its_owner_alone_that_the_screen_names(default: Default) -> None:
    assert default.keys_file.stat().st_mode & 0o777 == 0o600
    assert default.directory.stat().st_mode & 0o777 == 0o700
    assert default.keys_file.parent == default.directory
    (key,) = load_keys(default.keys_file)
    assert len(key.secret) == 32


@pytest.mark.skipif(not {"auth_loopback", "transport_asgi"} <= PLUGINS, reason="needs the page and its token")
def test_its_page_opens_by_the_link_on_the_screen_and_the_token_is_in_no_record(default: Default) -> None:
    (token,) = re.findall(rf"^open http://{default.addresses['asgi']}/#token=(\S+)$", default.screen.read_text(), re.M)
    file = default.directory / "mfn-local-token.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["token"] == token
    for path in default.directory.iterdir():
        assert path == file or token not in path.read_text()
    command = Path(f"/proc/{default.process.pid}/cmdline").read_bytes()
    assert token.encode() not in command


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_call_signed_with_that_key_works_and_one_without_does_not(default: Default, transport: str) -> None:
    (key,) = load_keys(default.keys_file)
    caller = Caller(credentials=Credentials.from_keys_file(default.keys_file, key.id))
    request = w1.SimulationRequest(seed=42, grid_size=16, steps=8, alpha=0.18)
    async with RawClient(default.addresses[transport]) as client:
        reply = await client.unary(RUN, request.SerializeToString(), metadata=caller.headers(RUN, request))
        assert w1.SimulationResult.FromString(reply.message).pot_mean_mV < -60.0
        with pytest.raises(RpcFailed, match="UNAUTHENTICATED"):
            await client.unary(RUN, request.SerializeToString())


def test_its_secret_stands_nowhere_but_in_that_file(default: Default) -> None:
    (key,) = load_keys(default.keys_file)
    forms = [encode_secret(key.secret).encode(), key.secret.hex().encode(), key.secret]
    said = default.screen.read_bytes()
    assert b"mfn ready" in said
    processes = [default.process.pid, *descendants(default.process.pid)]
    assert len(processes) >= 2
    for pid in processes:
        said += Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
    others = [path for path in default.directory.parent.rglob("*") if path.is_file() and path != default.keys_file]
    assert others
    for path in others:
        said += path.read_bytes()
    assert [form for form in forms if form in said] == []
    assert forms[0] in default.keys_file.read_bytes()
