"""Memory that is reserved while a client uploads into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from mfn_core import Code, MfnError
from mfn_service._limits import Breach

__all__ = ["RETRY_AFTER_UPLOADS", "UploadBudget", "uploading"]

RETRY_AFTER_UPLOADS = 1.0
"""Seconds that a caller is asked to wait when other uploads take all the memory that uploads may take."""


class UploadBudget:
    """The memory that uploads may take together. Used from one event loop."""

    def __init__(self, capacity: int) -> None:
        """Allow `capacity` bytes."""
        self._capacity = capacity
        self.taken = 0
        """Bytes that uploads take now."""

    def beyond(self, path: str, size: int, remedy: str) -> Iterator[Breach]:
        """What keeps an upload of `size` bytes from being taken at any time."""
        if size > self._capacity:
            yield Breach(
                field=path,
                description=f"got an upload of {size} bytes, this server takes at most {self._capacity} "
                f"(services.mfn.upload_bytes); {remedy}",
                limit="upload_bytes",
            )

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Take `size` bytes for as long as the block runs.

        Raises:
            MfnError: RESOURCE_EXHAUSTED, when they are not free.
        """
        if self.taken + size > self._capacity:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"uploads take {self.taken} of {self._capacity} bytes and this one needs {size} "
                f"(services.mfn.upload_bytes); retry after {RETRY_AFTER_UPLOADS} s",
                retry_after=RETRY_AFTER_UPLOADS,
                details={"limit": "upload_bytes"},
            )
        self.taken += size
        try:
            yield
        finally:
            self.taken -= size


@asynccontextmanager
async def uploading(seconds: float) -> AsyncIterator[None]:
    """For as long as an upload may take.

    Raises:
        MfnError: DEADLINE_EXCEEDED, when it took longer.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise MfnError(
            Code.DEADLINE_EXCEEDED,
            f"the upload took longer than {seconds:g} s (services.mfn.upload_seconds); send it faster",
            details={"limit": "upload_seconds"},
        ) from None
