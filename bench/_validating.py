"""One client process: keeps so many ValidatePattern calls in flight until its standard input ends.

    python bench/_validating.py ADDRESS IN_FLIGHT KEYS_FILE KEY_ID

Each call has the defaults and a seed of its own, so that no cache answers it. A line is printed as soon as all of them
are in flight, and in the end one with the calls that were answered and the median of how long they took, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import statistics
import sys
import time

from mfn_client import Credentials, MFNClient


async def keep_busy(address: str, in_flight: int, credentials: Credentials) -> None:
    seeds = itertools.count(random.SystemRandom().getrandbits(30))
    seconds: list[float] = []

    async def one_after_another(client: MFNClient) -> None:
        while True:
            begun = time.perf_counter()
            await client.validate_pattern(seed=next(seeds), timeout=None)
            seconds.append(time.perf_counter() - begun)

    async with MFNClient(address, credentials=credentials, retry_max_attempts=1) as client:
        await client.nernst(z_valence=1, concentration_out_molar=0.005, concentration_in_molar=0.14)
        tasks = [asyncio.create_task(one_after_another(client)) for _ in range(in_flight)]
        await asyncio.sleep(0)
        print("busy", flush=True)
        ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        for task in done - {ended}:
            task.result()  # a call failed, and says why
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
    print(json.dumps({"answered": len(seconds), "median_s": statistics.median(seconds) if seconds else None}))


if __name__ == "__main__":
    _, address_, in_flight_, *key_ = sys.argv
    asyncio.run(keep_busy(address_, int(in_flight_), Credentials.from_keys_file(*key_)))
