"""Which request means which operation: the paths that google.api.http states, and `/package.Service/Method` for all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen
from google.api import annotations_pb2  # type: ignore[import-untyped] # its stubs come without py.typed
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor

from mfn_core.errors import FieldViolation, MfnError
from mfn_core.operation import Operation
from mfn_proto.customary import fill
from mfn_transport_asgi._json.codec import content_to_protobuf, read_json
from mfn_transport_asgi._json.refusal import shown
from mfn_transport_asgi._rest.query import add_variables, field_of, query_content
from mfn_transport_asgi._rest.template import Template

__all__ = ["Binding", "Routes", "method_of"]

_log = logging.getLogger(__name__)

WHOLE = "*"


@frozen(kw_only=True)
class Binding:
    """One way to call an operation."""

    operation: Operation
    verb: str
    """Method of HTTP, upper case."""
    template: Template
    body: str
    """`*`: the body is the request; empty: there is none, and the query says the request; otherwise the one field that
    the body is."""

    @property
    def descriptor(self) -> Descriptor:
        """Of the request message."""
        found: Descriptor = self.operation.request_type.DESCRIPTOR  # type: ignore[assignment] # the C twin of it
        return found

    def transcode(self, variables: Mapping[str, bytes], query: bytes) -> Callable[[bytes], bytes]:
        """What makes a protobuf message of a body, with what path and query add to it."""
        return partial(_transcoded, self, variables, query)


@frozen(kw_only=True)
class Match:
    """What a path means."""

    by_verb: Mapping[str, tuple[Binding, Mapping[str, bytes]]]
    """Each with the fields that the path says."""


class Routes:
    """The paths of a set of operations."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        """Find them in the operations' definitions. What cannot be served is logged and left out: every operation has
        its path of RPC all the same."""
        self._fixed: dict[bytes, dict[str, Binding]] = {}
        self._others: list[Binding] = []
        self.bindings: list[Binding] = []
        """All of them."""
        for operation in operations.values():
            self._add(Binding(operation=operation, verb="POST", template=Template(operation.path), body=WHOLE))
        for operation in operations.values():
            for binding in _stated(operation):
                self._add(binding)

    def find(self, path: bytes) -> Match | None:
        """What a path as it stands in the request means; None: nothing."""
        fixed = self._fixed.get(path)
        found: dict[str, tuple[Binding, Mapping[str, bytes]]] = {}
        for verb, binding in (fixed or {}).items():
            found[verb] = (binding, {})
        for binding in self._others if fixed is None else ():
            variables = binding.template.match(path)
            if variables is not None:
                found.setdefault(binding.verb, (binding, variables))
        return Match(by_verb=found) if found else None

    def _add(self, binding: Binding) -> None:
        if binding.template.fixed:
            taken = self._fixed.setdefault(binding.template.text.encode(), {}).setdefault(binding.verb, binding)
        else:
            same = (
                each
                for each in self._others
                if (each.verb, each.template.public) == (binding.verb, binding.template.public)
            )
            taken = next(same, binding)
            if taken is binding:
                self._others.append(binding)
        if taken is binding:
            self.bindings.append(binding)
        else:
            _log.error(
                "%s is not served as %s %s, which is %s already",
                *(binding.operation.path, binding.verb, binding.template.text, taken.operation.path),
            )


def method_of(operation: Operation) -> MethodDescriptor | None:
    """The definition of an operation; None where it has none in this process."""
    try:
        found: MethodDescriptor = descriptor_pool.Default().FindMethodByName(f"{operation.service}.{operation.method}")
    except KeyError:
        return None
    return found


def _stated(operation: Operation) -> Iterator[Binding]:
    method = method_of(operation)
    if method is None:
        return
    rule = method.GetOptions().Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        pattern = each.WhichOneof("pattern")
        if pattern is None:
            continue
        verb, path = (each.custom.kind, each.custom.path) if pattern == "custom" else (pattern, getattr(each, pattern))
        try:
            binding = Binding(operation=operation, verb=verb.upper(), template=Template(path), body=each.body)
            _check(binding, each)
        except ValueError as wrong:
            _log.error("%s is not served as %s %s: %s", operation.path, verb.upper(), path, wrong)
        else:
            yield binding


def _check(binding: Binding, rule: Any) -> None:
    descriptor = binding.descriptor
    if binding.body not in ("", WHOLE) and binding.body not in descriptor.fields_by_name:
        raise ValueError(f"its body is {binding.body!r}, which is no field of {descriptor.full_name}")
    if rule.response_body:
        raise ValueError("its reply is a part of the message, and whole messages are sent here")
    if binding.operation.shape.client_streams and binding.body != WHOLE:
        raise ValueError("its client streams, and only a body can be a stream")
    for name in binding.template.fields:
        inner: Descriptor | None = descriptor
        for step in name.split("."):
            field = None if inner is None else field_of(inner, step)
            if field is None or field.is_repeated:
                raise ValueError(f"{name!r} is no single field of {descriptor.full_name}")
            inner = field.message_type


def _transcoded(binding: Binding, variables: Mapping[str, bytes], query: bytes, body: bytes) -> bytes:
    descriptor = binding.descriptor
    if binding.body:
        _refuse_query(query)
        # No body at all is a request of which nothing is set.
        content = read_json(body) if body else {}
        if binding.body != WHOLE:
            content = {binding.body: content}
    else:
        content = query_content(query, descriptor)
    if isinstance(content, dict):
        add_variables(content, variables, descriptor)
        fill(descriptor.full_name, content)
    return content_to_protobuf(binding.operation.request_type, content)


def _refuse_query(query: bytes) -> None:
    names: Sequence[bytes] = [part.partition(b"=")[0] for part in query.split(b"&") if part]
    if names:
        name = shown(names[0].decode("ascii", "replace"))
        text = "stands in the query, which this path does not read; put it into the body"
        raise MfnError.invalid([FieldViolation(field=name, description=text)])
