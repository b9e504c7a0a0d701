"""The token between the processes of one server: drawn by one worker, read by the others and by the supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
import time
from pathlib import Path

from attrs import field, frozen

__all__ = ["PREFIX", "Token", "TokenFile"]

PREFIX = "mfnl_"
"""What every token begins with, so that no other kind of bearer token is taken for one."""
RANDOM_BYTES = 32
LONGEST = 4096


@frozen(kw_only=True)
class Token:
    """A token and the time of its life."""

    text: str = field(repr=False)
    expires: float
    """Unix seconds."""


class TokenFile:
    """One file, of mode 0600. What stands in it belongs to the server of one supervisor process."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def obtain(self, *, owner: int, valid_seconds: float) -> Token:
        """The token of the server whose supervisor is the process `owner`; drawn unless another worker of it has.

        Raises:
            OSError: the file cannot be written, or is not this user's alone.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._check(os.fstat(file.fileno()))
            found = _parsed(file.read(LONGEST), owner)
            if found is not None:
                return found
            token = Token(text=PREFIX + secrets.token_urlsafe(RANDOM_BYTES), expires=time.time() + valid_seconds)
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"owner": owner, "token": token.text, "expires": token.expires}).encode())
            return token

    def read(self, *, owner: int) -> Token | None:
        """The token, for the supervisor itself; None where there is none."""
        try:
            with self.path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                return _parsed(file.read(LONGEST), owner)
        except OSError:
            return None

    def remove(self) -> None:
        """Revoke: a server that starts later draws another one."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()

    def _check(self, found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(
                f"{self.path} holds the token of the live page and can be read by others (mode "
                f"{stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}); remove it"
            )


def _parsed(raw: bytes, owner: int) -> Token | None:
    try:
        content = json.loads(raw)
        token = Token(text=str(content["token"]), expires=float(content["expires"]))
        return token if content["owner"] == owner and token.expires > time.time() else None
    except (ValueError, KeyError, TypeError):
        return None  # empty, or left half-written by a process that was killed
