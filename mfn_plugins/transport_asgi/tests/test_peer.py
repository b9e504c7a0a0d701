"""Who is at the other end, as the listener and nobody else tells it."""

from __future__ import annotations

from typing import Any

import pytest

from mfn_transport_asgi._peer import peer_of


def scope(scheme: str = "https", **tls: Any) -> dict[str, Any]:
    return {
        "client": ("192.0.2.1", 4000),
        "scheme": scheme,
        "extensions": {"tls": tls},
        "headers": [(b"x-forwarded-client-cert", b'Subject="CN=root"'), (b"x-forwarded-proto", b"https")],
    }


@pytest.mark.parametrize(("scheme", "encrypted"), [("http", False), ("ws", False), ("https", True), ("wss", True)])
def test_requests_and_sockets_are_encrypted_alike(scheme: str, encrypted: bool) -> None:
    assert peer_of(scope(scheme), identifies=True).encrypted is encrypted


@pytest.mark.parametrize(
    ("tls", "identity"),
    [
        ({"client_cert_name": "CN=ada"}, "CN=ada"),
        ({"client_cert_name": ""}, None),
        ({"client_cert_name": None}, None),
        ({"client_cert_name": "CN=ada", "client_cert_error": "expired"}, None),
        ({"client_cert_name": "CN=ada", "client_cert_error": None}, "CN=ada"),
        ({}, None),
    ],
)
def test_a_certificate_names_its_client_only_where_it_was_verified(tls: dict[str, Any], identity: str | None) -> None:
    assert peer_of(scope(**tls), identifies=True).tls_identity == identity
    assert peer_of(scope(**tls), identifies=False).tls_identity is None


def test_a_server_without_the_extension_names_nobody() -> None:
    given = scope()
    given["extensions"] = {}
    assert peer_of(given, identifies=True).tls_identity is None


def test_an_address_of_ip_6_stands_in_brackets_and_an_unknown_one_is_not_local() -> None:
    assert peer_of({**scope(), "client": ("::1", 4000)}, identifies=False).address == "[::1]:4000"
    unknown = peer_of({**scope(), "client": None}, identifies=False)
    assert unknown.address == "unknown"
    assert not unknown.is_local
