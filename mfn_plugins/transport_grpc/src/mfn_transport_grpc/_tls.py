"""Certificates: read once, checked before a port is opened."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mfn_transport_grpc._settings import TlsSettings

if TYPE_CHECKING:
    import grpc

__all__ = ["server_credentials", "tls_problems"]


def tls_problems(settings: TlsSettings) -> Iterator[str]:
    """What keeps these files from being used: each that cannot be read, is not PEM, or does not match the other."""
    files = {"certificate": settings.certificate, "key": settings.key}
    if settings.client_ca is not None:
        files["client_ca"] = settings.client_ca
    unreadable = {name for name, path in files.items() for _ in _unreadable(path)}
    for name in files:
        for why in _unreadable(files[name]):
            yield f"tls.{name}: {why}"
    if not unreadable & {"certificate", "key"}:
        yield from _pair_problems(settings)
    if settings.client_ca is not None and "client_ca" not in unreadable:
        yield from _authority_problems(settings.client_ca)


def server_credentials(settings: TlsSettings) -> grpc.ServerCredentials:
    """Credentials for one listener; with `client_ca` a client without a certificate cannot connect.

    Raises:
        OSError: a file cannot be read.
    """
    import grpc

    authorities = None if settings.client_ca is None else settings.client_ca.read_bytes()
    return grpc.ssl_server_credentials(
        [(settings.key.read_bytes(), settings.certificate.read_bytes())],
        root_certificates=authorities,
        require_client_auth=authorities is not None,
    )


def _unreadable(path: Path) -> Iterator[str]:
    try:
        path.read_bytes()
    except OSError as failed:
        yield f"{path} cannot be read: {failed.strerror}"


def _pair_problems(settings: TlsSettings) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.key, password=_no_passphrase)
    except _Encrypted:
        yield f"tls.key: {settings.key} has a passphrase; store it without one, readable by its owner alone"
    except ssl.SSLError as failed:
        if failed.reason == "KEY_VALUES_MISMATCH":
            yield f"tls.key: {settings.key} is not the key of the certificate in {settings.certificate}"
        else:
            yield (
                f"tls.certificate: {settings.certificate} and {settings.key} are not a PEM certificate and its "
                f"PEM private key ({failed.reason or failed})"
            )


def _authority_problems(path: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as failed:
        yield f"tls.client_ca: {path} holds no PEM certificate ({failed.reason or failed})"


class _Encrypted(Exception):
    """The private key asks for a passphrase."""


def _no_passphrase() -> str:
    raise _Encrypted
