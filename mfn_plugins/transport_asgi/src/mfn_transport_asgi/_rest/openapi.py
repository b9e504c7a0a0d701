"""The description of the operations as OpenAPI 3.1, made from their definitions: https://spec.openapis.org/oas/v3.1.1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from types import MappingProxyType
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from mfn_core.errors import Code
from mfn_proto.comments import comments
from mfn_proto.customary import EXAMPLES
from mfn_signing import HEADERS
from mfn_transport_asgi._rest.openapi_schema import REFERENCE, Schemas
from mfn_transport_asgi._rest.problem import PROBLEM_TYPE, STATUSES
from mfn_transport_asgi._rest.query import map_value
from mfn_transport_asgi._rest.routes import Binding, method_of
from mfn_transport_asgi._rest.stream import EVENTS, LINES

__all__ = ["describe"]

DEEPEST_QUERY = 4
"""Messages within messages whose fields are parameters of a query."""

_PROBLEM = "Problem"
_ABOUT = """\
Reaction-diffusion fields that grow like mycelium: simulated, measured, steered.

Every operation is at `POST /package.Service/Method` too. Fields are named as below, and in lowerCamelCase; one that
does not exist is refused. What a request leaves out is the default that stands at the field. An operation that streams
replies with lines of JSON, or with server-sent events where `accept` asks for `text/event-stream`: numbered, and
`end` or `error` at last. One whose client streams takes lines of JSON. Failures are problem details (RFC 9457). A reply
that takes longer than `prefer: wait=SECONDS` allows is given up.
"""
_OF_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "x-mfn-key-id": "Id of the key that signs.",
        "x-mfn-timestamp": "Unix seconds.",
        "x-mfn-nonce": "16 to 64 characters of `[A-Za-z0-9_-]`, never used twice with the key.",
        "x-mfn-content-sha256": "SHA-256 of the body, lower-case hex; `STREAM` where the client streams.",
        "x-mfn-signature": (
            "HMAC-SHA256, lower-case hex, over `MFN2-HMAC-SHA256`, `METHOD SP path?query`, timestamp, nonce and "
            "content hash, each on a line of its own; `mfn sign` prints all five headers."
        ),
    }
)
_REPLIES: Mapping[int, str] = MappingProxyType(
    {
        405: "The path does not take this method of HTTP.",
        406: "The reply has no form that `accept` takes.",
        408: "The body did not arrive in time.",
        413: "The body, or a line of it, is too large.",
        415: "The body is not in JSON, or not in UTF-8.",
    }
)


def describe(bindings: Sequence[Binding]) -> bytes:
    """The document, as JSON in UTF-8."""
    schemas = Schemas(comments())
    for binding in bindings:
        schemas.of_message(binding.descriptor, closed=True)
    paths: dict[str, dict[str, Any]] = {}
    for binding in _ordered(bindings):
        paths.setdefault(binding.template.public, {})[binding.verb.lower()] = _operation(binding, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "MFN",
            "version": version("mfn-core"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": name, "description": schemas.comment(name)}
            for name in dict.fromkeys(binding.operation.service for binding in bindings)
        ],
        "paths": {**paths, **_pages()},
        "components": {
            "schemas": {**schemas.components, _PROBLEM: _problem_schema()},
            "securitySchemes": _security_schemes(),
            "responses": dict(_responses()),
            "parameters": _parameters(),
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _ordered(bindings: Iterable[Binding]) -> list[Binding]:
    """The paths that were chosen for people come first."""
    return sorted(bindings, key=lambda binding: binding.template.text == binding.operation.path)


def _operation(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    operation = binding.operation
    name = f"{operation.service}.{operation.method}"
    comment = schemas.comment(name)
    suffix = "" if binding.template.text == operation.path else f":{binding.verb.lower()}"
    parameters: list[dict[str, Any]] = [
        {"$ref": "#/components/parameters/RequestId"},
        {"$ref": "#/components/parameters/Prefer"},
        *_path_parameters(binding, schemas),
    ]
    if not binding.body:
        parameters += _query_parameters(binding.descriptor, schemas, binding.template.fields, "", 0)
    described: dict[str, Any] = {
        "operationId": name + suffix,
        "tags": [operation.service],
        "summary": comment.partition(". ")[0].rstrip(".") or operation.method,
        "description": comment,
        "parameters": parameters,
        "responses": {"200": _reply(binding, schemas), **{str(status): _ref(status) for status in _statuses()}},
        "x-mfn-shape": operation.shape.label,
    }
    if binding.body:
        described["requestBody"] = _body(binding, schemas)
    if method_of(operation) is None:
        described["description"] = "Its definition is not known to this server."
    if operation.public:
        described["security"] = []
    else:
        described["security"] = [{name: [] for name in HEADERS}, {"bearer": []}]
    return described


def _body(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    descriptor = binding.descriptor
    schema = schemas.of_message(descriptor, closed=True)
    if binding.body != "*":
        schema = schemas.of_field(descriptor.fields_by_name[binding.body], closed=True)
    if binding.operation.shape.client_streams:
        content = {LINES.decode(): {"schema": {"type": "string"}, "x-mfn-line": schema}}
        return {"required": True, "description": "A JSON value on each line.", "content": content}
    media: dict[str, Any] = {"schema": schema}
    example = EXAMPLES.get(descriptor.full_name)
    if example is not None and binding.body == "*":
        media["example"] = dict(example)
    return {"required": False, "content": {"application/json": media}}


def _reply(binding: Binding, schemas: Schemas) -> dict[str, Any]:
    operation = binding.operation
    descriptor: Descriptor = operation.response_type.DESCRIPTOR  # type: ignore[assignment] # the C twin of it
    schema = schemas.of_message(descriptor, closed=False)
    headers = {"X-Request-ID": {"description": "The request's, or one that was made for it.", "schema": _TEXT}}
    if not operation.shape.server_streams:
        return {"description": "The reply.", "headers": headers, "content": {"application/json": {"schema": schema}}}
    content = {media.decode(): {"schema": {"type": "string"}, "x-mfn-line": schema} for media in (LINES, EVENTS)}
    return {"description": "The replies, one after the other.", "headers": headers, "content": content}


def _path_parameters(binding: Binding, schemas: Schemas) -> Iterator[dict[str, Any]]:
    example = EXAMPLES.get(binding.descriptor.full_name, {})
    for name in binding.template.fields:
        owner: Descriptor | None = binding.descriptor
        field: FieldDescriptor | None = None
        for step in name.split("."):
            field = None if owner is None else owner.fields_by_name[step]
            owner = None if field is None else field.message_type
        if field is not None:
            found = {"name": name, "in": "path", "required": True, **_described(field, schemas)}
            yield {**found, "example": example[name]} if name in example else found


def _query_parameters(
    descriptor: Descriptor, schemas: Schemas, taken: Sequence[str], prefix: str, depth: int
) -> Iterator[dict[str, Any]]:
    for field in descriptor.fields:
        name = prefix + field.name
        if name in taken:
            continue
        parameter = {"name": name, "in": "query", **_described(field, schemas)}
        if map_value(field) is not None:
            yield {**parameter, "style": "deepObject", "explode": True}
        elif field.message_type is None or field.message_type.full_name.startswith("google.protobuf."):
            yield parameter
        elif not field.is_repeated and depth < DEEPEST_QUERY:
            yield from _query_parameters(field.message_type, schemas, taken, f"{name}.", depth + 1)


def _described(field: FieldDescriptor, schemas: Schemas) -> dict[str, Any]:
    schema = schemas.of_field(field, closed=True)
    return {"description": schema.pop("description", ""), "schema": schema}


_TEXT = {"type": "string"}


def _statuses() -> list[int]:
    own = {status.number for code, status in STATUSES.items() if code is not Code.OK}
    return sorted(own | set(_REPLIES))


def _ref(status: int) -> dict[str, str]:
    return {"$ref": f"#/components/responses/Problem{status}"}


def _responses() -> Iterator[tuple[str, dict[str, Any]]]:
    for status in _statuses():
        codes = [code for code, own in STATUSES.items() if own.number == status]
        text = _REPLIES.get(status) or ", ".join(f"{code.value} ({STATUSES[code].title.lower()})" for code in codes)
        described: dict[str, Any] = {
            "description": text,
            "content": {PROBLEM_TYPE.decode(): {"schema": {"$ref": REFERENCE + _PROBLEM}}},
        }
        if status in (429, 503):
            described["headers"] = {"Retry-After": {"description": "Whole seconds.", "schema": {"type": "integer"}}}
        if status == 401:
            described["headers"] = {"WWW-Authenticate": {"description": "How to prove who calls.", "schema": _TEXT}}
        yield f"Problem{status}", described


def _parameters() -> dict[str, Any]:
    return {
        "RequestId": {
            "name": "X-Request-ID",
            "in": "header",
            "description": "Chosen by the caller to correlate; it stands in the reply and in the audit.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
        },
        "Prefer": {
            "name": "Prefer",
            "in": "header",
            "description": "`wait=SECONDS`: after that the call is given up with DEADLINE_EXCEEDED (RFC 7240).",
            "schema": {"type": "string", "pattern": "^wait=[0-9]{1,6}$"},
            "example": "wait=30",
        },
    }


def _security_schemes() -> dict[str, Any]:
    signed = {
        name: {"type": "apiKey", "in": "header", "name": name, "description": _OF_HEADERS[name]} for name in HEADERS
    }
    bearer = {
        "type": "http",
        "scheme": "bearer",
        "description": "On loopback, where the server has the plugin auth_loopback: the token that it prints.",
    }
    return {**signed, "bearer": bearer}


def _problem_schema() -> dict[str, Any]:
    codes = [code.value for code in STATUSES if code is not Code.OK]
    violation = {"type": "object", "properties": {"field": _TEXT, "message": _TEXT}, "required": ["field", "message"]}
    return {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": _TEXT,
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": codes},
            "detail": {"type": "string", "description": "What is wrong, the bound and the remedy."},
            "instance": {"type": "string", "description": "Ends with the call's id, by which log and audit name it."},
            "errors": {"type": "array", "items": violation, "description": "The fields at fault."},
            "request_id": _TEXT,
            "retry_after": {"type": "number", "minimum": 0, "description": "Seconds."},
            "details": {"type": "object", "additionalProperties": _TEXT},
        },
        "required": ["type", "title", "status", "code", "detail"],
        "examples": [
            {
                "type": "/docs#invalid-argument",
                "title": STATUSES[Code.INVALID_ARGUMENT].title,
                "status": STATUSES[Code.INVALID_ARGUMENT].number,
                "code": Code.INVALID_ARGUMENT.value,
                "detail": "invalid argument: alpha: got 0.3, must be greater than 0 and less than or equal to 0.25",
                "errors": [{"field": "alpha", "message": "got 0.3, must be greater than 0 and at most 0.25"}],
            }
        ],
    }


def _pages() -> dict[str, Any]:
    """The public pages of the door itself."""
    health = {
        "type": "object",
        "properties": {
            "status": {"enum": ["healthy", "draining"]},
            "version": _TEXT,
            "uptime_seconds": {"type": "integer", "minimum": 0},
        },
        "required": ["status", "version", "uptime_seconds"],
    }
    found: dict[str, Any] = {}
    for path, summary, content in (
        ("/health", "How the server is", {"application/json": {"schema": health}}),
        ("/livez", "Whether the process answers", {"text/plain": {"schema": _TEXT}}),
        ("/readyz", "Whether further calls may be sent here", {"text/plain": {"schema": _TEXT}}),
    ):
        responses = {"200": {"description": "Yes.", "content": content}}
        if path != "/livez":
            responses["503"] = {"description": "It is draining.", "content": content}
        found[path] = {
            "get": {
                "operationId": path.lstrip("/"),
                "tags": ["server"],
                "summary": summary,
                "responses": responses,
                "security": [],
            }
        }
    return found
