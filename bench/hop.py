"""What it costs to do nothing on a compute thread: the compute pool against `run_in_executor` with a shield.

    taskset -c 0 python bench/hop.py [--rounds 9] [--jobs 5000] [--json FILE]

Both sides send a job that does nothing from a task of the event loop to one thread, and wait for it so that an abort of
the task does not abandon the job. The peer is what one would first write: a `ThreadPoolExecutor`, `asyncio.wrap_future`
and `asyncio.shield`. Runs are interleaved; CPU is that of the whole process, without the making of the calls.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _report import RESULTS, machine, spread, write
from google.protobuf.empty_pb2 import Empty

from mfn_core import Call, Metadata, Operation, Peer, Request, Shape
from mfn_core.execution import ComputePool

IN_FLIGHT = (1, 64)

Hop = Callable[[Call], Awaitable[Any]]


async def unused(request: Any, call: Call) -> Any:
    return request


OPERATION = Operation(
    service="bench.Service",
    method="Hop",
    shape=Shape.UNARY,
    request_type=Empty,
    response_type=Empty,
    handler=unused,
)


def new_call(number: int) -> Call:
    return Call(
        id=f"{number:024x}",
        operation=OPERATION,
        transport="bench",
        metadata=Metadata(),
        peer=Peer(address="unknown"),
        request=Request(),
    )


def nothing(token: Any) -> None:
    return


async def microseconds(hop: Hop, jobs: int, in_flight: int) -> float:
    """CPU of the process for one job."""
    calls = [[new_call(number) for number in range(jobs // in_flight)] for _ in range(in_flight)]

    async def one_after_another(mine: list[Call]) -> None:
        for call in mine:
            await hop(call)

    begun = time.process_time()
    await asyncio.gather(*(one_after_another(mine) for mine in calls))
    return 1e6 * (time.process_time() - begun) / sum(len(mine) for mine in calls)


async def compare(options: argparse.Namespace) -> dict[str, dict[int, list[float]]]:
    pool, executor = ComputePool({}, threads=1), ThreadPoolExecutor(1)

    async def shielded(call: Call) -> None:
        await asyncio.shield(asyncio.wrap_future(executor.submit(nothing, call.cancel)))

    sides: dict[str, Hop] = {"executor": shielded, "pool": lambda call: pool.run(call, nothing)}
    runs: dict[str, dict[int, list[float]]] = {name: {each: [] for each in IN_FLIGHT} for name in sides}
    for hop in sides.values():
        await microseconds(hop, 200, 1)
    for _ in range(options.rounds):
        for in_flight in IN_FLIGHT:
            for name, hop in sides.items():
                runs[name][in_flight].append(await microseconds(hop, options.jobs, in_flight))
    pool.shutdown()
    executor.shutdown()
    return runs


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--json", type=Path, default=RESULTS / "hop.json")
    options = parser.parse_args()
    where = machine()
    runs = asyncio.run(compare(options))
    print(f"a job that does nothing, µs of CPU, {options.rounds} rounds of {options.jobs} jobs; {where}")
    print(f"{'in flight':>9} {'executor, wrapped, shielded':>28} {'compute pool':>22}   ratio")
    for in_flight in IN_FLIGHT:
        peer, ours = runs["executor"][in_flight], runs["pool"][in_flight]
        ratios = [one / other for one, other in zip(peer, ours, strict=True)]
        print(f"{in_flight:9} {spread(peer, '.1f'):>28} {spread(ours, '.1f'):>22}   {spread(ratios, '.2f')}")
    write(
        options.json, {"script": "hop", "machine": where, "rounds": options.rounds, "jobs": options.jobs, "runs": runs}
    )


if __name__ == "__main__":
    main()
