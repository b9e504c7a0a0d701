"""The plugin `auth_hmac`."""

from __future__ import annotations

from collections.abc import Sequence

from mfn_auth_hmac.authenticator import HmacSettings, make_authenticator
from mfn_core import ComponentSpec, hookimpl

__all__ = ["mfn_authenticators"]


@hookimpl
def mfn_authenticators() -> Sequence[ComponentSpec]:
    """The authenticator `hmac`."""
    return [
        ComponentSpec(
            name="hmac",
            config=HmacSettings,
            factory=make_authenticator,
            summary="requests signed with HMAC-SHA256 (scheme v2): body, method, time and nonce",
            examples={"a keys file": '[auth.hmac]\nkeys_file = "keys.toml"\n'},
        )
    ]
