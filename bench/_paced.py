"""One client process: ComputeNernst at a steady pace for some seconds, and how long each took, as JSON.

    python bench/_paced.py ADDRESS SECONDS PER_SECOND KEYS_FILE KEY_ID

Every call has its moment, and its latency counts from there: a call that begins late because those before it were slow
is slow itself. What the client's own event loop was late for is told apart. Calls are signed, on one connection.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

from mfn_client import Credentials, MFNClient

WARM_UP = 20


async def call(client: MFNClient, draw: random.Random) -> None:
    await client.nernst(
        z_valence=1, concentration_out_molar=draw.uniform(0.001, 0.2), concentration_in_molar=draw.uniform(0.001, 0.2)
    )


async def paced(address: str, seconds: float, per_second: float, credentials: Credentials) -> dict[str, list[float]]:
    latencies: list[float] = []
    lateness: list[float] = []
    draw = random.Random(1)

    async def timed(client: MFNClient, moment: float) -> None:
        lateness.append(1000 * (time.perf_counter() - moment))
        await call(client, draw)
        latencies.append(1000 * (time.perf_counter() - moment))

    async with MFNClient(address, credentials=credentials, retry_max_attempts=1) as client:
        for _ in range(WARM_UP):
            await call(client, draw)
        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(seconds * per_second)):
                moment = begin + number / per_second
                await asyncio.sleep(max(0.0, moment - time.perf_counter()))
                group.create_task(timed(client, moment))
    return {"latencies_ms": latencies, "lateness_ms": lateness}


if __name__ == "__main__":
    _, address_, seconds_, per_second_, *key_ = sys.argv
    found = asyncio.run(paced(address_, float(seconds_), float(per_second_), Credentials.from_keys_file(*key_)))
    print(json.dumps(found), flush=True)
