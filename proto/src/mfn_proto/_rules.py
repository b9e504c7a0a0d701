"""Puts the definitions of the validation rules, once, into this process's pool of descriptors.

The generated modules import this module before they register themselves. Their files import
`buf/validate/validate.proto`, and the pool takes one content for each file name: a second, different one is a
TypeError at import. Others in the same process may bring their own copy, so that the first of these is used:

1. the file that is in the pool already, whoever put it there;
2. `buf.validate.validate_pb2`, where somebody installed it, so that importing it later finds itself;
3. the copy that this distribution carries under `mfn_proto.third_party`.

Which one it is does not change what is valid: protovalidate reads the rules by a schema of its own.
"""

from __future__ import annotations

import contextlib
import importlib

from google.protobuf import descriptor_pool
from google.protobuf.runtime_version import VersionError

__all__: list[str] = []

_FILE = "buf/validate/validate.proto"


def _in_pool() -> bool:
    try:
        descriptor_pool.Default().FindFileByName(_FILE)
    except KeyError:
        return False
    return True


def _register() -> None:
    if _in_pool():
        return
    # Not installed, or made for a protobuf that is newer than this one and so of no use to anybody here.
    with contextlib.suppress(ImportError, VersionError):
        importlib.import_module("buf.validate.validate_pb2")
    if not _in_pool():
        importlib.import_module("mfn_proto.third_party.buf.validate.validate_pb2")


_register()
