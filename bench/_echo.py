"""A bare grpc.aio server that gives every message back: what the transports are measured against."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


class Echo(grpc.GenericRpcHandler):
    """One handler on raw bytes for every method."""

    def __init__(self) -> None:
        async def echo(request: bytes, context: Any) -> bytes:
            return request

        self._handler: Any = grpc.unary_unary_rpc_method_handler(echo)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handler


async def main() -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"mfn ready echo=127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


asyncio.run(main())
