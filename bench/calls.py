"""Calls a second of server CPU, through the whole chain, against a bare grpc.aio echo.

    python bench/calls.py [--rounds 5] [--seconds 3] [--concurrency 64] [--json FILE]

Every call of MFN is ComputeNernst with an input and a nonce of its own: signed and checked (HMAC scheme v2), counted
by the token bucket, decoded, validated, computed, encoded and written to the audit file. The echo gives its message
back and does nothing else. The server is pinned to one core and the client to another; runs of the three are
interleaved, so that what else the machine does meets all. CPU is that of all processes of the server, user and
system, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from _report import RESULTS, machine, spread, write

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")

CONFIG = """
[server]
plugins = ["engine_numpy", "service_mfn", "transport_TRANSPORT", "auth_hmac", "ratelimit", "audit_jsonl"]
log_level = "warning"

[transports.TRANSPORT]
listen = "127.0.0.1:0"

[auth.hmac]
keys_file = "keys.toml"

[limits.token_bucket]
rate = 1e9
burst = 1_000_000_000
concurrent = 1000

[audit.jsonl]
path = "TRANSPORT.jsonl"
"""

TRANSPORTS = ("grpc", "asgi")


@contextmanager
def process(core: int, *command: str, directory: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A pinned server process, and where it listens."""
    started = subprocess.Popen(["taskset", "-c", str(core), *command], stdout=subprocess.PIPE, text=True, cwd=directory)
    try:
        if started.stdout is None:
            raise RuntimeError("no standard output")
        words = started.stdout.readline().split()
        if words[:2] != ["mfn", "ready"]:
            raise RuntimeError(f"{command[0]} did not become ready")
        yield started, dict(word.split("=", 1) for word in words[2:])
    finally:
        started.terminate()
        started.wait(30)


def family(pid: int) -> list[int]:
    """The process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all that it started."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def measure(address: str, pid: int, options: argparse.Namespace, *key: str, call: str = "nernst") -> dict[str, float]:
    """One run of the client against a server."""
    client = subprocess.Popen(
        [
            *("taskset", "-c", "1", sys.executable, str(HERE / "_load.py")),
            *(address, str(options.seconds), str(options.concurrency), call, *key),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if client.stdout is None or client.stdin is None:
        raise RuntimeError("no pipe to the client")
    client.stdout.readline()
    before = cpu_seconds(pid)
    client.stdin.write("go\n")
    client.stdin.flush()
    line = client.stdout.readline()
    spent = cpu_seconds(pid) - before
    client.wait(30)
    found: dict[str, float] = json.loads(line)
    found["cpu_us"] = 1e6 * spent / found["calls"]
    found["per_cpu_second"] = found["calls"] / spent
    found["per_second"] = found["calls"] / found["seconds"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--json", type=Path, default=RESULTS / "calls.json")
    options = parser.parse_args()
    where = machine()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("echo", *TRANSPORTS)}
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        for transport in TRANSPORTS:
            (directory / f"{transport}.toml").write_text(CONFIG.replace("TRANSPORT", transport))
        keys = str(directory / "keys.toml")
        mfn = [sys.executable, "-m", "mfn_core"]
        subprocess.run(
            [*mfn, "keys", "new", "-f", keys, "--principal", "bench", "--id", "bench"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        answered = 0.0
        with ExitStack() as stack:
            start = stack.enter_context
            servers = {"echo": start(process(0, sys.executable, str(HERE / "_echo.py"), directory=directory))}
            for transport in TRANSPORTS:
                command = (*mfn, "serve", "-c", f"{transport}.toml")
                servers[transport] = start(process(0, *command, directory=directory))
            for _ in range(options.rounds):
                for name, (server, addresses) in servers.items():
                    key = () if name == "echo" else (keys, "bench")
                    found = measure(addresses[name], server.pid, options, *key)
                    runs[name].append(found)
                    answered += 0 if name == "echo" else found["total"]
        recorded = sum(1 for each in TRANSPORTS for _ in (directory / f"{each}.jsonl").open())
    report(runs, options, where)
    print(f"audit: {recorded:,} records of {answered:,.0f} answered calls")
    if recorded != answered:
        sys.exit("the audit does not hold every call")
    write(
        options.json,
        {
            "script": "calls",
            "machine": where,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "concurrency": options.concurrency,
            "runs": runs,
        },
    )


def report(runs: dict[str, list[dict[str, float]]], options: argparse.Namespace, where: str) -> None:
    print(f"ComputeNernst, {options.concurrency} in flight, {options.rounds} rounds of {options.seconds:g} s; {where}")
    print(f"{'server':6} {'calls/CPU second':>26} {'µs CPU a call':>20} {'calls/s':>24} {'p99 ms':>8}   ratio to echo")
    for name, found in runs.items():
        ratios = [
            mine["per_cpu_second"] / echo["per_cpu_second"] for mine, echo in zip(found, runs["echo"], strict=True)
        ]
        print(
            f"{name:6} {spread([run['per_cpu_second'] for run in found]):>26} "
            f"{spread([run['cpu_us'] for run in found]):>20} {spread([run['per_second'] for run in found]):>24} "
            f"{statistics.median(run['p99_ms'] for run in found):8.1f}   "
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
