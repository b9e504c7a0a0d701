"""A plugin whose hook does not exist."""

from __future__ import annotations

from mfn_core import ComponentSpec, hookimpl

__all__ = ["mfn_limitters"]


@hookimpl
def mfn_limitters() -> list[ComponentSpec]:
    """What the author meant is `mfn_limiters`."""
    return []
