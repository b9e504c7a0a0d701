"""A scheduler with one worker in a process of its own, which a test may kill."""

from __future__ import annotations

import asyncio
import sys

import dask
from distributed import Scheduler, Security, Worker


async def main(port: int, directory: str, *certificates: str) -> None:
    """Listen on loopback, say on which address, and serve for ever."""
    security = None
    if certificates:
        ca, cert, key = certificates
        security = Security(
            require_encryption=True,
            tls_ca_file=ca,
            tls_scheduler_cert=cert,
            tls_scheduler_key=key,
            tls_worker_cert=cert,
            tls_worker_key=key,
        )
    protocol = "tls" if certificates else "tcp"
    dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})
    address = f"{protocol}://127.0.0.1:{port}"
    async with (
        Scheduler(host=address, dashboard=False, dashboard_address="127.0.0.1:0", security=security) as scheduler,
        Worker(scheduler.address, nthreads=1, local_directory=directory, security=security),
    ):
        print(scheduler.address, flush=True)
        await scheduler.finished()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
