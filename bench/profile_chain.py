"""Where the microseconds of a call go: a ComputeNernst through the whole chain in this process, stage by stage.

    taskset -c 0 python bench/profile_chain.py [--rounds 9] [--calls 2000] [--json FILE]

The server is the one that bench/calls.py measures, with a transport that is this process: calls are made one after
the other, signed beforehand, with an input and a nonce of their own. Middlewares that take the time stand between the
stages; a stage's own time is what lies between two of them, and its median over the calls of a run is not moved by
what else the machine does. The middlewares cost time themselves, so that runs with and without them are interleaved.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _report import RESULTS, machine, spread, write
from attrs import evolve

from mfn_core import (
    Call,
    Code,
    ComponentContext,
    ComponentSpec,
    Dispatcher,
    Metadata,
    Next,
    NoSettings,
    Operation,
    Peer,
    Request,
    hookimpl,
)
from mfn_core.components import ComponentKind
from mfn_core.config import read_document
from mfn_core.server import assemble
from mfn_proto import mycelium_pb2
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

PATH = "/mycelium.MyceliumService/ComputeNernst"

CONFIG = """
[server]
plugins = ["engine_numpy", "service_mfn", "auth_hmac", "ratelimit", "audit_jsonl", "profile_chain:plugin"]
log_level = "warning"

[auth.hmac]
keys_file = "keys.toml"

[limits.token_bucket]
rate = 1e9
burst = 1_000_000_000

[audit.jsonl]
path = "audit.jsonl"
"""

TIMED = """
[middlewares.mark_auth]
[middlewares.mark_limit]
[middlewares.mark_endpoint]

[pipeline]
order = ["audit", "telemetry", "mark_auth", "auth", "mark_limit", "limit", "mark_endpoint"]
"""

STAGES = (
    ("dispatch and audit", "start and end of the call, its record, its place in the queue of the audit"),
    ("authenticate", "SHA-256 of the message, HMAC of the string to sign, nonce, role"),
    ("limit", "token, slot"),
    ("decode and encode", "bytes to message, message to bytes, the reply"),
    ("validate", "the bounds of every field"),
    ("handler", "the Nernst equation"),
)


class Clock:
    """When each mark was passed, on the way in and on the way back; calls come one after the other."""

    def __init__(self) -> None:
        self.passed: dict[str, tuple[int, int]] = {}

    def timed(self, name: str, run: Any) -> Any:
        """A function that notes when it begins and ends."""

        def plain(*given: Any) -> Any:
            begun = time.perf_counter_ns()
            found = run(*given)
            self.passed[name] = begun, time.perf_counter_ns()
            return found

        async def awaited(*given: Any) -> Any:
            begun = time.perf_counter_ns()
            found = await run(*given)
            self.passed[name] = begun, time.perf_counter_ns()
            return found

        return awaited if asyncio.iscoroutinefunction(run) else plain

    def lasted(self, name: str) -> float:
        """Microseconds from the one to the other."""
        begun, ended = self.passed[name]
        return (ended - begun) / 1e3


clock = Clock()


class Here:
    """The transport: calls are made by this program."""

    addresses: Sequence[str] = ("here",)

    def __init__(self, config: NoSettings, context: ComponentContext) -> None:
        self.dispatcher: Dispatcher | None = None

    async def start(self, dispatcher: Dispatcher) -> None:
        """Take the way in."""
        self.dispatcher = dispatcher

    async def drain(self) -> None:
        """There is nothing to close."""

    async def stop(self) -> None:
        """There is nothing to give back."""


def mark(name: str) -> ComponentSpec:
    """A middleware that takes the time."""

    def make(config: NoSettings, context: ComponentContext) -> Any:
        async def passed(call: Call, call_next: Next) -> None:
            begun = time.perf_counter_ns()
            await call_next(call)
            clock.passed[name] = begun, time.perf_counter_ns()

        return passed

    return ComponentSpec(name=f"mark_{name}", factory=make, summary=f"takes the time before {name}")


class Plugin:
    """The plugin `profile_chain:plugin`."""

    @hookimpl
    def mfn_transports(self) -> list[ComponentSpec]:
        """This process."""
        return [ComponentSpec(name="here", factory=Here, summary="this process")]


class Marks(Plugin):
    """The plugin `profile_chain:marks`, which takes the time as well."""

    @hookimpl
    def mfn_middlewares(self) -> list[ComponentSpec]:
        """One before each stage but the outermost."""
        return [mark(name) for name in ("auth", "limit", "endpoint")]


plugin, marks = Plugin(), Marks()


class Chain:
    """A server in this process, and calls of it."""

    def __init__(self, config: Path, credentials: Credentials) -> None:
        self._server = assemble(read_document(config))
        self._credentials = credentials
        self._nonces = WindowedNonceSource()
        self._draw = random.Random(1)

    async def __aenter__(self) -> Chain:
        await self._server.start()
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._server.stop()

    @property
    def dispatcher(self) -> Dispatcher:
        """Where calls go in."""
        dispatcher = self._server.component(ComponentKind.TRANSPORT, "here").dispatcher
        assert isinstance(dispatcher, Dispatcher)
        return dispatcher

    def calls(self, count: int, operation: Operation) -> list[Call]:
        """Signed calls, each with an input of its own."""
        return [self._call(operation) for _ in range(count)]

    def _call(self, operation: Operation) -> Call:
        message = mycelium_pb2.NernstRequest(
            z_valence=1,
            concentration_out_molar=self._draw.uniform(0.001, 0.2),
            concentration_in_molar=self._draw.uniform(0.001, 0.2),
            temperature_k=310.0,
        ).SerializeToString()
        headers = sign_headers(self._credentials, PATH, message, timestamp=int(time.time()), nonce=self._nonces.next())
        return Call(
            id=self.dispatcher.new_call_id(),
            operation=operation,
            transport="here",
            metadata=Metadata(headers),
            peer=Peer(address="127.0.0.1:1"),
            request=Request(raw=message),
        )


async def plain(chain: Chain, count: int) -> tuple[float, float]:
    """Microseconds of CPU of a call as it is: of the event loop's thread, and of the process."""
    dispatch, calls = chain.dispatcher.dispatch, chain.calls(count, chain.dispatcher.operations[PATH])
    loop, process = time.thread_time(), time.process_time()
    outcomes = [await dispatch(call) for call in calls]
    spent = time.thread_time() - loop, time.process_time() - process
    assert all(outcome.code is Code.OK for outcome in outcomes)
    return 1e6 * spent[0] / count, 1e6 * spent[1] / count


async def staged(chain: Chain, count: int) -> dict[str, float]:
    """Microseconds of each stage, the median over some calls."""
    operation = chain.dispatcher.operations[PATH]
    timed = evolve(
        operation,
        handler=clock.timed("handler", operation.handler),
        validate=clock.timed("validate", operation.validate),
    )
    dispatch = clock.timed("dispatch", chain.dispatcher.dispatch)
    found: dict[str, list[float]] = {name: [] for name, _ in STAGES}
    for call in chain.calls(count, timed):
        outcome = await dispatch(call)
        assert outcome.code is Code.OK, outcome
        whole, auth, limit, endpoint = (clock.lasted(name) for name in ("dispatch", "auth", "limit", "endpoint"))
        handler, validate = clock.lasted("handler"), clock.lasted("validate")
        own = (whole - auth, auth - limit, limit - endpoint, endpoint - handler - validate, validate, handler)
        for (name, _), each in zip(STAGES, own, strict=True):
            found[name].append(each)
    return {name: statistics.median(each) for name, each in found.items()}


@contextmanager
def configured() -> Iterator[tuple[Path, Path, Credentials]]:
    """Configurations of the server as it is and with the marks, each in a folder of its own, and a key."""
    with tempfile.TemporaryDirectory() as temporary:
        files = []
        for name, text in (("plain", CONFIG), ("timed", CONFIG.replace(":plugin", ":marks") + TIMED)):
            directory = Path(temporary) / name
            directory.mkdir()
            keys = [*("keys", "new", "-f", str(directory / "keys.toml")), "--principal", "bench", "--id", "bench"]
            subprocess.run([sys.executable, "-m", "mfn_core", *keys], check=True, stdout=subprocess.DEVNULL)
            files.append(directory / "mfn.toml")
            files[-1].write_text(text, "utf-8")
        (files[1].parent / "keys.toml").write_bytes((files[0].parent / "keys.toml").read_bytes())
        yield files[0], files[1], Credentials.from_keys_file(files[0].parent / "keys.toml", "bench")


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="interleaved runs with and without marks (default 9)")
    parser.add_argument("--calls", type=int, default=2000, help="calls of each run (default 2000)")
    parser.add_argument("--json", type=Path, default=RESULTS / "profile_chain.json", help="file for the numbers")
    options = parser.parse_args()
    where = machine()
    loop, process, stages = [], [], []
    with configured() as (as_it_is, with_marks, credentials):
        async with Chain(as_it_is, credentials) as whole, Chain(with_marks, credentials) as marked:
            await plain(whole, options.calls)
            await staged(marked, options.calls)
            for _ in range(options.rounds):
                once = await plain(whole, options.calls)
                loop.append(once[0])
                process.append(once[1])
                stages.append(await staged(marked, options.calls))
    print(f"ComputeNernst in this process, {options.rounds} rounds of {options.calls} calls; {where}")
    print("microseconds of a call: median (least–largest)\n")
    for name, what in STAGES:
        print(f"{name:20} {spread([each[name] for each in stages], '.1f'):>22}   {what}")
    print(f"{'all of them':20} {spread([sum(each.values()) for each in stages], '.1f'):>22}   with the marks")
    print(f"{'CPU of the loop':20} {spread(loop, '.1f'):>22}   without the marks")
    print(f"{'CPU of the process':20} {spread(process, '.1f'):>22}   without the marks; with the thread of the audit")
    results = {"loop_cpu_us": loop, "process_cpu_us": process, "stages_us": stages}
    write(options.json, {"script": "profile_chain", "machine": where, "calls": options.calls, **results})


if __name__ == "__main__":
    # Its plugin is imported by name, and takes the time on a clock of its own.
    import profile_chain

    asyncio.run(profile_chain.main())
