"""What `mfn serve` runs without a configuration file: the standard plugins, on loopback, with a fresh key."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from mfn_core.config import ConfigError, Document, Problem
from mfn_core.registry import PluginRegistry

__all__ = ["KEY_ID", "STANDARD_PLUGINS", "document"]

STANDARD_PLUGINS = (
    "engine_numpy",
    "service_mfn",
    "transport_grpc",
    "transport_asgi",
    "auth_hmac",
    "auth_loopback",
    "ratelimit",
    "audit_jsonl",
)
"""What a server is made of unless a configuration says otherwise."""

KEY_ID = "local"
"""Id of the key that is drawn at each start."""

KEYS_FILE = "mfn-local-keys.toml"
AUDIT_FILE = "mfn-local-audit.jsonl"
TOKEN_FILE = "mfn-local-token.json"  # noqa: S105 - the name of a file


def document(directory: Path) -> Document:
    """The configuration of that server. Its key, with role `write`, goes to a file of mode 0600 in `directory`.

    Raises:
        ConfigError: the plugins of a server are not installed, or the key cannot be written.
    """
    installed = {plugin.name for plugin in PluginRegistry.installed()}
    plugins = [name for name in STANDARD_PLUGINS if name in installed]
    if "service_mfn" not in plugins or not any(name.startswith("transport_") for name in plugins):
        raise ConfigError(
            [
                Problem(
                    path="",
                    message="the plugins of a server are not installed",
                    remedy='pip install "mycelium-fractal-net[server]"',
                )
            ]
        )
    if "transport_asgi" in plugins and not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        plugins.remove("transport_asgi")
        # The person who gave no configuration is told what it became.
        print("transport_asgi is left out: this Python has no shared libpython", file=sys.stderr)  # noqa: T201 - see above
    if "transport_asgi" not in plugins and "auth_loopback" in plugins:
        plugins.remove("auth_loopback")  # there is no page to open
    tables: dict[str, object] = {"server": {"plugins": plugins, "log_format": "text"}}
    auth: dict[str, object] = {}
    if "auth_hmac" in plugins:
        auth["hmac"] = {"keys_file": str(_fresh_key(directory))}
    if "auth_loopback" in plugins:
        auth["loopback"] = {"token_file": str(directory / TOKEN_FILE)}
    if auth:
        tables["auth"] = auth
    if "audit_jsonl" in plugins:
        tables["audit"] = {"jsonl": {"path": str(directory / AUDIT_FILE)}}
    return Document(tables=tables, base_dir=directory, source="defaults")


def _fresh_key(directory: Path) -> Path:
    from mfn_signing import KeysFileError, generate_key, write_keys_file

    path = directory / KEYS_FILE
    try:
        write_keys_file(path, [generate_key(principal="local", roles={"write"}, key_id=KEY_ID)])
    except KeysFileError as failed:
        raise ConfigError(
            [Problem(path="auth.hmac.keys_file", message=str(failed), remedy="start where files can be written")]
        ) from failed
    return path
