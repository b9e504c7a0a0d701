"""Asking a server what it serves: the client's side of server reflection."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from mfn_client.raw import RawCall, RawStatus, RpcFailed

__all__ = ["BadDescriptors", "NoReflection", "Reflection"]

PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
"""The two names of one protocol, whose messages are alike on the wire."""

MAX_FILES = 2000
"""Descriptor files that a server may have us load."""

Files = dict[str, descriptor_pb2.FileDescriptorProto]

_REFUSED = ("UNIMPLEMENTED", "UNAUTHENTICATED", "PERMISSION_DENIED")


class NoReflection(Exception):
    """The server offers no reflection, or not to this caller."""

    def __init__(self, status: RawStatus) -> None:
        super().__init__(f"{status.code}: {status.message}")
        self.status = status


class BadDescriptors(Exception):
    """What the server says of itself makes no sense."""


class Reflection:
    """A conversation with a server about its descriptors; an async context manager."""

    def __init__(self, open_call: Callable[[str], RawCall]) -> None:
        """Ask by calls that `open_call` opens, given their path."""
        self._open = open_call
        self._call: RawCall | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._call is not None:
            await self._call.half_close()
            self._call.cancel()

    async def services(self) -> list[str]:
        """Full names of the services.

        Raises:
            NoReflection: the server does not say.
            RpcFailed: the call failed otherwise.
        """
        response = await self._ask(reflection_pb2.ServerReflectionRequest(list_services="*"))
        return [service.name for service in response.list_services_response.service]

    async def pool(self, symbol: str) -> DescriptorPool:
        """Descriptors of the file that defines `symbol`, and of all that it imports.

        Raises:
            LookupError: the server does not know `symbol`, or a file that is imported.
            BadDescriptors: its files are too many, or do not fit together.
            NoReflection: the server does not say.
            RpcFailed: the call failed otherwise.
        """
        files: Files = {}
        request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
        missing: str | None = None
        while True:
            response = await self._ask(request)
            for encoded in response.file_descriptor_response.file_descriptor_proto:
                file = _parsed(encoded)
                files.setdefault(file.name, file)
            if not files or (missing is not None and missing not in files):
                said = response.error_response.error_message or "it sent nothing"
                raise LookupError(f"the server does not describe {missing or symbol!r}: {said}")
            # Servers may send one file at a time, and leave its imports to further questions.
            missing = _missing(files)
            if missing is None:
                return _pool_of(files)
            if len(files) >= MAX_FILES:
                raise BadDescriptors(f"the descriptors of {symbol!r} are more than {MAX_FILES} files")
            request = reflection_pb2.ServerReflectionRequest(file_by_filename=missing)

    async def _ask(self, request: Any) -> Any:
        """One question, and its answer."""
        encoded = request.SerializeToString()
        if self._call is not None:
            return await self._answer(self._call, encoded)
        refusal: RpcFailed | None = None
        for path in PATHS:
            call = self._open(path)
            try:
                response = await self._answer(call, encoded)
            except RpcFailed as failed:
                call.cancel()
                if failed.code not in _REFUSED:
                    raise
                refusal = refusal or failed
                continue
            self._call = call
            return response
        if refusal is None:
            raise RuntimeError("no path of the protocol was tried")
        raise NoReflection(refusal.status)

    async def _answer(self, call: RawCall, encoded: bytes) -> Any:
        await call.send(encoded)  # a call that fails takes no message; reading tells why
        raw = await call.receive()
        if raw is None:
            status = await call.status()
            if status.ok:
                status = RawStatus(code="UNIMPLEMENTED", message="the server's reflection gave no answer")
            raise RpcFailed(status)
        try:
            return reflection_pb2.ServerReflectionResponse.FromString(raw)
        except DecodeError as wrong:
            raise RpcFailed(RawStatus(code="INTERNAL", message="the server's reflection cannot be read")) from wrong


def _parsed(encoded: bytes) -> descriptor_pb2.FileDescriptorProto:
    try:
        return descriptor_pb2.FileDescriptorProto.FromString(encoded)
    except DecodeError as wrong:
        raise BadDescriptors("the server sent a descriptor that cannot be read") from wrong


def _missing(files: Files) -> str | None:
    """A file that is imported and not there, once those of protobuf itself have been added."""
    waiting = list(files.values())
    while waiting:
        for name in waiting.pop().dependency:
            if name not in files:
                known = _installed(name)
                if known is None:
                    return name
                files[name] = known
                waiting.append(known)
    return None


def _installed(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    """A file of protobuf itself, which every client has."""
    if not name.startswith("google/protobuf/"):
        return None
    try:
        found = descriptor_pool.Default().FindFileByName(name)
    except KeyError:
        return None
    file = descriptor_pb2.FileDescriptorProto()
    found.CopyToProto(file)
    return file


def _pool_of(files: Files) -> DescriptorPool:
    """A pool with these files, each after those that it imports."""
    pool = DescriptorPool()
    added: set[str] = set()
    stack = list(files)
    waiting: set[str] = set()
    while stack:
        name = stack[-1]
        imports = [each for each in files[name].dependency if each not in added]
        if name in added:
            stack.pop()
        elif imports:
            if name in waiting:
                raise BadDescriptors(f"the server's descriptors import one another in a circle, {name!r} among them")
            waiting.add(name)
            stack.extend(imports)
        else:
            stack.pop()
            added.add(name)
            try:
                pool.Add(files[name])
            except TypeError as wrong:
                raise BadDescriptors(f"the server's descriptor {name!r} cannot be used: {wrong}") from wrong
    return pool
