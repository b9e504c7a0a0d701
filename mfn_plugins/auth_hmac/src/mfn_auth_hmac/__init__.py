"""HMAC request authentication for MFN: scheme v2, with random and windowed nonces."""

from __future__ import annotations

from mfn_auth_hmac.authenticator import HmacAuthenticator, HmacSettings
from mfn_auth_hmac.replay import ReplayMemory, ReplayMemoryFull

__all__ = ["HmacAuthenticator", "HmacSettings", "ReplayMemory", "ReplayMemoryFull"]
