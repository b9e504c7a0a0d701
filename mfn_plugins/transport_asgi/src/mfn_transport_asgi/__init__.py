"""ASGI transport for MFN: gRPC, gRPC-Web, Connect, REST and WebSocket, served by Envoy through pyvoy, by uvicorn, or by
any ASGI server that mounts what `create_app` gives.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mfn_core.config import Document
    from mfn_transport_asgi._mounted.app import MountedApp

__all__ = ["create_app"]

CONFIG = "MFN_CONFIG"
"""Environment variable that names the configuration where `create_app` is called without one."""


def create_app(config: str | os.PathLike[str] | Document | None = None, *, overrides: Sequence[str] = ()) -> MountedApp:
    """A whole MFN server as an ASGI application: `uvicorn --factory mfn_transport_asgi:create_app`.

    The application's lifespan starts and stops the server. Where that is off or has failed, every request is refused
    with 503. What mounts the application under another one enters `app.running()` in that one's lifespan. Logging is
    left to whoever runs it.

    Args:
        config: a configuration file, or a document that was read; the file that the environment variable `MFN_CONFIG`
            names unless given, and `mfn.toml` without that.
        overrides: `dotted.path=VALUE`, as after `--set` of `mfn serve`; for a file alone.

    Raises:
        ConfigError: with every problem of the configuration; nothing is started by then.
    """
    from mfn_transport_asgi._mounted.app import mounted

    return mounted(config if config is not None else os.environ.get(CONFIG, "mfn.toml"), overrides)
