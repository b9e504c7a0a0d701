"""What every gRPC transport shares: health and reflection, as operations of the one call path."""

from __future__ import annotations

from mfn_grpc.health import HEALTH, HealthService
from mfn_grpc.reflection import REFLECTION, REFLECTION_HELP, ReflectionMode, ReflectionService, with_reflection

__all__ = [
    "HEALTH",
    "REFLECTION",
    "REFLECTION_HELP",
    "HealthService",
    "ReflectionMode",
    "ReflectionService",
    "with_reflection",
]
