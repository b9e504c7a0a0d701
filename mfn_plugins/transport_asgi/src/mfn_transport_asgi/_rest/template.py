"""Paths of google.api.http: fixed text, and fields of the request between braces.

https://github.com/googleapis/googleapis/blob/master/google/api/http.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

__all__ = ["Template"]

_TOKEN = re.compile(r"(\{[^{}]*\}|\*\*|\*)")
_VARIABLE = re.compile(r"\{([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)*)(?:=([^{}]+))?\}", re.IGNORECASE)
_LITERAL = re.compile(r"[A-Za-z0-9._~:/@!$&'()+,;=-]*")
_ESCAPED_SLASH = re.compile(rb"%2[fF]")


class Template:
    """One path, which a request's either fits or not."""

    __slots__ = ("_pattern", "_spanning", "fields", "public", "text")

    def __init__(self, text: str) -> None:
        """Read a path.

        Raises:
            ValueError: it is none.
        """
        if not text.startswith("/"):
            raise ValueError(f"path {text!r} does not begin with '/'")
        self.text = text
        names: list[str] = []
        spanning: list[bool] = []
        pattern = public = ""
        for token in _TOKEN.split(text):
            if token in ("*", "**"):
                pattern += _wildcard(token)
                public += token
            elif token.startswith("{"):
                match = _VARIABLE.fullmatch(token)
                if match is None:
                    raise ValueError(f"path {text!r} has {token!r}, which names no field")
                inner = match[2] or "*"
                names.append(match[1])
                spanning.append("/" in inner or "**" in inner)
                parts = [_wildcard(part) if part in ("*", "**") else re.escape(part) for part in _TOKEN.split(inner)]
                pattern += f"({''.join(parts)})"
                public += f"{{{match[1]}}}"
            elif _LITERAL.fullmatch(token) is not None:
                pattern += re.escape(token)
                public += token
            else:
                raise ValueError(f"path {text!r} has {token!r}, which no request can have")
        self.fields: Sequence[str] = tuple(names)
        """Fields of the request that the path says, in order."""
        self.public = public
        """As OpenAPI writes it: without the patterns of the fields."""
        self._spanning = spanning
        self._pattern = re.compile(pattern.encode())

    @property
    def fixed(self) -> bool:
        """Whether only one path fits."""
        return _TOKEN.search(self.text) is None

    def match(self, path: bytes) -> Mapping[str, bytes] | None:
        """The fields that a path says, percent-decoded; None: it does not fit."""
        found = self._pattern.fullmatch(path)
        if found is None:
            return None
        values = zip(self.fields, found.groups(), self._spanning, strict=True)
        return {name: _decoded(value, spanning) for name, value, spanning in values}


def _wildcard(token: str) -> str:
    return ".+" if token == "**" else "[^/]+"  # noqa: S105 - a part of a path


def _decoded(value: bytes, spanning: bool) -> bytes:
    """Of what spans several segments an escaped slash stays, so that it is not taken for one between them."""
    if not spanning:
        return unquote_to_bytes(value)
    slashes = _ESCAPED_SLASH.findall(value)
    parts = [unquote_to_bytes(part) for part in _ESCAPED_SLASH.split(value)]
    return b"".join(part + slash for part, slash in zip(parts, [*slashes, b""], strict=True))
