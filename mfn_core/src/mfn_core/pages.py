"""What a component lets people and machines read over HTTP beside the calls, such as the metrics of a telemetry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, runtime_checkable

import attrs
from attrs import field, frozen

__all__ = ["Page", "SupportsPages"]


@frozen(kw_only=True)
class Page:
    """Something that is read with GET. It is no call: nothing authenticates, limits or records it.

    So it holds nothing that only some may know; a component offers one because its configuration says so.
    """

    path: str = field(validator=attrs.validators.matches_re(r"/[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*"))
    """Where it stands: `/metrics`. A path that a transport has a page of its own for is not given away."""
    content_type: str
    read: Callable[[], Awaitable[bytes]]
    """Makes the content, on the event loop, for each request; must not take long."""


@runtime_checkable
class SupportsPages(Protocol):
    """A component of any kind that has pages. Transports that speak HTTP serve them."""

    @property
    def pages(self) -> Sequence[Page]:
        """Read once, at assembly, when every factory has run."""
        ...
