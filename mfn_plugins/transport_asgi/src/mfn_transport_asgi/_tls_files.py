"""The files of TLS: what is wrong with them, told before a listener stumbles over it, and what they make."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from mfn_transport_asgi._settings import TlsSettings

__all__ = ["server_context", "tls_problems"]


def tls_problems(tls: TlsSettings) -> Iterable[str]:
    """What a listener would stumble over; nothing of a file's content is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    unreadable = False
    for what, path in (("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.client_ca)):
        if path is not None and (problem := _unreadable(path)) is not None:
            unreadable = True
            yield f"tls.{what}: {path}: {problem}"
    if unreadable:
        return
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_encrypted)
    except ValueError as wrong:
        yield f"tls.key: {tls.key}: {wrong}"
    except ssl.SSLError as wrong:
        if wrong.reason == "KEY_VALUES_MISMATCH":
            yield f"tls.key: {tls.key} is not the key of {tls.certificate}"
        else:
            yield f"tls: {tls.certificate} and {tls.key} are not a certificate and its key in PEM ({wrong.reason})"
    if tls.client_ca is not None:
        try:
            context.load_verify_locations(tls.client_ca)
        except ssl.SSLError as wrong:
            yield f"tls.client_ca: {tls.client_ca} has no certificate in PEM ({wrong.reason})"


def server_context(tls: TlsSettings) -> ssl.SSLContext:
    """The server's side of TLS 1.3 over HTTP/1.1, which asks for no client certificate.

    Raises:
        OSError: the files cannot be read or do not fit; `tls_problems` says how.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_encrypted)
    except (OSError, ValueError) as wrong:
        raise OSError("; ".join(tls_problems(tls)) or str(wrong)) from None
    return context


def _encrypted() -> str:
    raise ValueError("the key is encrypted; decrypt it, and keep it readable by the server alone")


def _unreadable(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as failed:
        return (failed.strerror or str(failed)).lower()
    return None
