"""Checks a message against the rules that its .proto file states.

The rules are the bounds of the mathematics and of the contract. A server's own limits are not among them: it
adds violations of the same form.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from mfn_proto.customary import CUSTOMARY
from mfn_proto.defaults import UNSET

if TYPE_CHECKING:
    import protovalidate

__all__ = ["Violation", "prepare", "violations"]

_SHOWN_CHARACTERS = 40
_SHOWN_ITEMS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One field that breaks its rule."""

    field: str
    """Path from the message, in the names of its .proto file: `alpha`, `start.simulation.mycelium.alpha`, or
    the name of a oneof of which nothing is set. Empty: the message as a whole."""
    message: str
    """The value, the bound and the remedy, in one line of plain words, lower case, without the field's name.
    It quotes at most 40 characters or four items of what was sent."""
    rule_id: str
    """The rule, stable: `double.gt_lte`, `int32.gte`, `required`."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


_Collect = Callable[[Message], "list[protovalidate.Violation]"]

_lock = threading.Lock()
_collect: _Collect | None = None


def _collector() -> _Collect:
    global _collect  # one validator a process: it caches compiled rules
    with _lock:
        if _collect is None:
            from protovalidate import Validator  # 150 ms: not paid by who only imports this module

            _collect = Validator().collect_violations
        return _collect


def violations(message: Message) -> tuple[Violation, ...]:
    """Check one message.

    Called for every request, from any thread, several at once; takes 2 to 5 µs where nothing is wrong (bytes
    add their copy, 35 µs a MiB), 50 µs where something is. The first check of each type of message also
    compiles its rules, about 5 ms; `prepare` moves that to the start of a server.

    Args:
        message: any message made from google.protobuf; one without rules has no violations.

    Returns:
        one violation for each field at fault; empty: valid. An unset field with presence is valid; what it
        then means is in `mfn_proto.defaults`.

    Raises:
        TypeError: not a message.
    """
    if not isinstance(message, Message):
        raise TypeError(f"violations takes a protobuf message, not {type(message).__name__}")
    collect = _collect or _collector()
    found = collect(message)
    if not found:
        return ()
    root = cast("Descriptor", message.DESCRIPTOR)  # the C implementation's own class, of the same interface
    by_field: dict[str, Violation] = {}
    for each in found:
        described = _described(root, each)
        # NaN breaks a range and finiteness both; to say it once is enough.
        by_field.setdefault(described.field, described)
    return tuple(by_field.values())


def prepare(*types: type[Message]) -> None:
    """Build the validator and compile the rules of these messages, so that no call pays for it.

    Safe to do twice, and from any thread.
    """
    for each in types:
        violations(each())


def _described(root: Descriptor, found: protovalidate.Violation) -> Violation:
    proto = found.proto
    owner, leaf, last = root, None, ""
    names: list[str] = []
    for element in proto.field.elements if proto.field is not None else ():
        if leaf is not None and leaf.message_type is not None:
            owner = leaf.message_type
        last = element.field_name
        leaf = owner.fields_by_name.get(last)
        names.append(last if element.subscript is None else f"{last}[{element.subscript.value}]")
    if leaf is not None:
        text = _field_text(owner, leaf, found)
    elif last in owner.oneofs_by_name:
        choices = ", ".join(field.name for field in owner.oneofs_by_name[last].fields)
        text = f"nothing is set; set exactly one of {choices}"
    else:
        text = _message_text(proto.message)
    return Violation(field=".".join(names), message=text, rule_id=proto.rule_id)


def _message_text(bound: str) -> str:
    return f"{bound}; correct it and send the request again"


def _field_text(owner: Descriptor, leaf: FieldDescriptor, found: protovalidate.Violation) -> str:
    value, allowed, bound = found.field_value, found.rule_value, found.proto.message
    check = found.proto.rule_id.rpartition(".")[2]
    if isinstance(value, Message):
        return _message_text(bound)
    if leaf.enum_type is not None:
        numbers = allowed if check == "in" else leaf.enum_type.values_by_number
        choices = ", ".join(_enum_shown(leaf.enum_type, number) for number in numbers)
        return f"got {_enum_shown(leaf.enum_type, value)}, must be one of {choices}; send one of these"
    match check:
        case "max_bytes" | "max_len":
            return f"got {_size(value)} bytes, {bound}; shorten it"
        case "min_bytes" | "min_len":
            return f"got {_size(value)} bytes, {bound}; send at least that much"
        case "pattern":
            return f"got {_quoted(value)}, must match {allowed}; spell it so, or leave it empty"
        case "in":
            choices = ", ".join(ascii(each) for each in allowed)
            return f"got {_quoted(value)}, must be one of {choices}; send one of these"
        case "required":
            return "is not set and has no default; send a value"
        case "const":
            return f"got {str(value).lower()}, {bound}; send that, or leave it unset"
    if not isinstance(value, int | float):
        shown = list(value) if len(value) <= _SHOWN_ITEMS else f"{len(value)} items"
        return f"got {shown}, {_message_text(bound)}"
    remedy = "send a value within the bound"
    default = UNSET.get(owner.full_name, {}).get(leaf.name)
    if default is not None:
        remedy += ", or leave it unset"
        # Who fills in something else sends no unset field: on its way there the number would be wrong.
        if CUSTOMARY.get(owner.full_name, {}).get(leaf.name, default) == default:
            remedy += f" for {default:g}"
    return f"got {value!r}, {bound}; {remedy}"


def _size(value: str | bytes) -> int:
    return len(value.encode() if isinstance(value, str) else value)


def _quoted(value: str) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"


def _enum_shown(enum: EnumDescriptor, number: int) -> str:
    known = enum.values_by_number.get(number)
    return f"{known.name} ({number})" if known is not None else str(number)
