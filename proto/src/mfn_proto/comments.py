"""What the .proto files say of each name, for whoever describes the operations at run time.

Generated code has no comments, so `generate.py` writes them into `comments.json`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

__all__ = ["comments"]


@cache
def comments() -> Mapping[str, str]:
    """Full name of a service, method, message, field, enum or enum value to the comment before it, its lines joined
    and its paragraphs apart. Of a value of an enum the full name holds the enum's."""
    found = json.loads(files("mfn_proto").joinpath("comments.json").read_text("utf-8"))
    return MappingProxyType(found)
