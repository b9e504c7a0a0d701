"""Many streams at once: how evenly their frames come, and what a stream costs in memory.

    python bench/streams.py [--rounds 3] [--seconds 10] [--streams 180] [--idle 1000] [--transports grpc asgi]

The paced streams are StreamSimulation on 64² cells, one step a frame, at most 25 frames a second each; what is measured
is the time from one frame to the next as the client sees it, over all streams, once all of them have begun. The idle
ones are SteerSimulation on which nothing was said yet, and paused runs on 64² cells. Every stream is signed, counted by
the limiter and recorded. The server has one core and the client another; streams share connections, 90 each. Memory is
the proportional set size (PSS) of all processes of the server, less what it was with one stream of the kind. There is
no peer: a server without streams is what memory is compared with, and the pace that was asked for is what gaps are.
"""

from __future__ import annotations

import argparse
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from _http2 import Connection, Prepared, prepared
from _report import RESULTS, machine, spread, write
from calls import CONFIG, TRANSPORTS, cpu_seconds, family, process

from mfn_proto import mfn_pb2
from mfn_proto.v1 import field_pb2
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

PACE = 25.0
A_CONNECTION = 90
"""Streams that share one."""
STREAM_SIMULATION = "/mfn.MFNSimulationService/StreamSimulation"
STEER = "/mfn.v1.FieldService/SteerSimulation"


class Streams:
    """Streams of one kind on connections of their own."""

    def __init__(self, address: str, calls: Sequence[Sequence[Prepared]]) -> None:
        """Begin the calls, those of each connection together."""
        self._connections = []
        self._selector = selectors.DefaultSelector()
        for part in calls:
            connection = Connection(address)
            self._connections.append(connection)
            self._selector.register(connection, selectors.EVENT_READ)
            for call in part:
                connection.begin(call)

    def arrivals(self, until: float) -> Iterator[tuple[float, tuple[int, int]]]:
        """When a message came, and on which stream."""
        while (left := until - time.perf_counter()) > 0:
            for key, _ in self._selector.select(left):
                connection = key.fileobj
                assert isinstance(connection, Connection)
                found, now = connection.arrivals(), time.perf_counter()
                yield from ((now, (key.fd, stream)) for stream in found)

    def close(self) -> None:
        self._selector.close()
        for connection in self._connections:
            connection.close()


def ready_made(key: Credentials, path: str, messages: Sequence[bytes], *, streams: bool) -> list[list[Prepared]]:
    """Signed calls, by connection: each has a table of header fields of its own."""
    nonces = WindowedNonceSource()
    calls = []
    for message in messages:
        covered = None if streams else message
        calls.append((dict(sign_headers(key, path, covered, timestamp=int(time.time()), nonce=nonces.next())), message))
    parts = [calls[first : first + A_CONNECTION] for first in range(0, len(calls), A_CONNECTION)]
    return [list(prepared(path, part, open_ended=streams)) for part in parts]


def paced(seed: int) -> bytes:
    """A run that lasts longer than the measurement."""
    return mfn_pb2.SimulationStreamRequest(
        seed=seed, grid_size=64, total_steps=10_000, steps_per_frame=1, max_frames_per_second=PACE, alpha=0.18
    ).SerializeToString()


def paused(seed: int) -> bytes:
    """The start of a run whose second frame is due in a quarter of an hour."""
    simulation = field_pb2.SimulationSpec(model="mycelium", grid_size=64, seed=seed)
    frames = field_pb2.FrameOptions(every_n_steps=1, max_frames_per_second=0.001)
    start = field_pb2.StartCommand(simulation=simulation, unlimited=True, frames=frames)
    return field_pb2.SteerSimulationRequest(start=start).SerializeToString()


def memory(pid: int) -> float:
    """Megabytes of all processes of the server, what they share divided among them."""
    total = 0
    for each in family(pid):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def settled_memory(pid: int) -> float:
    """The same once it has stopped growing."""
    found, until = memory(pid), time.monotonic() + 20
    while time.monotonic() < until:
        time.sleep(0.5)  # nothing tells that a server has dealt with what it was sent
        now = memory(pid)
        if abs(now - found) < 0.25:
            return now
        found = now
    return found


def gaps(address: str, pid: int, key: Credentials, options: argparse.Namespace) -> dict[str, float]:
    """One round of paced streams."""
    before = settled_memory(pid)
    seeds = range(options.streams)
    streams = Streams(address, ready_made(key, STREAM_SIMULATION, [paced(seed) for seed in seeds], streams=False))
    last: dict[tuple[int, int], float] = {}
    found: list[float] = []
    for now, stream in streams.arrivals(time.perf_counter() + 30):
        last[stream] = now
        if len(last) == options.streams:
            break
    else:
        raise RuntimeError(f"{len(last)} of {options.streams} streams began")
    cpu, begun = cpu_seconds(pid), time.perf_counter()
    last.clear()  # the first frames come as fast as they can
    for now, stream in streams.arrivals(begun + options.seconds):
        if stream in last:
            found.append(now - last[stream])
        last[stream] = now
    elapsed = time.perf_counter() - begun
    cpu, during = cpu_seconds(pid) - cpu, memory(pid)
    streams.close()
    found.sort()
    return {
        "p50_ms": 1000 * found[len(found) // 2],
        "p99_ms": 1000 * found[int(len(found) * 0.99)],
        "max_ms": 1000 * found[-1],
        "frames_per_second": (len(found) + len(last)) / elapsed / options.streams,
        "cpu": cpu / elapsed,
        "mb_a_stream": (during - before) / options.streams,
    }


def idle(address: str, pid: int, key: Credentials, count: int, message: bytes, *, answered: bool) -> float:
    """Megabytes more with so many idle streams than with none."""
    before = settled_memory(pid)
    streams = Streams(address, ready_made(key, STEER, [message] * count, streams=True))
    try:
        if answered:
            begun = set()
            for _, stream in streams.arrivals(time.perf_counter() + 60):
                begun.add(stream)
                if len(begun) == count:
                    break
            else:
                raise RuntimeError(f"{len(begun)} of {count} streams began")
        else:
            for _ in streams.arrivals(time.perf_counter() + 3):
                raise RuntimeError("an idle stream said something")
        return settled_memory(pid) - before
    finally:
        streams.close()


def configured(transport: str, streams: int) -> str:
    """The server of calls.py, which lets so many streams be open."""
    text = CONFIG.replace("TRANSPORT", transport).replace("concurrent = 1000", f"concurrent = {2 * streams}")
    text = text.replace("[server]\n", f"[server]\ncompute_queue = {2 * streams}\n")  # all of them begin at once
    services = f"\n[services.mfn]\nsessions = {2 * streams}\nsessions_per_principal = {2 * streams}\n"
    return text + services


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--streams", type=int, default=180)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--transports", nargs="+", default=list(TRANSPORTS))
    parser.add_argument("--json", type=Path, default=RESULTS / "streams.json")
    options = parser.parse_args()
    where = machine()
    runs: dict[str, list[dict[str, float]]] = {transport: [] for transport in options.transports}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        keys = directory / "keys.toml"
        subprocess.run(
            [sys.executable, "-m", "mfn_core", "keys", "new", "-f", str(keys), "--principal", "bench", "--id", "bench"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        key = Credentials.from_keys_file(keys, "bench")
        for transport in options.transports:
            (directory / f"{transport}.toml").write_text(configured(transport, max(options.streams, options.idle)))
            command = (sys.executable, "-m", "mfn_core", "serve", "-c", f"{transport}.toml")
            with process(0, *command, directory=directory) as (server, addresses):
                address = addresses[transport]
                idle(address, server.pid, key, 1, b"", answered=False)  # what the first one brings along
                gaps(address, server.pid, key, argparse.Namespace(streams=1, seconds=1.0))
                for _ in range(options.rounds):
                    found = gaps(address, server.pid, key, options)
                    found["idle_mb"] = idle(address, server.pid, key, options.idle, b"", answered=False)
                    found["paused_mb"] = idle(address, server.pid, key, options.idle, paused(1), answered=True)
                    runs[transport].append(found)
    print(
        f"{options.streams} streams at {PACE:g} frames a second, {options.idle} idle ones, {options.rounds} rounds of "
        f"{options.seconds:g} s; {where}"
    )
    for transport, rounds in runs.items():
        print(transport)
        for figure, what, form in (
            ("p50_ms", "ms from frame to frame, median", ".1f"),
            ("p99_ms", "p99", ".1f"),
            ("max_ms", "longest", ".1f"),
            ("frames_per_second", "frames a second and stream", ".2f"),
            ("cpu", "cores", ".2f"),
            ("mb_a_stream", "MB a stream", ".2f"),
            ("idle_mb", f"MB for {options.idle} idle streams", ".0f"),
            ("paused_mb", f"MB for {options.idle} paused runs of 64²", ".0f"),
        ):
            print(f"  {spread([run[figure] for run in rounds], form):>24}  {what}")
    write(
        options.json,
        {
            "script": "streams",
            "machine": where,
            "options": {name: value for name, value in vars(options).items() if name != "json"},
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
