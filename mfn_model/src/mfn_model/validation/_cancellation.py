"""A validation that was told to stop."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ValidationCancelledError", "cancellation_check"]


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
