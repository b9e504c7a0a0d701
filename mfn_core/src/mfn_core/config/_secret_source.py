"""Where the text of a secret comes from. No message here shows the text."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mfn_core.config._rejection import Rejected, at_key, refuse, wrong_type
from mfn_core.config._secret import Secret

__all__ = ["read_secret"]

MAX_SECRET_BYTES = 1 << 16
"""Largest file that a secret is read from."""


def read_secret(value: Any, resolve: Callable[[Any], Path]) -> Secret:
    """The secret that a string holds, or that `{file = "path"}` or `{env = "NAME"}` names.

    Raises:
        Rejected: it is of no such form, cannot be read, is empty, or others may read its file.
    """
    forms = 'write a string, {file = "path"} or {env = "NAME"}'
    if isinstance(value, str):
        text = value
    elif isinstance(value, Mapping) and value.keys() == {"file"}:
        try:
            path = resolve(value["file"])
        except Rejected as rejected:
            raise Rejected(at_key("file", rejected.problems)) from None
        text = _secret_file(path)
    elif isinstance(value, Mapping) and value.keys() == {"env"}:
        name = value["env"]
        if not isinstance(name, str):
            raise Rejected(at_key("env", wrong_type("a string", name).problems))
        if name not in os.environ:
            raise refuse(f"the environment has no variable {name!r}", "set it where the server is started")
        text = os.environ[name]
    elif isinstance(value, Mapping):
        raise refuse(f"a secret cannot be a table with the keys {sorted(map(str, value))}", forms)
    else:
        raise refuse(f"a secret cannot be of type {type(value).__name__}", forms)
    if not text:
        raise refuse("the secret is empty")
    return Secret(text)


def _secret_file(path: Path) -> str:
    """The text of the file without the newline at its end; checked on what was opened, not on what its name was."""
    try:
        # O_NONBLOCK: a named pipe must be refused, not waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as failed:
        raise refuse(f"{path} cannot be read: {failed.strerror or failed}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise refuse(f"{path} is not a file")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise refuse(f"{path} has mode {mode:04o}, so that others than its owner may read it", f"chmod 600 {path}")
        with open(descriptor, "rb", closefd=False) as file:
            raw = file.read(MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(raw) > MAX_SECRET_BYTES:
        raise refuse(f"{path} is larger than {MAX_SECRET_BYTES} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise refuse(f"{path} is not UTF-8") from None
    return text.removesuffix("\n").removesuffix("\r")
