"""The `[limits.token_bucket]` table."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mfn_core import setting
from mfn_core.config import at_least, between

__all__ = ["PolicySettings", "TokenBucketSettings"]

LARGEST = 1e15


@frozen(kw_only=True)
class PolicySettings:
    """One named policy: what a principal may use."""

    rate: float = setting(
        default=1000.0, help="calls a second", unit="calls a second", validator=between(0.001, LARGEST)
    )
    burst: int = setting(default=1000, help="calls at once after a pause", unit="calls", validator=between(1, 10**12))
    concurrent: int = setting(
        default=50, help="calls in flight, streams included; 0 does not limit", unit="calls", validator=at_least(0)
    )
    cell_steps_per_second: float = setting(
        default=0.0,
        help="compute a second, charged after validation; 0 does not limit",
        unit="cell-steps a second",
        validator=between(0.0, LARGEST),
    )
    cell_steps_burst: float = setting(
        default=1e9,
        help="compute at once after a pause; a larger call waits for a full bucket, and then for its refill",
        unit="cell-steps",
        validator=between(1.0, LARGEST),
    )


@frozen(kw_only=True)
class TokenBucketSettings(PolicySettings):
    """The table: the default policy itself, and named ones for some principals and operations."""

    policies: Mapping[str, PolicySettings] = setting(factory=dict, help="named policies, a table each")
    principals: Mapping[str, str] = setting(
        factory=dict, help="principal to the name of the policy that it has in place of the default one"
    )
    operations: Mapping[str, str] = setting(
        factory=dict,
        help="path of an operation to the name of a policy that holds for it, for each principal, beside the other",
    )
    max_bytes: int = setting(
        default=67_108_864,
        help="memory for buckets; beyond it those used least recently are forgotten",
        unit="bytes",
        validator=between(65_536, 2**40),
    )
