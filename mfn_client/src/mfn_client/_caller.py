"""What the modules of methods ask of the client that they become methods of."""

from __future__ import annotations

from typing import Protocol

from mfn_client._calls import SignedCalls

__all__ = ["Caller"]


class Caller(Protocol):
    """A client: methods are functions that take one first, so that each service has a module of its own."""

    _calls: SignedCalls
