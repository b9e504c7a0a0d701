"""One client process: makes calls with varying input for some seconds, and prints what came of it as JSON.

    python bench/_load.py ADDRESS SECONDS CONCURRENCY CALL [KEYS_FILE KEY_ID]

CALL is `nernst` (ComputeNernst) or `features` (ExtractFeatures, 64² cells, 64 steps, a new seed in every call). With a
key every call is signed, with a nonce of its own.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import sys
import time

import grpc

from mfn_proto import mfn_pb2, mycelium_pb2
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

WARM_UP = 0.5

SEEDS = itertools.count(random.SystemRandom().getrandbits(30))
"""None twice in a process, and hardly ever in two of them."""


def nernst(draw: random.Random) -> bytes:
    """A request with concentrations of its own."""
    return mycelium_pb2.NernstRequest(
        z_valence=1,
        concentration_out_molar=draw.uniform(0.001, 0.2),
        concentration_in_molar=draw.uniform(0.001, 0.2),
        temperature_k=310.0,
    ).SerializeToString()


def features(draw: random.Random) -> bytes:
    """A request with a seed of its own, that no cache knows."""
    return mfn_pb2.FeatureRequest(
        request_id=f"{draw.getrandbits(64):016x}",
        seed=next(SEEDS),
        grid_size=64,
        steps=64,
        alpha=0.18,
        spike_probability=0.25,
        turing_enabled=True,
    ).SerializeToString()


CALLS = {
    "nernst": ("/mycelium.MyceliumService/ComputeNernst", nernst),
    "features": ("/mfn.MFNFeaturesService/ExtractFeatures", features),
}


async def main(address: str, seconds: float, concurrency: int, call: str, key: tuple[str, str] | None) -> None:
    path, request = CALLS[call]
    credentials = None if key is None else Credentials.from_keys_file(*key)
    nonces = WindowedNonceSource()
    draw = random.Random(1)
    latencies: list[float] = []
    total = 0
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(path)

        async def caller(until: float) -> None:
            nonlocal total
            while time.perf_counter() < until:
                message = request(draw)
                headers = None
                if credentials is not None:
                    headers = sign_headers(credentials, path, message, timestamp=int(time.time()), nonce=nonces.next())
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
    _, address_, seconds_, concurrency_, call_, *key_ = sys.argv
    asyncio.run(main(address_, float(seconds_), int(concurrency_), call_, (key_[0], key_[1]) if key_ else None))
