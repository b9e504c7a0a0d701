from __future__ import annotations

import logging
import time

import pytest

from mfn_transport_grpc._metadata import deadline_of, peer_of, tls_peer_of, wire_metadata


class Context:
    """What grpc.aio tells of a call."""

    def __init__(self, peer: str, proved: dict[str, list[bytes]] | None = None, remaining: float | None = None) -> None:
        self._peer, self._proved, self._remaining = peer, proved or {}, remaining

    def peer(self) -> str:
        return self._peer

    def auth_context(self) -> dict[str, list[bytes]]:
        return self._proved

    def time_remaining(self) -> float | None:
        return self._remaining


@pytest.mark.parametrize(
    ("told", "address"),
    [
        ("ipv4:127.0.0.1:40112", "127.0.0.1:40112"),
        ("ipv6:%5B::1%5D:40112", "[::1]:40112"),
        ("ipv6:[::1]:40112", "[::1]:40112"),
        ("unix:", "unix:"),
        ("unix:/run/mfn.sock", "unix:/run/mfn.sock"),
        ("", "unknown"),
    ],
)
def test_a_peer_is_an_address_and_a_port(told: str, address: str) -> None:
    assert peer_of(False)(Context(told)).address == address


def test_a_certificate_names_the_peer_by_its_subject() -> None:
    proved = {"x509_subject": [b"CN=one,O=\\C3\\96rg"], "x509_subject_alternative_name": [b"one.example"]}
    peer = tls_peer_of(Context("ipv4:127.0.0.1:1", proved))
    assert (peer.address, peer.tls_identity) == ("127.0.0.1:1", "CN=one,O=\\C3\\96rg")


def test_a_certificate_without_a_subject_names_the_peer_by_its_first_alternative_name() -> None:
    proved = {"x509_subject": [b""], "x509_subject_alternative_name": [b"spiffe://domain/one", b"two"]}
    assert tls_peer_of(Context("ipv4:127.0.0.1:1", proved)).tls_identity == "spiffe://domain/one"


def test_an_identity_is_not_remembered_for_the_next_connection_from_the_same_port() -> None:
    assert tls_peer_of(Context("ipv4:127.0.0.1:1", {"x509_subject": [b"CN=one"]})).tls_identity == "CN=one"
    assert tls_peer_of(Context("ipv4:127.0.0.1:1")).tls_identity is None
    assert peer_of(False)(Context("ipv4:127.0.0.1:1")).tls_identity is None


def test_a_deadline_stands_on_the_monotonic_clock() -> None:
    before = time.monotonic()
    deadline = deadline_of(Context("", remaining=5.0))
    assert deadline is not None
    assert before + 5.0 <= deadline <= time.monotonic() + 5.0
    assert deadline_of(Context("")) is None


def test_metadata_that_http2_can_carry_is_kept_in_order() -> None:
    pairs: list[tuple[str, str | bytes]] = [("x-a", "1"), ("x-a", ""), ("x.b_c-bin", b"\x00\xff"), ("x-d", " ~")]
    assert wire_metadata(pairs, "/s/m") == tuple(pairs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("X-Upper", "1"),
        ("", "1"),
        ("x key", "1"),
        (":path", "1"),
        ("grpc-status-details-bin", b""),
        ("x-a", "ü"),
        ("x-a", "two\nlines"),
        ("x-a", b"bytes"),
        ("x-a-bin", "text"),
    ],
)
def test_metadata_that_http2_cannot_carry_is_left_out_and_logged(
    key: str, value: str | bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        assert wire_metadata([("x-b", "1"), (key, value)], "/s/m") == (("x-b", "1"),)
    assert "/s/m: metadata" in caplog.text
