"""Simulations a second of server CPU, through the whole chain, against the naive implementation alone.

    python bench/features.py [--rounds 5] [--seconds 3] [--concurrency 64] [--engines engine_numpy …] [--json FILE]

Every call is ExtractFeatures on 64² cells with 64 steps, with a seed and a nonce of its own: signed and checked (HMAC
scheme v2), counted by the token bucket, decoded, validated, simulated on the engine that `engine = "auto"` takes,
measured, encoded and written to the audit file. No seed comes twice, so that the result cache answers nothing. The
peer is `naive` of bench/stepping.py, which simulates the same fields and does nothing else: no features, no server.
Servers are pinned to one core and the client to another; runs are interleaved, so that what else the machine does meets
all. CPU is that of all processes of the server, user and system, as the kernel counts it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from _report import RESULTS, machine, spread, write
from calls import CONFIG, TRANSPORTS, measure, process
from stepping import naive

from mfn_core.registry import PluginRegistry
from mfn_model import mycelium_spec

GRID, STEPS = 64, 64
NAIVE_CALLS = 30
"""Fields that the naive implementation simulates in each round."""


def naive_calls_per_second(first_seed: int) -> float:
    """Fields a second of CPU of this process."""
    begun = time.process_time()
    for seed in range(first_seed, first_seed + NAIVE_CALLS):
        naive(mycelium_spec(seed=seed, grid_size=GRID), STEPS)
    return NAIVE_CALLS / (time.process_time() - begun)


def installed_engines() -> list[str]:
    return sorted(plugin.name for plugin in PluginRegistry.installed() if plugin.name.startswith("engine_"))


def configuration(transport: str, engines: list[str]) -> str:
    plugins = ", ".join(f'"{engine}"' for engine in engines)
    return CONFIG.replace('"engine_numpy"', plugins).replace("TRANSPORT", transport)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument(
        "--engines", nargs="+", default=installed_engines(), help="plugins; default: all installed ones"
    )
    parser.add_argument("--transports", nargs="+", default=list(TRANSPORTS))
    parser.add_argument("--json", type=Path, default=RESULTS / "features.json")
    options = parser.parse_args()
    where = machine()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ("naive", *options.transports)}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        directory = Path(temporary)
        keys = str(directory / "keys.toml")
        mfn = [sys.executable, "-m", "mfn_core"]
        subprocess.run(
            [*mfn, "keys", "new", "-f", keys, "--principal", "bench", "--id", "bench"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        servers = {}
        for transport in options.transports:
            (directory / f"{transport}.toml").write_text(configuration(transport, options.engines))
            command = (*mfn, "serve", "-c", f"{transport}.toml")
            servers[transport] = stack.enter_context(process(0, *command, directory=directory))
        for number in range(options.rounds):
            runs["naive"].append({"per_cpu_second": naive_calls_per_second(number * NAIVE_CALLS)})
            for transport, (server, addresses) in servers.items():
                runs[transport].append(
                    measure(addresses[transport], server.pid, options, keys, "bench", call="features")
                )
    report(runs, options, where)
    write(
        options.json,
        {
            "script": "features",
            "machine": where,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "concurrency": options.concurrency,
            "engines": options.engines,
            "runs": runs,
        },
    )


def report(runs: dict[str, list[dict[str, float]]], options: argparse.Namespace, where: str) -> None:
    print(
        f"ExtractFeatures {GRID}² × {STEPS}, {options.concurrency} in flight, {', '.join(options.engines)}, "
        f"{options.rounds} rounds of {options.seconds:g} s; {where}"
    )
    print(f"{'':6} {'calls/CPU second':>26} {'µs CPU a call':>22} {'calls/s':>22} {'p99 ms':>8}   ratio to naive")
    for name, found in runs.items():
        speeds = [run["per_cpu_second"] for run in found]
        line = f"{name:6} {spread(speeds):>26} {spread([1e6 / speed for speed in speeds]):>22}"
        if name != "naive":
            ratios = [mine / peer["per_cpu_second"] for mine, peer in zip(speeds, runs["naive"], strict=True)]
            line += (
                f" {spread([run['per_second'] for run in found]):>22}"
                f" {statistics.median(run['p99_ms'] for run in found):8.1f}"
                f"   {statistics.median(ratios):.1f} ({min(ratios):.1f}–{max(ratios):.1f})"
            )
        print(line)


if __name__ == "__main__":
    main()
