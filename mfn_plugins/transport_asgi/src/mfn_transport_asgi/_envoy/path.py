"""Which paths Envoy passes on: those that decode as UTF-8.

Python's side of Envoy decodes the path before it calls the application, and never answers a request where that fails.
So Envoy answers such a request itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DECODABLE", "REFUSED", "refuse_undecodable"]

_HEX = "[0-9A-Fa-f]"
_TAIL = f"%[89ABab]{_HEX}"
_ESCAPED = "|".join(
    (
        f"%[0-7]{_HEX}",
        f"%[Cc][2-9A-Fa-f]{_TAIL}",
        f"%[Dd]{_HEX}{_TAIL}",
        f"%[Ee]0%[ABab]{_HEX}{_TAIL}",
        f"%[Ee][1-9A-CEFa-cef](?:{_TAIL}){{2}}",
        f"%[Ee][Dd]%[89]{_HEX}{_TAIL}",  # not the surrogates
        f"%[Ff]0%[9ABab]{_HEX}(?:{_TAIL}){{2}}",
        f"%[Ff][1-3](?:{_TAIL}){{3}}",
        f"%[Ff]4%8{_HEX}(?:{_TAIL}){{2}}",
    )
)
"""The bytes of one character, all of them percent-encoded (RFC 3629, section 4)."""
_BARE = f"(?:%{_HEX}?)"
"""A percent sign that begins no escape, where anything but a further digit is behind it: it stands for itself."""

DECODABLE = rf"(?:[^%?]|{_ESCAPED}|{_BARE}+(?:[^%?0-9A-Fa-f]|{_ESCAPED}))*{_BARE}*(?:\?.*)?"
"""What the whole of `:path` is, in the syntax of RE2."""

REFUSED = "the path of a request is UTF-8, percent-encoded"
"""What is answered to any other, with the status 400."""

_TYPES = "type.googleapis.com/"


def refuse_undecodable() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """A filter for Envoy's HTTP, and the configuration of its local replies that gives the filter's their text."""
    matcher = {"name": ":path", "string_match": {"safe_regex": {"regex": DECODABLE}}, "invert_match": True}
    found = {
        "name": "envoy.filters.http.fault",
        "typed_config": {
            "@type": _TYPES + "envoy.extensions.filters.http.fault.v3.HTTPFault",
            "abort": {"http_status": 400, "percentage": {"numerator": 100, "denominator": "HUNDRED"}},
            "headers": [matcher],
        },
    }
    mapper = {"filter": {"response_flag_filter": {"flags": ["FI"]}}, "body": {"inline_string": REFUSED}}
    return found, {"mappers": [mapper]}
