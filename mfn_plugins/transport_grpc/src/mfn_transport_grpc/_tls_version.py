"""No TLS older than 1.3, unless the configuration asks for it.

gRPC's Python has no setting for it. It does have one for the cipher suites of TLS 1.2 and older, which version 1.3 does
not look at: with a suite alone that needs a pre-shared key, which this server never has, no handshake of an older
version can succeed. The setting is an environment variable that gRPC reads once in a process, when it is imported:
this package imports it when its first listener starts, and whether that was early enough is tried on the open port.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

from mfn_core.config import split_address

__all__ = ["choose_tls_versions", "speaks_tls12"]

VARIABLE = "GRPC_SSL_CIPHER_SUITES"
NO_TLS12 = "ECDHE-PSK-CHACHA20-POLY1305"
PATIENCE = 5.0
"""Seconds that the handshake with this process itself may take."""


def choose_tls_versions(minimum: str) -> None:
    """Leave versions older than 1.3 without a cipher suite, or with gRPC's own, in this process from now on."""
    if minimum == "1.3":
        os.environ[VARIABLE] = NO_TLS12
    elif os.environ.get(VARIABLE) == NO_TLS12:
        del os.environ[VARIABLE]


async def speaks_tls12(address: str) -> bool:
    """Whether the listener at `address` completes a handshake of TLS 1.2."""
    return await asyncio.get_running_loop().run_in_executor(None, _handshake, address)


def _handshake(address: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whose certificate it is does not matter here: nothing is sent.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    host, port = split_address(address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - a wildcard is reached on loopback
    try:
        with socket.create_connection((host, port), PATIENCE) as plain, context.wrap_socket(plain):
            return True
    except OSError:  # refused, as it should be
        return False
