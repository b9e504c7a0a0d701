"""A validation that was told to stop."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

__all__ = ["ValidationCancelledError", "cancellation_check", "completed"]

Y = TypeVar("Y")
R = TypeVar("R")


class ValidationCancelledError(RuntimeError):
    """The caller's `cancelled` was true; there is no result."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        """What was about to begin, or under way."""
        super().__init__(f"the validation was cancelled at {stage}")

    def __reduce__(self) -> tuple[object, ...]:
        return ValidationCancelledError, (self.stage,)


def cancellation_check(cancelled: Callable[[], bool] | None, stage: str) -> Callable[[], None]:
    """What raises `ValidationCancelledError` with this stage when it is called while `cancelled` is true."""

    def check() -> None:
        if cancelled is not None and cancelled():
            raise ValidationCancelledError(stage)

    return check


def completed(pieces: Generator[Y, None, R], before: Callable[[Y], None]) -> R:
    """What a computation in pieces returns; `before` is called with what it yields before each, and may raise."""
    while True:
        try:
            announced = next(pieces)
        except StopIteration as done:
            result: R = done.value
            return result
        before(announced)
