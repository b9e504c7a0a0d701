"""Whether this machine has what a kind of ASGI server needs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from mfn_transport_asgi._settings import AsgiSettings

__all__ = ["missing", "shared_libpython"]

PLATFORMS = ("linux", "darwin")
INSTEAD = 'or set server = "uvicorn" in [transports.asgi], which is plain Python and carries all but gRPC itself'


def missing(settings: AsgiSettings) -> Iterable[str]:
    """What is not here of what `settings.server` needs, each with a remedy."""
    if settings.server == "pyvoy":
        yield from _of_pyvoy()
    elif settings.server == "uvicorn":
        yield from _of_uvicorn(settings)


def _of_pyvoy() -> Iterable[str]:
    if sys.platform not in PLATFORMS:
        yield f"Envoy runs Python on Linux and macOS, not on {sys.platform}; use the grpc transport, {INSTEAD}"
        return
    if not _installed("pyvoy._pyvoy") or not _installed("envoy"):
        yield f"pyvoy is not installed whole on this machine; install mfn-transport-asgi again, {INSTEAD}"
    if shared_libpython() is None:
        yield (
            f"Envoy needs Python as a shared library, and {sys.executable} has none; use a Python built with "
            f"--enable-shared, such as your system's or one of uv, the grpc transport, {INSTEAD}"
        )


def _of_uvicorn(settings: AsgiSettings) -> Iterable[str]:
    needed = ["uvicorn"]
    if settings.websocket.enabled:
        needed.append("websockets")
    absent = [name for name in needed if not _installed(name)]
    if absent:
        yield f"{' and '.join(absent)} cannot be imported here; install mfn-transport-asgi[uvicorn]"
    if settings.loop == "uvloop" and not _installed("uvloop"):
        yield 'uvloop cannot be imported here; install it, or set loop = "asyncio" in [transports.asgi]'


def shared_libpython() -> str | None:
    """Path of this interpreter's shared library; None where it was built without one."""
    if not _installed("find_libpython"):
        return None
    import find_libpython

    for candidate in find_libpython.candidate_paths():
        path = Path(candidate)
        if path.name.startswith("libpython") and path.exists():
            return str(path)
    return None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
