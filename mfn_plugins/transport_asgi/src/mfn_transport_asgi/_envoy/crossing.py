"""One request between two event loops: each listener of Envoy has a loop of its own, and the server lives on one.

ASGI's `receive` and `send` are called on the loop that they are of; what waits for them waits on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from mfn_transport_asgi._asgi import Receive, Scope, Send, plain_reply

__all__ = ["answer"]

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def answer(
    scope: Scope, receive: Receive, send: Send, *, home: asyncio.AbstractEventLoop | None, application: AsgiApp
) -> None:
    """Answer one request, on the server's own loop.

    Args:
        scope: ASGI's.
        receive: ASGI's, of the running loop.
        send: ASGI's, of the running loop.
        home: the server's own loop; None while there is none.
        application: answers; called there.
    """
    if home is None:
        await plain_reply(send, 503, b"the server is starting\n", [(b"retry-after", b"1")])
        return
    there = asyncio.get_running_loop()
    over: asyncio.Future[None] = there.create_future()

    async def serve() -> None:
        await application(scope, _across(receive, there, home), _across(send, there, home))

    def begin() -> None:
        task = home.create_task(serve())
        running.add(task)
        task.add_done_callback(end)

    def end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        _tell(there, _settle, over, None, _failure(task))

    running: set[asyncio.Task[None]] = set()
    home.call_soon_threadsafe(begin)
    await over


def _across(
    operation: Callable[..., Awaitable[Any]], there: asyncio.AbstractEventLoop, home: asyncio.AbstractEventLoop
) -> Callable[..., asyncio.Future[Any]]:
    """`operation`, which belongs to the loop `there`, for callers on the loop `home`, in the order of their calls."""

    def called(*arguments: Any) -> asyncio.Future[Any]:
        done: asyncio.Future[Any] = home.create_future()

        def begin() -> None:
            asyncio.ensure_future(operation(*arguments)).add_done_callback(end)

        def end(ended: asyncio.Future[Any]) -> None:
            failed = _failure(ended)
            _tell(home, _settle, done, None if failed is not None else ended.result(), failed)

        if not _tell(there, begin):
            done.set_exception(ConnectionResetError("the connection is gone"))
        return done

    return called


def _failure(ended: asyncio.Future[Any]) -> BaseException | None:
    if ended.cancelled():
        return ConnectionResetError("the connection is gone")
    return ended.exception()


def _settle(future: asyncio.Future[Any], result: Any, failed: BaseException | None) -> None:
    if future.done():
        return
    if failed is None:
        future.set_result(result)
    else:
        future.set_exception(failed)


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[..., Any], *arguments: Any) -> bool:
    """Call it on the loop; false where that has ended, which is one of a process that ends."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(what, *arguments)
        return True
    return False
