"""Server reflection, v1 and v1alpha: the names and descriptors of what a server serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

from attrs import evolve
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from grpc_reflection.v1alpha import reflection_pb2

from mfn_core import Call, ComponentContext, ComponentSpec, NoSettings, Operation, Service, Shape
from mfn_core.assembly import is_loopback
from mfn_core.operation import Catalogue

__all__ = ["REFLECTION", "REFLECTION_HELP", "ReflectionMode", "ReflectionService", "with_reflection"]

ReflectionMode = Literal["auto", "public", "authenticated", "off"]
"""Who may ask: everybody, callers who prove who they are, or nobody. `auto`: everybody on loopback, else callers who
prove who they are."""

REFLECTION_HELP = "who may ask for descriptors: public, authenticated or off; auto: public on loopback alone"
"""What a transport's setting says of itself."""

V1 = "grpc.reflection.v1"
V1ALPHA = "grpc.reflection.v1alpha"
METHOD = "ServerReflectionInfo"

NOT_FOUND = 5
"""The status number that the protocol's error response carries."""


@cache
def _v1_file() -> FileDescriptor:
    """v1 is v1alpha under its final name, and no distribution carries it: made from the other, in a pool of its own."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name = "grpc/reflection/v1/reflection.proto"
    file.package = V1
    for message in file.message_type:
        for field in message.field:
            if field.type_name:  # of a scalar it must stay unset
                field.type_name = field.type_name.replace(f".{V1ALPHA}.", f".{V1}.")
    for service in file.service:
        for method in service.method:
            method.input_type = method.input_type.replace(f".{V1ALPHA}.", f".{V1}.")
            method.output_type = method.output_type.replace(f".{V1ALPHA}.", f".{V1}.")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)


class ReflectionService:
    """Answers from the descriptors of the served operations' own messages."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Describe the services of `catalogue`."""
        self._catalogue = catalogue

    @property
    def services(self) -> Sequence[Service]:
        """The service under both of its names."""
        v1 = _v1_file()
        request = message_factory.GetMessageClass(v1.message_types_by_name["ServerReflectionRequest"])
        response = message_factory.GetMessageClass(v1.message_types_by_name["ServerReflectionResponse"])
        alpha = reflection_pb2
        return [
            self._service(V1, request, response),
            self._service(V1ALPHA, alpha.ServerReflectionRequest, alpha.ServerReflectionResponse),
        ]

    def _service(self, package: str, request: type[Any], response: type[Any]) -> Service:
        async def info(requests: AsyncIterator[Any], call: Call) -> AsyncIterator[Any]:
            async for each in requests:
                yield self._answer(each, response)

        name = f"{package}.ServerReflection"
        operation = Operation(
            service=name,
            method=METHOD,
            shape=Shape.BIDI,
            request_type=request,
            response_type=response,
            handler=info,
            public=True,
            idempotent=True,
        )
        return Service(name=name, operations=[operation])

    def _answer(self, request: Any, response_type: type[Any]) -> Any:
        response = response_type(valid_host=request.host)
        response.original_request.MergeFromString(request.SerializeToString())
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for service in sorted(service.name for service in self._catalogue.services):
                response.list_services_response.service.add(name=service)
            return response
        found: FileDescriptor | None = None
        if asked == "file_by_filename":
            found = self._file(request.file_by_filename)
        elif asked == "file_containing_symbol":
            found = self._file_of_symbol(request.file_containing_symbol)
        elif asked == "file_containing_extension":
            extension = request.file_containing_extension
            found = self._file_of_extension(extension.containing_type, extension.extension_number)
        elif asked == "all_extension_numbers_of_type":
            return self._extension_numbers(request.all_extension_numbers_of_type, response)
        if found is None:
            response.error_response.error_code = NOT_FOUND
            response.error_response.error_message = "not found"
            return response
        for file in _with_dependencies(found):
            proto = descriptor_pb2.FileDescriptorProto()
            file.CopyToProto(proto)
            response.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())
        return response

    def _roots(self) -> Iterable[FileDescriptor]:
        """The files that define what is served."""
        seen: set[int] = set()
        for service in self._catalogue.services:
            for operation in service.operations:
                for message in (operation.request_type, operation.response_type):
                    file: FileDescriptor = message.DESCRIPTOR.file  # type: ignore[assignment]  # the C twin of it
                    if id(file) not in seen:
                        seen.add(id(file))
                        yield file

    def _file(self, name: str) -> FileDescriptor | None:
        for root in self._roots():
            for file in _with_dependencies(root):
                if file.name == name:
                    return file
        return None

    def _file_of_symbol(self, symbol: str) -> FileDescriptor | None:
        # A method is asked for by the name of its service and its own.
        for name in (symbol, symbol.rpartition(".")[0]):
            for pool in self._pools():
                try:
                    return pool.FindFileContainingSymbol(name)
                except KeyError:
                    continue
        return None

    def _file_of_extension(self, containing: str, number: int) -> FileDescriptor | None:
        for pool in self._pools():
            try:
                extension: Any = pool.FindExtensionByNumber(pool.FindMessageTypeByName(containing), number)
            except KeyError:
                continue
            file: FileDescriptor = extension.file
            return file
        return None

    def _extension_numbers(self, containing: str, response: Any) -> Any:
        for pool in self._pools():
            try:
                message = pool.FindMessageTypeByName(containing)
            except KeyError:
                continue
            answer = response.all_extension_numbers_response
            answer.base_type_name = containing
            answer.extension_number.extend(sorted(e.number for e in pool.FindAllExtensions(message)))
            return response
        response.error_response.error_code = NOT_FOUND
        response.error_response.error_message = "not found"
        return response

    def _pools(self) -> list[descriptor_pool.DescriptorPool]:
        pools: list[descriptor_pool.DescriptorPool] = []
        for file in self._roots():
            if all(file.pool is not pool for pool in pools):
                pools.append(file.pool)
        return pools


def _with_dependencies(file: FileDescriptor) -> list[FileDescriptor]:
    """The file and everything that it imports, directly or not; each once."""
    found: dict[str, FileDescriptor] = {}
    waiting = [file]
    while waiting:
        each = waiting.pop()
        if each.name not in found:
            found[each.name] = each
            waiting.extend(each.dependencies)
    return list(found.values())


def with_reflection(operations: Mapping[str, Operation], mode: ReflectionMode, *, listen: str) -> dict[str, Operation]:
    """The operations of a server as a transport offers them, by path: reflection public, authenticated or left out.

    Called once by a transport, when it starts; `listen` is its `host:port`.
    """
    if mode == "auto":
        mode = "public" if is_loopback(listen) else "authenticated"
    offered = dict(operations)
    for package in (V1, V1ALPHA):
        path = f"/{package}.ServerReflection/{METHOD}"
        if path not in offered:
            continue
        if mode == "off":
            del offered[path]
        elif mode == "authenticated":
            offered[path] = evolve(offered[path], public=False)
    return offered


def _make(settings: NoSettings, context: ComponentContext) -> ReflectionService:
    return ReflectionService(context.catalogue)


REFLECTION = ComponentSpec(
    name="grpc_reflection",
    factory=_make,
    summary="grpc.reflection.v1 and v1alpha: descriptors of what the server serves",
    scope="shared",
)
"""The component; one object, which several transports may declare."""
