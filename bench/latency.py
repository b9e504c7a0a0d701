"""How long ComputeNernst takes while sixteen trainings run on the same server, and while its cores are merely busy.

    python bench/latency.py [--rounds 5] [--seconds 4] [--per-second 100] [--in-flight 16] [--json FILE]

The server is one process with the whole chain, signatures and audit included, and as many compute threads as there are
cores. One client keeps `--in-flight` ValidatePattern calls of the default size in flight, each with a seed of its own:
17 fields of 64² cells and 64 steps, and a training. Another calls ComputeNernst at a steady pace; its latencies count
from the moment at which each call was due. The peers are the same server at rest, and at rest beside as many endless
loops as there are cores: what is late then is late by the cores and the clients, and not by the server. Rounds of the
three take turns on both transports, so that what else the machine does meets all. Nothing is pinned: server and clients
share the cores, and what the pacing client was late for is in its latencies and stands beside them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from _report import RESULTS, machine, spread, write
from calls import TRANSPORTS
from features import configuration, installed_engines

HERE = Path(__file__).parent
STATES = ("nothing", "busy cores", "trainings")
LIMIT_MS = 25.0
"""What the 99th percentile shall stay under beside the trainings."""


@contextmanager
def server(transport: str, directory: Path) -> Iterator[str]:
    """A server process, and where it listens."""
    command = [sys.executable, "-m", "mfn_core", "serve", "-c", f"{transport}.toml"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=directory)
    try:
        if started.stdout is None:
            raise RuntimeError("no standard output")
        words = started.stdout.readline().split()
        if words[:2] != ["mfn", "ready"]:
            raise RuntimeError(f"the server with {transport} did not become ready")
        yield dict(word.split("=", 1) for word in words[2:])[transport]
    finally:
        started.terminate()
        started.wait(60)


@contextmanager
def load(address: str, in_flight: int, key: tuple[str, str], told: dict[str, Any]) -> Iterator[None]:
    """Trainings in flight, all of them begun; what became of them is put into `told`."""
    client = subprocess.Popen(
        [sys.executable, str(HERE / "_validating.py"), address, str(in_flight), *key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if client.stdout is None or client.stdin is None:
            raise RuntimeError("no pipe to the client")
        if client.stdout.readline() != "busy\n":
            raise RuntimeError("the trainings did not begin")
        yield
        client.stdin.close()
        told.update(json.loads(client.stdout.readline()))
    finally:
        client.kill()
        client.wait(30)


@contextmanager
def busy_cores() -> Iterator[None]:
    """An endless loop for each core, in processes of their own."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait(30)


def percentile(values: list[float], share: float) -> float:
    """The least value that this share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def measure(address: str, options: argparse.Namespace, key: tuple[str, str], beside: str) -> dict[str, Any]:
    """One round beside one of `STATES`."""
    told: dict[str, Any] = {}
    pace = [address, str(options.seconds), str(options.per_second), *key]
    others = {
        "nothing": nullcontext(),
        "busy cores": busy_cores(),
        "trainings": load(address, options.in_flight, key, told),
    }
    with others[beside]:
        done = subprocess.run([sys.executable, str(HERE / "_paced.py"), *pace], check=True, stdout=subprocess.PIPE)
    found = json.loads(done.stdout)
    latencies = found["latencies_ms"]
    return {
        "calls": len(latencies),
        "p50_ms": percentile(latencies, 0.5),
        "p99_ms": percentile(latencies, 0.99),
        "max_ms": max(latencies),
        "late_p99_ms": percentile(found["lateness_ms"], 0.99),
        "load_average": os.getloadavg()[0],
        **({"trainings": told} if told else {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--per-second", type=float, default=100.0)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--engines", nargs="+", default=installed_engines(), help="plugins; default: all installed")
    parser.add_argument("--json", type=Path, default=RESULTS / "latency.json")
    options = parser.parse_args()
    where = machine()
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {each: {state: [] for state in STATES} for each in TRANSPORTS}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        directory = Path(temporary)
        for transport in TRANSPORTS:
            (directory / f"{transport}.toml").write_text(configuration(transport, options.engines))
        keys = str(directory / "keys.toml")
        subprocess.run(
            [sys.executable, "-m", "mfn_core", "keys", "new", "-f", keys, "--principal", "bench", "--id", "bench"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        addresses = {each: stack.enter_context(server(each, directory)) for each in TRANSPORTS}
        for transport in TRANSPORTS:  # the first trainings compile
            measure(addresses[transport], options, (keys, "bench"), "trainings")
        for _ in range(options.rounds):
            for transport, address in addresses.items():
                for beside, found in runs[transport].items():
                    found.append(measure(address, options, (keys, "bench"), beside))
    report(runs, options, where)
    write(
        options.json,
        {
            "script": "latency",
            "machine": where,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "per_second": options.per_second,
            "in_flight": options.in_flight,
            "engines": options.engines,
            "runs": runs,
        },
    )


def report(runs: dict[str, dict[str, list[dict[str, Any]]]], options: argparse.Namespace, where: str) -> None:
    print(
        f"ComputeNernst, {options.per_second:g} a second, {options.rounds} rounds of {options.seconds:g} s, beside "
        f"{options.in_flight} ValidatePattern, engines {', '.join(options.engines)}; {where}"
    )
    names = ("p50 ms", "p99 ms", "max ms", "client late, p99")
    print(f"{'transport':9} {'beside':10} {' '.join(f'{name:>20}' for name in names)}  trainings/s")
    for transport, rounds in runs.items():
        for name, found in rounds.items():
            trainings = [each["trainings"]["answered"] / options.seconds for each in found if "trainings" in each]
            columns = [spread([each[key] for each in found], ".1f") for key in ("p50_ms", "p99_ms", "max_ms")]
            late = spread([each["late_p99_ms"] for each in found], ".1f")
            print(
                f"{transport:9} {name:10} {columns[0]:>20} {columns[1]:>20} {columns[2]:>20} {late:>20}  "
                f"{spread(trainings, '.1f') if trainings else '-'}"
            )
    averages = [each["load_average"] for rounds in runs.values() for found in rounds.values() for each in found]
    print(f"load average {statistics.median(averages):.1f} ({min(averages):.1f}–{max(averages):.1f}) while measuring")
    for transport, rounds in runs.items():
        p99 = statistics.median(each["p99_ms"] for each in rounds["trainings"])
        print(f"{transport}: p99 beside trainings is {'under' if p99 < LIMIT_MS else 'NOT under'} {LIMIT_MS:g} ms")


if __name__ == "__main__":
    main()
