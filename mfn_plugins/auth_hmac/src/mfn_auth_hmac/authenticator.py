"""The authenticator: five headers against the keys file, the clock and the replay memory."""

from __future__ import annotations

import secrets
import shlex
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from mfn_auth_hmac.keysfile import KeysFile
from mfn_auth_hmac.legacy import LegacyAuthenticator, load_legacy_keys
from mfn_auth_hmac.replay import ReplayMemory, ReplayMemoryFull
from mfn_core import Call, Code, ComponentContext, Metadata, MfnError, Principal, setting, unauthenticated
from mfn_core.config import ConfigError, Problem, between, join_path
from mfn_signing import (
    ACTIVE,
    HEADERS,
    STREAM,
    TIMESTAMP_WINDOW_SECONDS,
    Key,
    KeysFileError,
    MalformedError,
    content_hash,
    parse_nonce,
    parse_timestamp,
    verify_signature,
)

__all__ = ["HmacAuthenticator", "HmacSettings", "make_authenticator"]

METHOD = "hmac"
"""Of the principals of scheme v2."""
BEFORE_START_SECONDS = 2
"""How much older than the server's start a timestamp may be: the nonces of earlier calls are not remembered."""


@frozen(kw_only=True)
class HmacSettings:
    """The `[auth.hmac]` table."""

    keys_file: Path = setting(default=Path("keys.toml"), help="keys file, mode 0600; `mfn keys new` adds a key to it")
    replay_capacity: int = setting(
        default=1_000_000,
        help="nonces that are remembered: random ones each, windowed ones one for each client; about 300 bytes each",
        unit="entries",
        validator=between(1, 100_000_000),
    )
    v1_keys_file: Path | None = setting(
        default=None,
        help="keys of the older scheme v1, by their hashes; naming it turns that scheme on, which signs no body",
    )


class HmacAuthenticator:
    """Scheme v2. Every check that fails ends in the one opaque text; which one it was goes to the audit alone."""

    def __init__(
        self,
        keys: Iterable[Key],
        *,
        replay_capacity: int = 1_000_000,
        clock: Callable[[], float] = time.time,
        keys_file: KeysFile | None = None,
        legacy: LegacyAuthenticator | None = None,
    ) -> None:
        """Accept calls signed with one of `keys`; `clock` gives Unix seconds.

        With `keys_file`, from `start` to `stop` the keys are replaced whenever that file changes. With `legacy`, a
        call that has no header of this scheme may still be one of scheme v1.
        """
        self.replace_keys(keys)
        self._keys_file = keys_file
        self._legacy = legacy
        self._memory = ReplayMemory(replay_capacity)
        self._clock = clock
        self._started = clock()
        # What an unknown key id is verified under, so that it takes as long as a known one.
        self._nobody = secrets.token_bytes(32)

    @property
    def remembered(self) -> int:
        """Entries in the replay memory."""
        return len(self._memory)

    def replace_keys(self, keys: Iterable[Key]) -> None:
        """Accept these keys and no other from now on."""
        self._keys = {key.id: key for key in keys}
        self._principals = {
            key.id: Principal(name=key.principal, roles=key.roles, key_id=key.id, method=METHOD)
            for key in self._keys.values()
        }

    async def start(self) -> None:
        """Watch the keys file."""
        if self._keys_file is not None:
            await self._keys_file.watch(self.replace_keys)

    async def stop(self) -> None:
        """Watch it no longer."""
        if self._keys_file is not None:
            await self._keys_file.close()

    async def authenticate(self, call: Call) -> Principal | None:
        """Prove who calls; None when the call has none of the scheme's headers."""
        headers = _headers(call.metadata)
        if headers is None:
            return None if self._legacy is None else await self._legacy.authenticate(call)
        key_id, sent, nonce, content, signature = headers
        call.key_id = key_id[:64]
        key = self._keys.get(key_id)
        secret = self._nobody if key is None else key.secret
        verified = verify_signature(secret, call.signed_path, sent, nonce, content, signature)
        now = self._clock()
        if key is None:
            raise unauthenticated("unknown key id")
        if not verified:
            raise unauthenticated(_why_not_verified(sent, nonce))
        self._check_key(key, now)
        timestamp = int(sent)  # what verified has its form
        self._check_time(timestamp, now)
        _check_content(call, content)
        self._check_nonce(key_id, nonce, timestamp, now)
        return self._principals[key_id]

    def still_vouches(self, principal: Principal) -> bool:
        """Whether the key still stands for that principal and may be used now.

        Keys of scheme v1 stand as long as the server does.
        """
        if principal.method != METHOD:
            return True
        key = self._keys.get(principal.key_id or "")
        if key is None or self._principals[key.id] != principal:
            return False
        return key.usable_at(datetime.fromtimestamp(self._clock(), UTC))

    def _check_key(self, key: Key, now: float) -> None:
        if key.status != ACTIVE:
            raise unauthenticated(f"key is {key.status}")
        if key.not_before is None and key.not_after is None:
            return
        if not key.usable_at(datetime.fromtimestamp(now, UTC)):
            raise unauthenticated("key is used before its not_before or after its not_after")

    def _check_time(self, timestamp: int, now: float) -> None:
        if abs(now - timestamp) > TIMESTAMP_WINDOW_SECONDS:
            raise unauthenticated(
                f"timestamp is {now - timestamp:+.0f} s from the server's clock, "
                f"{TIMESTAMP_WINDOW_SECONDS} s at most either way"
            )
        if timestamp < self._started - BEFORE_START_SECONDS:
            raise unauthenticated(
                f"timestamp is {self._started - timestamp:.0f} s older than this server, "
                "which does not remember the nonces of that time"
            )

    def _check_nonce(self, key_id: str, nonce: str, timestamp: int, now: float) -> None:
        try:
            fresh = self._memory.remember(key_id, nonce, timestamp, now)
        except ReplayMemoryFull as full:
            raise MfnError(
                Code.RESOURCE_EXHAUSTED,
                f"the server cannot remember more calls now; retry after {full.retry_after:.0f} s",
                reason=str(full),
                retry_after=full.retry_after,
                details={"limit": "replay_capacity"},
            ) from full
        if not fresh:
            raise unauthenticated("nonce was used before, or its counter is older than the window")


def make_authenticator(settings: HmacSettings, context: ComponentContext) -> HmacAuthenticator:
    """The factory of the component.

    Raises:
        ConfigError: the keys file cannot be used; names every problem in it.
        ValueError, OSError: nor can that of scheme v1.
    """
    keys_file = KeysFile(settings.keys_file, context.log)
    path = join_path(join_path("auth", context.name), "keys_file")
    try:
        keys = keys_file.load()
    except KeysFileError as wrong:
        # Where there is no file yet, one key makes it.
        remedy = "" if settings.keys_file.exists() else _make_a_key(settings.keys_file)
        messages = [f"{wrong.source}: {problem}" for problem in wrong.problems]
        raise ConfigError([Problem(path=path, message=each, remedy=remedy) for each in messages]) from wrong
    if not keys:
        message = f"{settings.keys_file} holds no key, so that no call could be made"
        raise ConfigError([Problem(path=path, message=message, remedy=_make_a_key(settings.keys_file))])
    legacy: LegacyAuthenticator | None = None
    if settings.v1_keys_file is not None:
        legacy = LegacyAuthenticator(load_legacy_keys(settings.v1_keys_file))
        context.log.warning("scheme v1 is on: its keys travel in the clear, and it signs neither method nor body")
    return HmacAuthenticator(keys, replay_capacity=settings.replay_capacity, keys_file=keys_file, legacy=legacy)


def _make_a_key(path: Path) -> str:
    return f"run: mfn keys new -f {shlex.quote(str(path))} --principal NAME"


def _headers(metadata: Metadata) -> list[str] | None:
    """The five headers in the order of `HEADERS`, each exactly once; None when there is none of them."""
    found = metadata.get_first(HEADERS)
    if None in found:
        if not any(metadata.get_all(name) for name in HEADERS):
            return None
        names = ", ".join(name for name, value in zip(HEADERS, found, strict=True) if value is None)
        raise unauthenticated(f"missing header: {names}")
    if metadata.repeats:
        for name in HEADERS:
            if len(metadata.get_all(name)) > 1:
                raise unauthenticated(f"header {name} stands twice")
    return found  # type: ignore[return-value]  # no None is left in it


def _why_not_verified(timestamp: str, nonce: str) -> str:
    """The malformed part, or that the signature is another one."""
    try:
        parse_timestamp(timestamp)
        parse_nonce(nonce)
    except MalformedError as wrong:
        return str(wrong)
    return "signature does not match: another secret, method, timestamp, nonce or content hash"


def _check_content(call: Call, claimed: str) -> None:
    if call.operation.shape.client_streams:
        if claimed != STREAM:
            raise unauthenticated(f"content hash of an operation whose client streams must be {STREAM}")
        if not call.peer.encrypted and not call.peer.is_local:
            raise unauthenticated("what a client streams is not signed, and this connection is not encrypted")
        return
    raw = b"" if call.request is None else call.request.raw
    if claimed != content_hash(raw):
        raise unauthenticated("content hash does not match the request message")
