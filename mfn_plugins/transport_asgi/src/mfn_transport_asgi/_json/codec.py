"""Messages as JSON, by the mapping of protobuf: https://protobuf.dev/programming-guides/json/.

Field names are read in both forms, `grid_size` and `gridSize`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from mfn_core.errors import FieldViolation, MfnError
from mfn_transport_asgi._json.order import sort_maps
from mfn_transport_asgi._json.refusal import REFUSALS, explained, misunderstood, shown

__all__ = ["content_to_protobuf", "json_to_protobuf", "protobuf_to_json", "read_json", "read_text"]

MAX_DEPTH = 100
"""Messages within messages."""


def json_to_protobuf(message_type: type[Message], body: bytes) -> bytes:
    """The encoded message that `body`, JSON in UTF-8, stands for.

    A field that the message does not have is refused: were it passed over, a misspelt parameter would be a default.

    Raises:
        MfnError: INVALID_ARGUMENT, with the fields at fault where they can be told.
    """
    return content_to_protobuf(message_type, read_json(body))


def read_json(body: bytes) -> Any:
    """What `body`, JSON in UTF-8, says.

    Raises:
        MfnError: INVALID_ARGUMENT: it is no JSON, or an object names a key twice.
    """
    try:
        return read_text(body.decode())
    except (ValueError, RecursionError) as wrong:
        text = f"the message of {len(body)} bytes is not valid JSON"
        if isinstance(wrong, json.JSONDecodeError):
            text += f": line {wrong.lineno}, column {wrong.colno}"
        elif type(wrong) is ValueError:  # the one thing that Python does not read and JSON allows
            digits = sys.get_int_max_str_digits()
            text = f"the message of {len(body)} bytes has an integer of more than {digits} digits; send a smaller one"
        raise MfnError.invalid([FieldViolation(field="", description=text)]) from wrong


def read_text(text: str) -> Any:
    """What JSON says.

    Raises:
        MfnError: INVALID_ARGUMENT: an object names a key twice.
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=_without_repetition)
    except _RepeatedKeyError as repeated:
        raise MfnError.invalid(
            [FieldViolation(field=shown(repeated.key), description="stands twice in one JSON object; keep one")]
        ) from None


def content_to_protobuf(message_type: type[Message], content: Any) -> bytes:
    """The encoded message that JSON stands for, once it is read.

    Raises:
        MfnError: as `json_to_protobuf`.
    """
    found = misunderstood(content, message_type)
    try:
        message = json_format.ParseDict(content, message_type(), max_recursion_depth=MAX_DEPTH)
    except REFUSALS as wrong:
        found = explained(content, message_type, besides=found)
        if not found:
            text = f"the message is not the JSON of a {message_type.DESCRIPTOR.full_name}"
            found = [FieldViolation(field="", description=text)]
        raise MfnError.invalid(found) from wrong
    if found:
        raise MfnError.invalid(found)
    encoded: bytes = message.SerializeToString()
    return encoded


def protobuf_to_json(message_type: type[Message], raw: bytes, *, plainly: bool = False) -> bytes:
    """An encoded message as JSON in UTF-8, on one line: the same text for the same message.

    Args:
        message_type: what `raw` is.
        raw: the encoded message.
        plainly: whether fields are named as in their definition, `grid_size`, and zeros are written out; else
            `gridSize`, and a zero is left out where it is what an absent field means.
    """
    content = json_format.MessageToDict(
        message_type.FromString(raw),
        preserving_proto_field_name=plainly,
        always_print_fields_with_no_presence=plainly,
    )
    sort_maps(content, message_type)
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class _RepeatedKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return found
