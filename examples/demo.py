"""MFN from end to end in a few seconds: a server from one file, signed calls over two transports, pictures, a proof.

Run it with `make demo`. Everything that it makes lies in `demo/`, or in the folder that `--directory` names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from film_strip import draw
from photograph import BROWSERS, find_browser, photograph
from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

from mfn_client import (
    Acknowledgement,
    Credentials,
    Features,
    Frame,
    MFNClient,
    MfnRpcError,
    SessionEnded,
    SimulationFrame,
    SimulationSummary,
)
from mfn_client.raw import MetadataPairs, RawClient, RpcFailed
from mfn_core import ComponentKind
from mfn_core.registry import PluginRegistry
from mfn_proto.mfn_pb2 import SimulationRequest
from mfn_signing import WindowedNonceSource, sign_headers

MFN = (sys.executable, "-m", "mfn_core")
NEEDED = ("engine_numpy", "service_mfn", "auth_hmac", "audit_jsonl")
TRANSPORTS = {"grpc": "gRPC on grpc.aio", "asgi": "gRPC on ASGI inside Envoy"}
PATH = "/mfn.MFNSimulationService/RunSimulation"

console = Console(highlight=False, soft_wrap=True)


def step(number: int, title: str) -> None:
    """Begin a part of the story."""
    console.print(f"\n[bold]{number}  {title}[/]")


def say(text: str, style: str = "") -> None:
    """One line of it, taken literally."""
    console.print(Text("   " + text, style=style))


def run(*words: str) -> str:
    """A command of `mfn`, which must succeed; what it printed."""
    done = subprocess.run([*MFN, *words], capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode != 0:
        raise SystemExit(f"mfn {' '.join(words)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


# 1 and 2: a configuration.


def usable_transports() -> list[str]:
    """The transports that are installed and can run here; says why one is left out."""
    installed = {plugin.name for plugin in PluginRegistry.installed()}
    if missing := [name for name in NEEDED if name not in installed]:
        raise SystemExit(f"the demo needs the plugins {', '.join(missing)}, which are not installed; run: make setup")
    found = []
    for name in TRANSPORTS:
        plugin = f"transport_{name}"
        if plugin not in installed:
            say(f"{plugin} is not installed: the demo goes on without it", "yellow")
            continue
        spec = PluginRegistry([plugin]).component(ComponentKind.TRANSPORT, name).spec
        problems = [] if spec.host is None else list(spec.host({name: spec.config()}).problems())
        for problem in problems:
            say(f"{plugin} is left out: {problem}", "yellow")
        if not problems:
            found.append(name)
    if not found:
        raise SystemExit("the demo needs transport_grpc or transport_asgi; run: make setup")
    return found


def configuration(transports: Sequence[str]) -> str:
    """The whole configuration of the server."""
    names = [*NEEDED[:2], *(f"transport_{name}" for name in transports), *NEEDED[2:]]
    plugins = "".join(f'  "{name}",\n' for name in names)
    listeners = "".join(f'\n[transports.{name}]\nlisten = "127.0.0.1:0"   # any free port\n' for name in transports)
    return (
        f'[server]\nplugins = [\n{plugins}]\nlog_format = "text"\n{listeners}'
        '\n[auth.hmac]\nkeys_file = "keys.toml"\n\n[audit.jsonl]\npath = "audit.jsonl"\nfsync = "always"'
        "         # on the disk before the reply leaves\n\n[cache]\nmax_bytes = 0             # so that every "
        "answer below is computed\n"
    )


# 3: a server.


class Server:
    """`mfn serve` as a child process."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.addresses: dict[str, str] = {}

    def ready(self) -> None:
        """Wait for the one line that a server prints when every listener accepts connections."""
        watchdog = threading.Timer(60, self.process.kill)
        watchdog.start()
        line = self.process.stdout.readline() if self.process.stdout is not None else ""
        watchdog.cancel()
        if not line.startswith("mfn ready"):
            raise SystemExit(f"the server did not start:\n{self.log.read_text()}")
        self.addresses = dict(word.split("=", 1) for word in line.split()[2:])

    def drained(self) -> int:
        """Its exit status, once it has ended."""
        return self.process.wait(timeout=30)


@contextmanager
def serving(*words: str, log: Path) -> Iterator[Server]:
    """`mfn serve` for as long as the block runs."""
    with (
        log.open("w") as stderr,
        subprocess.Popen(  # noqa: S603 - our own command
            [*MFN, "serve", *words], stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        server = Server(process, log)
        try:
            server.ready()
            yield server
        finally:
            if process.poll() is None:
                process.terminate()


# 4: the same numbers, whatever the transport and however they are asked for.


async def compare(addresses: Mapping[str, str], credentials: Credentials) -> None:
    """Ask for one run as a whole and frame by frame, on every transport."""
    asked: dict[str, Any] = {"seed": 7, "grid_size": 64, "alpha": 0.05, "spike_probability": 1.0}
    answers = []
    for name, address in addresses.items():
        async with MFNClient(address, credentials=credentials) as client:
            whole = await client.run_simulation(steps=200, **asked)
            features = await client.extract_features(steps=200, **asked)
            frames = [frame async for frame in client.stream_simulation(total_steps=200, steps_per_frame=20, **asked)]
        answers.append(numbers(whole))
        require_same(numbers(whole), numbers(frames[-1]), numbers(features))
        say(f"{name:5} RunSimulation     mean {whole.pot_mean_mv!r} mV, {whole.growth_events} growth events")
        say(f"{'':5} StreamSimulation  {len(frames)} frames; the last one is equal, bit for bit, to RunSimulation")
    require_same(*answers)
    if len(answers) > 1:
        say("the answers of both transports are equal, bit for bit")


def numbers(described: SimulationSummary | SimulationFrame | Features) -> tuple[float, ...]:
    """What each of these says of a field."""
    return (
        described.growth_events,
        described.pot_min_mv,
        described.pot_max_mv,
        described.pot_mean_mv,
        described.pot_std_mv,
    )


def require_same(first: tuple[float, ...], *others: tuple[float, ...]) -> None:
    """End the demo where numbers differ."""
    for other in others:
        if other != first:
            raise SystemExit(f"the numbers differ: {first} and {other}")


# 5: what is not let in.


async def refusals(address: str, credentials: Credentials) -> list[tuple[str, str]]:
    """Calls that are refused, as their callers see it."""
    request = SimulationRequest(request_id="original", seed=7, grid_size=32, steps=8, alpha=0.18).SerializeToString()
    altered = request.replace(b"original", b"tampered")

    def signed() -> MetadataPairs:
        return sign_headers(credentials, PATH, request, timestamp=int(time.time()), nonce=nonces.next())

    nonces = WindowedNonceSource()
    async with RawClient(address) as raw:
        used = signed()
        await raw.unary(PATH, request, metadata=used)
        seen = []
        for what, message, headers in (
            ("not signed", request, ()),
            ("one word altered after signing", altered, signed()),
            ("a call that was made before, sent again", request, used),
        ):
            try:
                await raw.unary(PATH, message, metadata=headers)
            except RpcFailed as refused:
                seen.append((what, f"{refused.code}: {refused.message}"))
            else:
                raise SystemExit(f"a call that was {what} was let in")
    return seen


async def out_of_bounds(address: str, credentials: Credentials) -> None:
    """A call whose caller is known and whose request is wrong is told everything that is."""
    async with MFNClient(address, credentials=credentials) as client:
        try:
            await client.run_simulation(grid_size=100_000, alpha=0.7)
        except MfnRpcError as refused:
            say(f"{'alpha 0.7, grid_size 100000':40} {refused.code}")
            for violation in refused.violations:
                say(f"    {violation.field}: {violation.description}", "dim")


# 6: the field itself.


async def film(address: str, credentials: Credentials, picture: Path) -> None:
    """Stream a field and draw some of its frames."""
    kept, frames, size = (100, 400, 1000, 2400), [], 0
    async with (
        MFNClient(address, credentials=credentials) as client,
        client.simulate(
            seed=42, grid_size=128, steps=2400, alpha=0.02, spike_probability=1.0, every_n_steps=100, field="float32"
        ) as run_of_frames,
    ):
        async for frame in run_of_frames:
            size += 0 if frame.field is None else frame.field.nbytes
            if frame.step in kept:
                frames.append(frame)
    say(f"Simulate on 128 × 128 cells: 24 frames with their field, {size / 1e6:.1f} MB")
    if find_spec("matplotlib") is None:
        say('matplotlib is not installed, so nothing is drawn: pip install "mycelium-fractal-net[plot]"', "yellow")
        return
    draw(frames, picture, title="mycelium, 128 × 128 cells, seed 42, α 0.02, one spike a step")
    say(f"drew {picture}", "green")


# 7: a run that is steered.


async def steer(address: str, credentials: Credentials) -> None:
    """Pause a run, inject potential into a cell, let it go on."""
    async with (
        MFNClient(address, credentials=credentials) as client,
        client.steer(
            grid_size=64, total_steps=120, alpha=0.05, spike_probability=0.0, every_n_steps=4, max_frames_per_second=60
        ) as session,
    ):
        names: dict[int, str] = {}
        shown_until, resumed_at = 0, 120
        async for event in session:
            match event:
                case Frame() if event.step == 40 or (event.step > resumed_at and shown_until < 2):
                    say(f"step {event.step:3}  highest potential {event.statistics.max_mv:6.1f} mV")
                    shown_until += event.step > resumed_at
                    if event.step == 40:
                        names[await session.pause()] = "paused"
                        names[await session.inject(32, 32, 0.1)] = "injected 100 mV into cell (32, 32)"
                        names[await session.resume()] = "resumed"
                case Acknowledgement():
                    say(f"step {event.step:3}  {names[event.sequence]}")
                    resumed_at = event.step
                case SessionEnded():
                    say(f"step {event.step:3}  ended: {event.reason}")


# 8: the end.


async def drain(server: Server, address: str, credentials: Credentials) -> None:
    """SIGTERM while a stream is in flight."""
    async with MFNClient(address, credentials=credentials) as client:
        received = 0
        async for _ in client.simulate(grid_size=32, steps=400, every_n_steps=10, max_frames_per_second=60):
            received += 1
            if received == 10:
                server.process.send_signal(signal.SIGTERM)
    say(f"SIGTERM at frame 10 of a stream: {received} of 40 frames arrived")


# 10: the page.


def live_page(transports: Sequence[str], directory: Path) -> None:
    """Say where the live page will be, and take a picture of it where that is possible.

    The picture is of the server that `make serve` starts, on ports that are free now.
    """
    if "asgi" not in transports or "auth_loopback" not in {plugin.name for plugin in PluginRegistry.installed()}:
        say("the live page needs transport_asgi and auth_loopback: there is none here", "yellow")
        return
    picture = directory / "live.png"
    picture.unlink(missing_ok=True)
    say(pictured(transports, picture))
    standard = PluginRegistry(["transport_asgi"]).component(ComponentKind.TRANSPORT, "asgi").spec.config().listen
    say(f"make serve prints a link that opens it: http://{standard}/#token=…", "cyan")


def pictured(transports: Sequence[str], picture: Path) -> str:
    """Take the picture; what came of it. The demo does without."""
    browser = find_browser()
    if browser is None:
        return f"no picture of it: there is no {', '.join(BROWSERS[:-2])} or {BROWSERS[-2]}"
    anywhere = [word for name in transports for word in ("--set", f"transports.{name}.listen=127.0.0.1:0")]
    try:
        with TemporaryDirectory() as temporary, serving(*anywhere, log=(log := Path(temporary) / "log")) as server:
            link = re.search(r"^open (http://\S+)$", log.read_text(), re.MULTILINE)
            if link is None:
                raise RuntimeError("mfn serve printed no link")
            photograph(link[1], picture, browser=browser)
            server.process.terminate()
            server.drained()
    except (OSError, RuntimeError, ValueError, SystemExit, subprocess.TimeoutExpired) as failed:
        return f"no picture of it: {str(failed).partition(chr(10))[0] or type(failed).__name__}"
    return f"a field that grows in a browser: {picture}"


def main() -> None:
    """Tell the story."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--directory", type=Path, default=Path("demo"), help="where to write (default: demo)")
    directory: Path = parser.parse_args().directory
    directory.mkdir(exist_ok=True)
    config, keys, trail = (directory / name for name in ("mfn.toml", "keys.toml", "audit.jsonl"))
    for path in (keys, trail):
        path.unlink(missing_ok=True)  # of an earlier run: a trail would go on, and a key would be a second one

    step(1, f"A server is one file: {config}")
    transports = usable_transports()
    config.write_text(configuration(transports))
    coloured = Syntax("", "toml", theme="ansi_dark", background_color="default").highlight(config.read_text())
    for line in coloured.split():
        console.print(Text("   ") + line if line.plain else line)

    step(2, "A fresh key, and a check that opens no port")
    say("mfn keys new --principal demo --role write", "cyan")
    run("keys", "new", "--file", str(keys), "--id", "demo", "--principal", "demo", "--role", "write")
    say(f"mfn check -c {config}", "cyan")
    checked = json.loads(run("check", "-c", str(config), "--json"))
    say("around every call: " + " → ".join([stage["stage"] for stage in checked["chain"]]) + " → handler")
    credentials = Credentials.from_keys_file(keys, "demo")

    step(3, "Serve")
    say(f"mfn serve -c {config}", "cyan")
    # One event loop for all of it: gRPC binds itself to the first one that it meets.
    with serving("-c", str(config), log=directory / "server.log") as server, asyncio.Runner() as loop:
        for name, address in server.addresses.items():
            say(f"{name:5} {address}  {TRANSPORTS[name]}")
        first, last = server.addresses[transports[0]], server.addresses[transports[-1]]

        step(4, "One run, asked for as a whole and frame by frame, on every transport")
        loop.run(compare(server.addresses, credentials))

        step(5, "What is not let in")
        refused = loop.run(refusals(last, credentials))
        for what, answer in refused:
            say(f"{what:40} {answer}")
        loop.run(out_of_bounds(first, credentials))

        step(6, "The field itself, streamed")
        loop.run(film(last, credentials, directory / "mycelium.png"))

        step(7, "A run that is steered while it runs")
        loop.run(steer(first, credentials))

        step(8, "Drain")
        loop.run(drain(server, last, credentials))
        status = server.drained()
        say(f"exit status {status}", "green" if status == 0 else "red")

    step(9, "Every call left a record, and the records prove that none was changed")
    records = [json.loads(line) for line in trail.read_text().splitlines()]
    for (what, _), record in zip(refused, (r for r in records if r["status"] == "UNAUTHENTICATED"), strict=True):
        say(f"{what:40} {record['reason']}")
    say(f"mfn audit verify {trail}", "cyan")
    say(run("audit", "verify", str(trail)).strip().replace("\n", "\n   "))

    step(10, "The live page")
    live_page(transports, directory)
    sys.exit(status)


if __name__ == "__main__":
    main()
