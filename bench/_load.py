"""One client process: makes calls with varying input for some seconds, and prints what came of it as JSON.

    python bench/_load.py ADDRESS SECONDS CONCURRENCY CALL [KEYS_FILE KEY_ID]

CALL is `nernst` (ComputeNernst), `features` (ExtractFeatures, 64² cells, 64 steps, a new seed in every call) or
`cached` (the same with one seed, and a request id of its own in every call). With a key every call is signed, with a
nonce of its own. Everything is made before the clock starts, and all calls go over one connection.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator

from _http2 import Connection, Prepared, prepared

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


def simulated(draw: random.Random, seed: int) -> bytes:
    """A request with an id of its own."""
    return mfn_pb2.FeatureRequest(
        request_id=f"{draw.getrandbits(64):016x}",
        seed=seed,
        grid_size=64,
        steps=64,
        alpha=0.18,
        spike_probability=0.25,
        turing_enabled=True,
    ).SerializeToString()


def features(draw: random.Random) -> bytes:
    """A request with a seed of its own, that no cache knows."""
    return simulated(draw, next(SEEDS))


def cached(draw: random.Random) -> bytes:
    """A request whose result is known after the first."""
    return simulated(draw, 42)


CALLS = {
    "nernst": ("/mycelium.MyceliumService/ComputeNernst", nernst, 25_000),
    "features": ("/mfn.MFNFeaturesService/ExtractFeatures", features, 4_000),
    "cached": ("/mfn.MFNFeaturesService/ExtractFeatures", cached, 25_000),
}
"""Path, message, and how many a second no server of one core gets through."""


def ready_made(seconds: float, call: str, key: tuple[str, str] | None) -> Iterator[Prepared]:
    """Enough calls for so many seconds."""
    path, request, fastest = CALLS[call]
    credentials = None if key is None else Credentials.from_keys_file(*key)
    nonces, draw = WindowedNonceSource(), random.Random(1)
    messages = [request(draw) for _ in range(int((seconds + WARM_UP) * fastest))]
    if credentials is None:
        return iter(list(prepared(path, [({}, message) for message in messages])))
    now = int(time.time())
    signed = [
        (dict(sign_headers(credentials, path, message, timestamp=now, nonce=nonces.next())), message)
        for message in messages
    ]
    return iter(list(prepared(path, signed)))


def main(address: str, seconds: float, concurrency: int, call: str, key: tuple[str, str] | None) -> None:
    calls = ready_made(seconds, call, key)
    connection = Connection(address)
    warm = connection.run(calls, WARM_UP, concurrency)
    print(json.dumps({"warm": warm.calls}), flush=True)
    sys.stdin.readline()  # the measuring process has read the server's clock
    client = time.process_time()
    run = connection.run(calls, seconds, concurrency)
    client = time.process_time() - client
    connection.close()
    print(
        json.dumps(
            {
                "calls": run.calls,
                "total": warm.calls + run.calls,
                "seconds": run.seconds,
                "client_cpu": client / run.seconds,
                "p50_ms": 1000 * run.latencies[run.calls // 2],
                "p99_ms": 1000 * run.latencies[int(run.calls * 0.99)],
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    _, address_, seconds_, concurrency_, call_, *key_ = sys.argv
    main(address_, float(seconds_), int(concurrency_), call_, (key_[0], key_[1]) if key_ else None)
