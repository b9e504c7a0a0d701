"""Calls a second of server CPU, through the whole chain, against a bare grpc.aio echo.

    python bench/calls.py [--rounds 5] [--seconds 3] [--concurrency 64] [--json FILE]

Every call of MFN has a nonce of its own: it is signed and checked (HMAC scheme v2), counted by the token bucket,
decoded, and written to the audit file. Two operations are called: ComputeNernst with varying input, which is validated,
computed and encoded, and ExtractFeatures with one and the same run and a request id of its own, whose result comes from
the cache, stamped with that id. The echo gives its message back and does nothing else. The server is pinned to one core
and the client to another; runs are interleaved, so that what else the machine does meets all. CPU is that of all
processes of the server, user and system, as the kernel counts it. The client sends frames that were made before
(_http2.py); how much of its core it needs is printed, because a client at its end would hide the server's.
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
CALLS = ("nernst", "cached")


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
    rows = [("echo", "nernst"), *((transport, call) for transport in TRANSPORTS for call in CALLS)]
    runs: dict[str, list[dict[str, float]]] = {" ".join(row): [] for row in rows}
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
                for name, call in rows:
                    server, addresses = servers[name]
                    key = () if name == "echo" else (keys, "bench")
                    found = measure(addresses[name], server.pid, options, *key, call=call)
                    runs[f"{name} {call}"].append(found)
                    answered += 0 if name == "echo" else found["total"]
        recorded = sum('"status":"OK"' in line for each in TRANSPORTS for line in (directory / f"{each}.jsonl").open())
    report(runs, options, where)
    print(f"audit: {recorded:,} records of {answered:,.0f} answered calls")
    if recorded != answered:
        sys.exit("the audit does not hold every call as answered")
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
    print(f"{options.concurrency} in flight, {options.rounds} rounds of {options.seconds:g} s; {where}")
    print(
        f"{'server call':12} {'calls/CPU second':>24} {'ratio to echo':>18} {'calls/s':>24} {'ratio to echo':>18} "
        f"{'µs CPU a call':>16} {'p99 ms':>7} {'client':>7}"
    )
    echo = runs["echo nernst"]
    for name, found in runs.items():
        told = [f"{name:12}"]
        for figure in ("per_cpu_second", "per_second"):
            ratios = [mine[figure] / peer[figure] for mine, peer in zip(found, echo, strict=True)]
            told.append(f"{spread([run[figure] for run in found]):>24} {spread(ratios, '.2f'):>18}")
        told.append(f"{spread([run['cpu_us'] for run in found]):>16}")
        told.append(f"{statistics.median(run['p99_ms'] for run in found):7.1f}")
        told.append(f"{statistics.median(run['client_cpu'] for run in found):7.0%}")
        print(" ".join(told))


if __name__ == "__main__":
    main()
