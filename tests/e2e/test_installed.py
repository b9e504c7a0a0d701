"""The tests of this folder are made for the transports that are found: there must be one."""

from __future__ import annotations

from mfn_e2e.installed import TRANSPORTS


def test_at_least_one_transport_is_installed() -> None:
    assert TRANSPORTS
