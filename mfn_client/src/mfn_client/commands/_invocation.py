"""One call of any shape with JSON in and JSON out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from mfn_client.commands._input import BadInput
from mfn_client.commands._methods import Method, Wanted, installed_services, methods_in, unknown_method
from mfn_client.commands._reflection import NoReflection, Reflection
from mfn_client.raw import MetadataPairs, RawCall, RawClient, RawStatus, RpcFailed
from mfn_proto.strict_json import misread
from mfn_signing import Credentials, WindowedNonceSource, sign_headers

__all__ = ["Invocation", "UnknownMethod"]


class UnknownMethod(Exception):
    """No method, or more than one, is meant by what was asked for."""


class Invocation:
    """Calls one server by the descriptors that it gives, or by those that are installed."""

    def __init__(self, raw: RawClient, credentials: Credentials | None, metadata: MetadataPairs) -> None:
        """Call through `raw`, signed with `credentials` where there are any, and with further `metadata`."""
        self._raw = raw
        self._credentials = credentials
        self._metadata = metadata
        self._nonces = WindowedNonceSource()

    def _headers(self, path: str, body: bytes | None) -> MetadataPairs:
        if self._credentials is None:
            return self._metadata
        signed = sign_headers(self._credentials, path, body, timestamp=int(time.time()), nonce=self._nonces.next())
        return (*signed, *self._metadata)

    def _asking(self, timeout: float) -> Reflection:
        def open_call(path: str) -> RawCall:
            return self._raw.open(path, metadata=self._headers(path, None), timeout=timeout)

        return Reflection(open_call)

    async def methods(self, timeout: float) -> list[Method]:  # noqa: ASYNC109 - deadline of the calls
        """Everything that the server offers, by service.

        Raises:
            NoReflection: the server does not say.
            BadDescriptors: its descriptors cannot be used.
            RpcFailed: the server could not be asked.
        """
        async with self._asking(timeout) as reflection:
            found: list[Method] = []
            for service in await reflection.services():
                try:
                    found += methods_in(await reflection.pool(service), service)
                except LookupError:
                    continue  # it is listed and not described: nothing of it can be called by name
            return found

    async def find(self, wanted: Wanted, timeout: float) -> Method:  # noqa: ASYNC109 - deadline of the calls
        """The one method that is meant.

        Raises:
            UnknownMethod: there is none, or there are several.
            BadDescriptors: the server's descriptors cannot be used.
            RpcFailed: the server could not be asked.
        """
        known: list[Method] = []
        try:
            async with self._asking(timeout) as reflection:
                for service in wanted.candidates(await reflection.services()):
                    with contextlib.suppress(LookupError):
                        known += methods_in(await reflection.pool(service), service)
            source = ""
        except NoReflection as refused:
            pool, services = installed_services()
            for service in wanted.candidates(services):
                known += methods_in(pool, service)
            source = f"; it describes nothing ({refused}), and this client knows no such method by itself"
        found = [method for method in known if method.name == wanted.method]
        exact = [method for method in found if method.service == wanted.service]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            names = " and ".join(f"{method.service}/{method.name}" for method in found)
            raise UnknownMethod(f"{wanted.method} may be {names}; write one of them")
        if not known and not source:
            known = await self.methods(timeout)
        raise UnknownMethod(unknown_method(wanted, known) + source)

    async def call(
        self,
        method: Method,
        texts: AsyncIterator[str],
        show: Callable[[str], None],
        *,
        timeout: float | None,  # noqa: ASYNC109 - the call's deadline, which the server is told
        pretty: bool,
    ) -> None:
        """Send the JSON objects in `texts`, and show each reply as JSON when it comes.

        Raises:
            BadInput: an object is no request of this method, or there are too many or too few of them.
            RpcFailed: the call did not end with OK.
        """
        if method.client_streams:
            await self._streamed(method, texts, show, timeout, pretty)
            return
        first = await anext(texts, None)
        if first is None or await anext(texts, None) is not None:
            found = "there is none" if first is None else "there are more"
            raise BadInput(f"{method.path} takes one JSON object, and {found}")
        body = _encoded(method, first, 1)
        headers = self._headers(method.path, body)
        async with self._raw.server_stream(method.path, body, metadata=headers, timeout=timeout) as call:
            async for reply in call:
                show(_shown(method, reply, pretty))

    async def _streamed(
        self,
        method: Method,
        texts: AsyncIterator[str],
        show: Callable[[str], None],
        timeout: float | None,  # noqa: ASYNC109 - the call's deadline, which the server is told
        pretty: bool,
    ) -> None:
        headers = self._headers(method.path, None)
        async with self._raw.open(method.path, metadata=headers, timeout=timeout) as call:
            receiving = asyncio.ensure_future(_receive(call, method, show, pretty))
            sending = asyncio.ensure_future(_send(call, method, texts))
            try:
                await asyncio.wait([receiving, sending], return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()  # what cannot be sent ends the call
                # The server may end the call before everything is sent: then its answer stands.
                await receiving
            finally:
                for task in (receiving, sending):
                    task.cancel()
                await asyncio.gather(receiving, sending, return_exceptions=True)


async def _send(call: RawCall, method: Method, texts: AsyncIterator[str]) -> None:
    number = 0
    async for text in texts:
        number += 1
        if not await call.send(_encoded(method, text, number)):
            return
    await call.half_close()


async def _receive(call: RawCall, method: Method, show: Callable[[str], None], pretty: bool) -> None:
    async for reply in call:
        show(_shown(method, reply, pretty))


def _encoded(method: Method, text: str, number: int) -> bytes:
    message: Any = method.request_type()
    try:
        json_format.Parse(text, message, descriptor_pool=method.pool)
    except (json_format.ParseError, RecursionError) as wrong:
        name = message.DESCRIPTOR.full_name
        raise BadInput(f"object {number} is no {name}: {wrong}") from wrong
    for path, expected, _ in misread(json.loads(text), method.request_type):
        name = message.DESCRIPTOR.full_name
        raise BadInput(f"object {number} is no {name}: {path or 'it'} must be {expected}")
    encoded: bytes = message.SerializeToString()
    return encoded


def _shown(method: Method, reply: bytes, pretty: bool) -> str:
    try:
        message = method.response_type.FromString(reply)
        return json_format.MessageToJson(
            message,
            indent=2 if pretty else None,
            preserving_proto_field_name=True,
            always_print_fields_with_no_presence=True,
            ensure_ascii=False,
            descriptor_pool=method.pool,
        )
    except (DecodeError, json_format.SerializeToJsonError, TypeError) as wrong:
        name = method.response_type.DESCRIPTOR.full_name
        raise RpcFailed(
            RawStatus(code="INTERNAL", message=f"a reply is no {name} that can be shown: {wrong}")
        ) from wrong
