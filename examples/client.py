"""Call a server: one call with one reply, one stream, and a field in NumPy.

    python examples/client.py 127.0.0.1:50051 --keys keys.toml --key-id local

`mfn serve` without a configuration says where it wrote such a key.
"""

# ruff: noqa: T201 - a program that prints
from __future__ import annotations

import argparse
import asyncio
import sys

from mfn_client import Credentials, MFNClient, MfnRpcError


async def call(target: str, credentials: Credentials, alpha: float) -> None:
    """Print what the server computes."""
    async with MFNClient(target, credentials=credentials) as client:
        features = await client.extract_features(seed=42, grid_size=64, steps=64, alpha=alpha)
        print(f"mean {features.pot_mean_mv:.4f} mV, {features.growth_events} growth events")

        async for frame in client.stream_features(total_steps=100, steps_per_frame=10, alpha=alpha):
            print(f"step {frame.step:3d}: {frame.pot_min_mv:.3f} to {frame.pot_max_mv:.3f} mV")

        async for snapshot in client.simulate(steps=100, every_n_steps=100, alpha=alpha, field="float64"):
            if snapshot.field is not None:
                row, column = divmod(int(snapshot.field.argmax()), snapshot.field.shape[1])
                print(f"highest at row {row}, column {column} after {snapshot.step} steps")


def main() -> int:
    """Read the arguments; the exit status."""
    parser = argparse.ArgumentParser(description="Call an MFN server.")
    parser.add_argument("target", help="host:port, such as 127.0.0.1:50051")
    parser.add_argument("--keys", required=True, help="keys file (TOML, mode 0600)")
    parser.add_argument("--key-id", required=True, help="id of the key to sign with")
    parser.add_argument("--alpha", type=float, default=0.18, help="diffusion coefficient, up to 0.25")
    arguments = parser.parse_args()
    try:
        credentials = Credentials.from_keys_file(arguments.keys, arguments.key_id)
        asyncio.run(call(arguments.target, credentials, arguments.alpha))
    except (MfnRpcError, ValueError) as failed:
        print(failed, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
