"""The plugin `ratelimit`."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_core import ComponentSpec, hookimpl
from mfn_core.config import EnvironmentName
from mfn_core.config.environment import number, whole_number
from mfn_ratelimit.limiter import make_limiter
from mfn_ratelimit.settings import TokenBucketSettings

__all__ = ["mfn_limiters"]


@hookimpl
def mfn_limiters() -> Sequence[ComponentSpec]:
    """The limiter `token_bucket`."""
    return [
        ComponentSpec(
            name="token_bucket",
            config=TokenBucketSettings,
            factory=make_limiter,
            environment=(
                EnvironmentName(name="GRPC_RATE_LIMIT_RPS", setting=("rate",), convert=number),
                EnvironmentName(name="GRPC_RATE_LIMIT_CONCURRENT", setting=("concurrent",), convert=whole_number),
            ),
            summary="calls a second, calls in flight and compute of each principal, by named policies",
            examples={
                "a policy for one operation": (
                    "[limits.token_bucket.policies.training]\nrate = 2.0\nburst = 4\nconcurrent = 2\n\n"
                    "[limits.token_bucket.operations]\n"
                    '"/mfn.MFNValidationService/ValidatePattern" = "training"\n'
                )
            },
        )
    ]
