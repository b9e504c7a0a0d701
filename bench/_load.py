"""One client process: calls ComputeNernst with varying input for some seconds, and prints what came of it as JSON.

    python bench/_load.py ADDRESS SECONDS CONCURRENCY [KEYS_FILE KEY_ID]

With a key every call is signed, with a nonce of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time

import grpc

from mfn_proto import mycelium_pb2
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

PATH = "/mycelium.MyceliumService/ComputeNernst"
WARM_UP = 0.5


async def main(address: str, seconds: float, concurrency: int, key: tuple[str, str] | None) -> None:
    credentials = None if key is None else Credentials.from_keys_file(*key)
    nonces = WindowedNonceSource()
    draw = random.Random(1)
    latencies: list[float] = []
    total = 0
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(PATH)

        async def caller(until: float) -> None:
            nonlocal total
            while time.perf_counter() < until:
                message = mycelium_pb2.NernstRequest(
                    z_valence=1,
                    concentration_out_molar=draw.uniform(0.001, 0.2),
                    concentration_in_molar=draw.uniform(0.001, 0.2),
                    temperature_k=310.0,
                ).SerializeToString()
                headers = None
                if credentials is not None:
                    headers = sign_headers(credentials, PATH, message, timestamp=int(time.time()), nonce=nonces.next())
                begun = time.perf_counter()
                await method(message, metadata=headers)
                latencies.append(time.perf_counter() - begun)
                total += 1

        until = time.perf_counter() + WARM_UP
        await asyncio.gather(*(caller(until) for _ in range(concurrency)))
        print(json.dumps({"warm": total}), flush=True)
        sys.stdin.readline()  # the measuring process has read the server's clock
        latencies.clear()
        counted, begun = total, time.perf_counter()
        until = begun + seconds
        await asyncio.gather(*(caller(until) for _ in range(concurrency)))
        elapsed = time.perf_counter() - begun
    latencies.sort()
    print(
        json.dumps(
            {
                "calls": total - counted,
                "total": total,
                "seconds": elapsed,
                "p50_ms": 1000 * latencies[len(latencies) // 2],
                "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    _, address_, seconds_, concurrency_, *key_ = sys.argv
    asyncio.run(main(address_, float(seconds_), int(concurrency_), (key_[0], key_[1]) if key_ else None))
