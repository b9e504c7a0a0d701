"""An event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["LoopThread"]

T = TypeVar("T")

LEAVE_SECONDS = 5.0
"""How long what still runs has to end by itself when the loop stops."""


class LoopThread:
    """Runs coroutines for other threads. Its thread is a daemon, so that it keeps no program from ending."""

    def __init__(self, at_stop: Callable[[], Awaitable[None]], *, name: str) -> None:
        """Start the thread; returns once its loop runs.

        Args:
            at_stop: called on the loop when it is to stop, to end what still runs.
            name: of the thread.
        """
        self._at_stop = at_stop
        self._started: concurrent.futures.Future[asyncio.AbstractEventLoop] = concurrent.futures.Future()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()
        self._loop = self._started.result()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. An interrupted wait cancels it.

        Raises:
            RuntimeError: called on the loop itself, which would wait for itself, or after `stop`.
        """
        if threading.current_thread() is self._thread or self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("the loop of this client has stopped, or is what calls")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # KeyboardInterrupt strikes the thread that waits; does nothing where the call is over
            raise

    def stop(self) -> None:
        """End what runs, then the loop and the thread. Safe twice, and from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: it has stopped
            self._loop.call_soon_threadsafe(self._stopping.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _main(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._started.set_result(asyncio.get_running_loop())
        await self._stopping.wait()
        await self._at_stop()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            # What `at_stop` has ended says so to whoever waits for it; the rest is cancelled by `asyncio.run`.
            await asyncio.wait(others, timeout=LEAVE_SECONDS)
