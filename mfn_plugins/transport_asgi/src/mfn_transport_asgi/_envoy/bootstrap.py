"""The bootstrap configuration of Envoy: one listener, HTTP in front of Python, and nothing that it does by itself."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mfn_transport_asgi._disconnects import CONNECTION
from mfn_transport_asgi._envoy.path import refuse_undecodable
from mfn_transport_asgi._settings import AsgiSettings, TlsSettings

__all__ = ["ADMIN_SOCKET", "STAT_PREFIX", "STREAM_ID", "bootstrap"]

ADMIN_SOCKET = "admin"
"""Name of the administration socket in a worker's private directory."""
STREAM_ID = "x-mfn-id"
"""Header in which the listener tells the application the id of a stream."""
STAT_PREFIX = "mfn"

APPLICATION = "mfn_transport_asgi._envoy.app:application"
REQUESTS = "mfn_transport_asgi._envoy.app:requests"
WEBSOCKETS = "mfn_transport_asgi._envoy.app:websockets"

WINDOW = 65_536
"""Bytes that a stream may have under way in one direction: what a client is ahead of a handler that does not read,
and a handler ahead of a client that does not."""
CONNECTION_WINDOW = 1 << 20
ALTERNATIVE_SECONDS = 3600
"""Time for which a client may keep that there is HTTP/3."""
KEEPALIVE_SECONDS = 60
KEEPALIVE_TIMEOUT_SECONDS = 20
"""A peer that has vanished without a word is noticed after these two."""

_TYPES = "type.googleapis.com/"


def bootstrap(
    settings: AsgiSettings, *, name: str, address: str, port: int, directory: Path, log: Path, share_port: bool
) -> dict[str, Any]:
    """What Envoy is started with.

    Args:
        settings: of the listener.
        name: the transport's name in the configuration.
        address: numeric address to bind.
        port: to bind; not 0.
        directory: private directory of the worker.
        log: pipe into which the ids of abnormally ended streams are written.
        share_port: whether other workers listen on the same port.
    """
    chain: dict[str, Any] = {
        "filters": [
            *_websockets(settings),
            _http(_manager(settings, log, alternative=port if settings.http3 else None)),
        ]
    }
    if settings.tls is not None:
        chain["transport_socket"] = _tls(settings.tls)
    further: list[Mapping[str, Any]] = []
    if settings.http3 and settings.tls is not None:
        further.append(_http3(settings, settings.tls, name=name, address=address, port=port, log=log))
    return {
        "admin": {"address": {"pipe": {"path": str(directory / ADMIN_SOCKET), "mode": 0o600}}},
        "layered_runtime": {
            "layers": [
                {
                    "name": "mfn",
                    "static_layer": {
                        # The other codec ends a whole connection after a burst of cancelled calls, and for one
                        # call's metadata over 64 KiB; this one ends the call.
                        "envoy.reloadable_features.http2_use_oghttp2": True,
                        # Cancelling many calls quickly is what a hedging client does; connections are limited below.
                        "overload.premature_reset_total_stream_count": 4_000_000_000,
                        # The limit is meant for expressions that others bring; ours of a path takes 233.
                        "re2.max_program_size.error_level": 1000,
                    },
                }
            ]
        },
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _TYPES
                        + "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                        "max_active_downstream_connections": settings.max_connections,
                    },
                }
            ]
        },
        "static_resources": {
            "listeners": [
                {
                    "name": name,
                    "address": {"socket_address": {"address": address, "port_value": port}},
                    "enable_reuse_port": share_port,
                    "per_connection_buffer_limit_bytes": WINDOW,
                    "filter_chains": [chain],
                    **({"access_log": [_ended_connections(log)]} if settings.websocket.enabled else {}),
                },
                *further,
            ]
        },
    }


def _websockets(settings: AsgiSettings) -> Sequence[Mapping[str, Any]]:
    """What looks at the first request of each connection, and serves it where that asks for a WebSocket."""
    if not settings.websocket.enabled:
        return ()
    module = {
        "app": WEBSOCKETS,
        "interface": "asgi",
        "root_path": "",
        "lifespan": False,
        "loop": settings.loop,
        "worker_threads": 1,
        "websockets_max_message_size": settings.websocket.max_message_bytes,
        "websockets_compression": False,  # numbers gain little by it, and every socket would have its window
    }
    return [
        {
            "name": "pyvoy-ws",
            "typed_config": {
                "@type": _TYPES + "envoy.extensions.filters.network.dynamic_modules.v3.DynamicModuleNetworkFilter",
                "dynamic_module_config": {"module": {"local": {"filename": _module_path()}}},
                "filter_name": "pyvoy-ws",
                "filter_config": {"@type": _TYPES + "google.protobuf.StringValue", "value": json.dumps(module)},
            },
        }
    ]


def _ended_connections(log: Path) -> Mapping[str, Any]:
    return {
        "name": "ended-connections",
        "typed_config": {
            "@type": _TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(log),
            "log_format": {"text_format_source": {"inline_string": f"{CONNECTION}%DOWNSTREAM_REMOTE_ADDRESS%\n"}},
        },
    }


def _http(manager: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}


def _http3(
    settings: AsgiSettings, tls: TlsSettings, *, name: str, address: str, port: int, log: Path
) -> Mapping[str, Any]:
    """The listener of HTTP/3, at the UDP port of the same number. Its requests come on a loop of their own, and no
    lifespan with them: the server lives beside the other listener."""
    manager = {
        **_manager(settings, log, app=REQUESTS),
        "codec_type": "HTTP3",
        "http3_protocol_options": {
            "quic_protocol_options": {
                "max_concurrent_streams": settings.max_concurrent_streams,
                "initial_stream_window_size": WINDOW,
                "initial_connection_window_size": CONNECTION_WINDOW,
                "connection_keepalive": {"max_interval": f"{KEEPALIVE_SECONDS}s"},
                "idle_network_timeout": f"{2 * KEEPALIVE_SECONDS}s",
            }
        },
    }
    return {
        "name": f"{name}-http3",
        "address": {"socket_address": {"address": address, "port_value": port, "protocol": "UDP"}},
        "udp_listener_config": {"quic_options": {}},
        "filter_chains": [
            {
                "filters": [_http(manager)],
                "transport_socket": {
                    "name": "envoy.transport_sockets.quic",
                    "typed_config": {
                        "@type": _TYPES + "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport",
                        "downstream_tls_context": _tls_context(tls, "h3"),
                    },
                },
            }
        ],
    }


def _alternative(port: int) -> Mapping[str, Any]:
    """Tells clients of the other listener that there is HTTP/3 (RFC 7838)."""
    return {
        "name": "envoy.filters.http.header_mutation",
        "typed_config": {
            "@type": _TYPES + "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": {
                "response_mutations": [
                    {"append": {"header": {"key": "alt-svc", "value": f'h3=":{port}"; ma={ALTERNATIVE_SECONDS}'}}}
                ]
            },
        },
    }


def _manager(
    settings: AsgiSettings, log: Path, *, app: str = APPLICATION, alternative: int | None = None
) -> Mapping[str, Any]:
    module = {
        "app": app,
        "interface": "asgi",
        "root_path": "",
        "lifespan": app == APPLICATION,
        "loop": settings.loop,
        "worker_threads": 1,  # each would run a lifespan of its own, and so a server of its own
    }
    path_filter, local_replies = refuse_undecodable()
    return {
        "@type": _TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        "server_header_transformation": "PASS_THROUGH",
        "generate_request_id": False,
        # The peer's own address is the client's, whatever a client writes into x-forwarded-for.
        "use_remote_address": False,
        "skip_xff_append": True,
        # Who shows a certificate is told by the connection; the header that would tell it is taken from everybody.
        "forward_client_cert_details": "SANITIZE",
        "early_header_mutation_extensions": [
            {
                "name": "mfn",
                "typed_config": {
                    "@type": _TYPES + "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [
                        {"remove": "x-forwarded-for"},
                        {
                            "append": {
                                "header": {"key": STREAM_ID, "value": "%UNIQUE_ID%"},
                                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                            }
                        },
                    ],
                },
            }
        ],
        "access_log": [
            {
                "name": "ended",
                # Over QUIC no flag tells a stream that was reset from one that is whole: there every end is told.
                **({"filter": {"response_flag_filter": {}}} if app == APPLICATION else {}),
                "typed_config": {
                    "@type": _TYPES + "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"text_format_source": {"inline_string": f"%REQ({STREAM_ID})%\n"}},
                },
            }
        ],
        "max_request_headers_kb": -(-settings.max_header_bytes // 1024),
        # A stream may be silent for as long as its deadline allows, so nothing but its head is timed here.
        "stream_idle_timeout": "0s",
        "request_timeout": "0s",
        "request_headers_timeout": "10s",
        "drain_timeout": "1s",
        "delayed_close_timeout": "1s",
        "common_http_protocol_options": {"idle_timeout": "3600s", "max_headers_count": 1000},
        "http2_protocol_options": {
            "max_concurrent_streams": settings.max_concurrent_streams,
            "initial_stream_window_size": WINDOW,
            "initial_connection_window_size": CONNECTION_WINDOW,
            "allow_connect": False,
            "connection_keepalive": {
                "interval": f"{KEEPALIVE_SECONDS}s",
                "timeout": f"{KEEPALIVE_TIMEOUT_SECONDS}s",
            },
        },
        # What a signature covers is the path as the client wrote it.
        "normalize_path": False,
        "merge_slashes": False,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
        "route_config": {"virtual_hosts": [{"name": "mfn", "domains": ["*"]}]},
        "local_reply_config": local_replies,
        "http_filters": [
            *(() if alternative is None else (_alternative(alternative),)),
            path_filter,
            {
                "name": "pyvoy",
                "typed_config": {
                    "@type": _TYPES + "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                    "dynamic_module_config": {"module": {"local": {"filename": _module_path()}}},
                    "filter_name": "pyvoy",
                    "terminal_filter": True,
                    "filter_config": {
                        "@type": _TYPES + "google.protobuf.StringValue",
                        "value": json.dumps(module),
                    },
                },
            },
        ],
    }


def _tls(tls: TlsSettings) -> Mapping[str, Any]:
    typed = {
        "@type": _TYPES + "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        **_tls_context(tls, "h2", "http/1.1"),
    }
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def _tls_context(tls: TlsSettings, *protocols: str) -> Mapping[str, Any]:
    common: dict[str, Any] = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": list(protocols),
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(tls.certificate)},
                "private_key": {"filename": str(tls.key)},
            }
        ],
    }
    if tls.client_ca is not None:
        common["validation_context"] = {"trusted_ca": {"filename": str(tls.client_ca)}}
    return {
        "common_tls_context": common,
        "require_client_certificate": tls.client_ca is not None,
    }


def _module_path() -> str:
    found = importlib.util.find_spec("pyvoy._pyvoy")
    if found is None or found.origin is None:
        raise OSError("the package pyvoy is installed without its native module; install it again")
    return found.origin
