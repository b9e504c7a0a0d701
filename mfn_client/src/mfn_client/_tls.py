"""Whether a channel is encrypted, by whose authorities, and with which certificate of the client's own."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import grpc
from attrs import frozen

from mfn_client._target import is_loopback

__all__ = ["ChannelSecurity", "Pem", "channel_security"]

Pem = bytes | str | os.PathLike[str]
"""PEM itself as bytes, or the path of a file that holds it."""

MAX_PEM_BYTES: Final = 16 * 1024 * 1024

_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
"""Name of a certificate in a directory of authorities as OpenSSL looks it up."""


@frozen(kw_only=True)
class ChannelSecurity:
    """How a channel is made."""

    credentials: grpc.ChannelCredentials | None
    """None: plain text."""
    options: Mapping[str, str | int]
    """Channel arguments that belong to it."""


def channel_security(
    target: str,
    *,
    tls: bool,
    root_certificates: Pem | None,
    certificate_chain: Pem | None,
    private_key: Pem | None,
    server_name: str | None,
    insecure: bool,
) -> ChannelSecurity:
    """What the options of a client mean for a channel to `target`.

    Args:
        target: what is called.
        tls: encrypt; so do all of the following.
        root_certificates: authorities that the server's certificate must be signed by; None: the system's.
        certificate_chain: the client's own certificate, then its intermediates.
        private_key: the key of that certificate, without a passphrase.
        server_name: the name that the server's certificate must hold, where it is not that of the target.
        insecure: plain text to another machine is meant.

    Raises:
        ValueError: the options contradict one another, are not PEM, or would send plain text to another machine.
        OSError: a file cannot be read.
    """
    options: dict[str, str | int] = {}
    local = is_loopback(target)
    if local:
        # A proxy named in the environment is for other machines.
        options["grpc.enable_http_proxy"] = 0
    given = [
        name
        for name, value in (
            ("root_certificates", root_certificates),
            ("certificate_chain", certificate_chain),
            ("private_key", private_key),
            ("server_name", server_name),
        )
        if value is not None
    ]
    if not tls and not given:
        if not insecure and not local:
            raise ValueError(
                f"target {target!r} is not a loopback address, and results would travel in plain text; "
                "give root_certificates for TLS, or tls=True for the authorities of the system, "
                "or insecure=True if that is meant"
            )
        return ChannelSecurity(credentials=None, options=options)
    if insecure:
        raise ValueError(f"insecure=True asks for plain text, and {given[0] if given else 'tls'} for TLS; give one")
    roots = _system_roots() if root_certificates is None else _roots(root_certificates)
    chain, key = _pair(certificate_chain, private_key)
    if server_name is not None:
        if not server_name:
            raise ValueError("server_name is empty; leave it out for the name of the target")
        options["grpc.ssl_target_name_override"] = server_name
        options["grpc.default_authority"] = server_name
    credentials = grpc.ssl_channel_credentials(roots, private_key=key, certificate_chain=chain)
    return ChannelSecurity(credentials=credentials, options=options)


def _read(name: str, given: Pem) -> bytes:
    if isinstance(given, bytes):
        return given
    if "-----BEGIN" in os.fspath(given):
        raise ValueError(f"{name} is PEM in a str, and a str is the path of a file; give PEM as bytes")
    with Path(given).open("rb") as file:
        content = file.read(MAX_PEM_BYTES + 1)
    if len(content) > MAX_PEM_BYTES:
        raise ValueError(f"{name}: {os.fspath(given)} is longer than {MAX_PEM_BYTES} bytes; it is no PEM file")
    return content


def _named(name: str, given: Pem) -> str:
    return name if isinstance(given, bytes) else f"{name}: {os.fspath(given)}"


def _roots(given: Pem) -> bytes:
    pem = _read("root_certificates", given)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Text around the certificates, such as the names in a bundle, need not be ASCII, and is passed over.
        context.load_verify_locations(cadata=pem.decode("ascii", "ignore"))
        found = bool(context.cert_store_stats()["x509"])
    except (ssl.SSLError, ValueError):  # ValueError: it is empty
        found = False
    if not found:
        raise ValueError(f"{_named('root_certificates', given)} holds no PEM certificate that can be read")
    return pem


def _pair(chain: Pem | None, key: Pem | None) -> tuple[bytes | None, bytes | None]:
    """The client's certificate and key, which are given together."""
    if chain is None and key is None:
        return None, None
    if chain is None or key is None:
        missing = "certificate_chain" if chain is None else "private_key"
        raise ValueError(f"certificate_chain and private_key are given together; {missing} is missing")
    chain_pem, key_pem = _read("certificate_chain", chain), _read("private_key", key)
    if b"-----BEGIN CERTIFICATE-----" not in chain_pem:
        raise ValueError(f"{_named('certificate_chain', chain)} holds no PEM certificate")
    if b"ENCRYPTED" in key_pem:
        raise ValueError(
            f"{_named('private_key', key)} has a passphrase; store it without one, readable by its owner alone"
        )
    if b"PRIVATE KEY-----" not in key_pem:
        raise ValueError(f"{_named('private_key', key)} holds no PEM private key")
    _require_match(chain_pem, key_pem)
    return chain_pem, key_pem


def _require_match(chain: bytes, key: bytes) -> None:
    """Refuse a key of another certificate here: the channel would only say that it cannot connect."""
    if not hasattr(os, "memfd_create"):  # pragma: no cover - other systems than Linux; the handshake fails there
        return
    # OpenSSL reads both from files alone, and a private key must not reach a disk.
    descriptor = os.memfd_create("mfn-client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(chain.rstrip() + b"\n" + key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as failed:
        if failed.reason == "KEY_VALUES_MISMATCH":
            raise ValueError("private_key is not the key of the certificate in certificate_chain") from None
        raise ValueError(
            f"certificate_chain and private_key are not a certificate and its key ({failed.reason or failed})"
        ) from None
    finally:
        os.close(descriptor)


def _system_roots() -> bytes:
    """The authorities that this system trusts; grpc by itself would take a list that came with its own release."""
    context = ssl.create_default_context()
    found = [ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True)]
    directory = ssl.get_default_verify_paths().capath
    if not found and directory is not None:
        found = [
            path.read_text(encoding="ascii", errors="replace")
            for path in sorted(Path(directory).iterdir())
            if _HASHED.fullmatch(path.name)
        ]
    if not found:
        raise ValueError(
            "this system has no certificate authorities where OpenSSL looks for them; give root_certificates, or "
            "set SSL_CERT_FILE"
        )
    return "\n".join(found).encode()
