"""Rate, concurrency and compute limits for MFN: token buckets with named policies."""

from __future__ import annotations

from mfn_ratelimit.bucket import Buckets, Refusal
from mfn_ratelimit.limiter import TokenBucketLimiter
from mfn_ratelimit.settings import PolicySettings, TokenBucketSettings

__all__ = ["Buckets", "PolicySettings", "Refusal", "TokenBucketLimiter", "TokenBucketSettings"]
