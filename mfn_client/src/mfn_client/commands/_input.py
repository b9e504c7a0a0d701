"""Where the request messages of a call come from: the command line, a file, or standard input as it arrives."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final

from mfn_client.commands._json_values import ObjectSplitter

__all__ = ["BadInput", "json_objects"]

PIECE_BYTES: Final = 64 * 1024
AHEAD: Final = 16
"""Pieces of standard input that are read before they are used."""


class BadInput(Exception):
    """The messages to send cannot be read; the text says where and why."""


async def json_objects(data: str) -> AsyncIterator[str]:
    """The texts of the JSON objects in `data`: as it stands, in the file that `@FILE` names, or from `-` or `@-`.

    Raises:
        BadInput: what is there is not JSON objects, or cannot be read.
    """
    splitter = ObjectSplitter()
    decoder = codecs.getincrementaldecoder("utf-8")()
    name = data[1:] if data.startswith("@") else data
    if name == "-":
        where, pieces = "standard input", _arriving(sys.stdin.fileno)
    elif data.startswith("@"):
        where, pieces = name, _arriving(lambda: os.open(name, os.O_RDONLY | os.O_CLOEXEC))
    else:
        where, pieces = "--data", _given(data.encode("utf-8", "surrogateescape"))
    try:
        async for piece in pieces:
            for text in splitter.feed(decoder.decode(piece)):
                yield text
        for text in splitter.feed(decoder.decode(b"", final=True)):
            yield text
        splitter.close()
    except UnicodeDecodeError as wrong:
        raise BadInput(f"{where}: not UTF-8: {wrong.reason}") from wrong
    except OSError as failed:
        raise BadInput(f"{where}: cannot be read: {(failed.strerror or str(failed)).lower()}") from failed
    except ValueError as wrong:
        raise BadInput(f"{where}: {wrong}") from wrong


async def _given(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _arriving(open_source: Callable[[], int]) -> AsyncIterator[bytes]:
    """What can be read from a descriptor, as soon as it can.

    A thread opens and reads it, because a terminal, a pipe and a file cannot be waited for alike otherwise. It is a
    daemon, and reads the descriptor itself: one that waits for a person to type must not keep the command from
    ending, nor hold a lock of `sys.stdin` then.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | OSError] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def read() -> None:
        piece: bytes | OSError = b""
        try:
            descriptor = open_source()
            while piece := os.read(descriptor, PIECE_BYTES):
                room.acquire()
                loop.call_soon_threadsafe(queue.put_nowait, piece)
        except OSError as failed:
            piece = failed
        except RuntimeError:
            return  # the loop is closed: nobody wants the rest
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(queue.put_nowait, piece)

    threading.Thread(target=read, name="mfn-call-input", daemon=True).start()
    while True:
        piece = await queue.get()
        if isinstance(piece, OSError):
            raise piece
        if not piece:
            return
        yield piece
        room.release()
