"""Which plugins are here: tests are made for what is found, so that the absence of one leaves the others tested."""

from __future__ import annotations

import importlib.util
import sysconfig
from importlib.metadata import entry_points

__all__ = ["GRPC_TRANSPORTS", "PLUGINS", "TRANSPORTS", "engines"]

GRPC_TRANSPORTS = ("grpc", "asgi")
"""Transports that speak gRPC, by their names in a configuration; the plugin of each is `transport_NAME`."""


def _plugins() -> frozenset[str]:
    """Names of the plugins whose code is there; a folder that was deleted may have left its metadata behind."""
    found = {
        point.name
        for point in entry_points(group="mfn.plugins.v1")
        if importlib.util.find_spec(point.value.partition(":")[0].partition(".")[0]) is not None
    }
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        # Envoy loads this Python as a shared library; without one the transport refuses to start, and says so.
        found.discard("transport_asgi")
    return frozenset(found)


PLUGINS = _plugins()
"""Names for `server.plugins`."""

TRANSPORTS = tuple(name for name in GRPC_TRANSPORTS if f"transport_{name}" in PLUGINS)
"""The transports to test."""


def engines() -> list[str]:
    """Plugins of compute engines; the NumPy one alone where it is there, so that every run has the same numbers."""
    found = sorted(name for name in PLUGINS if name.startswith("engine_"))
    return ["engine_numpy"] if "engine_numpy" in found else found
