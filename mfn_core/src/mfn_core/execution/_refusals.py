"""Why a job is not taken: the queue is full, or the server goes down."""

from __future__ import annotations

from mfn_core.errors import Code, MfnError

__all__ = ["RETRY_AFTER", "queue_full", "shutting_down"]

RETRY_AFTER = (0.05, 5.0)
"""Bounds of the time, in seconds, after which a refused caller is asked to come back."""


def queue_full(capacity: int, expected_wait: float) -> MfnError:
    """RESOURCE_EXHAUSTED for a job that finds `capacity` others, which will be done after so many seconds."""
    least, most = RETRY_AFTER
    retry_after = min(max(expected_wait, least), most)
    return MfnError(
        Code.RESOURCE_EXHAUSTED,
        f"the compute queue is full ({capacity} jobs); retry after {retry_after:.2f} s",
        retry_after=retry_after,
        details={"limit": "compute_queue"},
    )


def shutting_down() -> MfnError:
    """UNAVAILABLE for a job that comes after the threads were told to stop, or still waits then."""
    return MfnError(Code.UNAVAILABLE, "the server is shutting down; retry with another one")
