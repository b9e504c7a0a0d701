"""From what a person writes to a method with its message types."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Self

from attrs import frozen
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["Method", "Wanted", "installed_services", "methods_in", "unknown_method"]


@frozen(kw_only=True)
class Wanted:
    """A method as it was asked for."""

    service: str
    """Its service's full name, or the end of it; empty: any."""
    method: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `package.Service/Method`, `package.Service.Method`, `Service/Method`, or the method's name alone.

        Raises:
            ValueError: it names no method.
        """
        stripped = text.removeprefix("/")
        separator = "/" if "/" in stripped else "."
        service, _, method = stripped.rpartition(separator)
        if not method.isidentifier() or (service and not all(part.isidentifier() for part in service.split("."))):
            raise ValueError(f"{text!r} names no method; write package.Service/Method")
        return cls(service=service, method=method)

    def candidates(self, services: Iterable[str]) -> list[str]:
        """Which of `services` may be meant."""
        return [
            name for name in services if not self.service or name == self.service or name.endswith(f".{self.service}")
        ]


@frozen(kw_only=True)
class Method:
    """What it takes to call one method with JSON."""

    service: str
    name: str
    client_streams: bool
    server_streams: bool
    request_type: type[Any]
    response_type: type[Any]
    pool: DescriptorPool
    """Where further messages are found, such as those within an `Any`."""

    @property
    def path(self) -> str:
        """`/package.Service/Method`."""
        return f"/{self.service}/{self.name}"

    @property
    def shape(self) -> str:
        """In words, as it is listed."""
        if self.client_streams:
            return "bidirectional stream" if self.server_streams else "client stream"
        return "server stream" if self.server_streams else "unary"


def methods_in(pool: DescriptorPool, service: str) -> list[Method]:
    """All methods of a service in `pool`, in the order of its definition.

    Raises:
        KeyError: the pool has no such service.
    """
    return [_method(pool, service, found) for found in pool.FindServiceByName(service).methods]


def _method(pool: DescriptorPool, service: str, found: MethodDescriptor) -> Method:
    return Method(
        service=service,
        name=found.name,
        client_streams=bool(found.client_streaming),
        server_streams=bool(found.server_streaming),
        request_type=message_factory.GetMessageClass(found.input_type),
        response_type=message_factory.GetMessageClass(found.output_type),
        pool=pool,
    )


def installed_services() -> tuple[DescriptorPool, list[str]]:
    """The services that this distribution knows by itself, for servers that do not describe theirs."""
    from grpc_health.v1 import health_pb2

    from mfn_proto import mfn_pb2, mycelium_pb2
    from mfn_proto.v1 import field_pb2

    files = [module.DESCRIPTOR for module in (mfn_pb2, field_pb2, mycelium_pb2, health_pb2)]
    services = [service.full_name for file in files for service in file.services_by_name.values()]
    return files[0].pool, services


def unknown_method(wanted: Wanted, known: Sequence[Method]) -> str:
    """What to say of a method that none of `known` is."""
    asked = f"{wanted.service}/{wanted.method}" if wanted.service else wanted.method
    names = [f"{method.service}/{method.name}" for method in known]
    short = {name.rpartition("/")[2].lower(): name for name in names}
    near = difflib.get_close_matches(asked.lower(), [name.lower() for name in names], n=1)
    guess = next((name for name in names if near and name.lower() == near[0]), None)
    if guess is None:
        by_method = difflib.get_close_matches(wanted.method.lower(), list(short), n=1)
        guess = short[by_method[0]] if by_method else None
    hint = f"; did you mean {guess}?" if guess else ""
    return f"the server has no method {asked}{hint} (--list shows them all)"
