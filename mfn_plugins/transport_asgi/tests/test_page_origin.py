"""Which pages may call, by what their browsers say."""

from __future__ import annotations

import pytest

from mfn_transport_asgi._asgi import Scope
from mfn_transport_asgi._page_origin import PageOrigins
from mfn_transport_asgi._settings import AsgiSettings

NAMED = "https://app.example.org"


def asked(origin: bytes | None, host: bytes) -> Scope:
    headers = [(b"host", host)] if origin is None else [(b"origin", origin), (b"host", host)]
    return {"headers": headers}


@pytest.mark.parametrize(
    ("listen", "origin", "host", "own", "near"),
    [
        ("127.0.0.1:80", None, b"evil.example", True, True),
        ("127.0.0.1:80", b"http://127.0.0.1", b"127.0.0.1", True, True),
        ("127.0.0.1:80", b"http://LocalHost:80", b"localhost:80", True, True),
        ("[::1]:80", b"http://[::1]:80", b"[::1]:80", True, True),
        ("127.0.0.1:80", b"http://localhost:5173", b"localhost:80", False, True),
        ("127.0.0.1:80", b"http://evil.example", b"evil.example", False, False),
        ("127.0.0.1:80", b"http://localhost.evil.example", b"localhost.evil.example", False, False),
        ("127.0.0.1:80", b"null", b"localhost", False, False),
        ("127.0.0.1:80", b"http://[", b"[", False, False),
        ("127.0.0.1:80", b"http://\xff", b"\xff", False, False),
        ("127.0.0.1:80", NAMED.encode(), b"localhost", True, True),
        ("0.0.0.0:80", b"http://mfn.example", b"mfn.example", True, False),
        ("0.0.0.0:80", b"http://evil.example", b"mfn.example", False, False),
    ],
)
def test_a_page_is_told_by_its_origin(listen: str, origin: bytes | None, host: bytes, own: bool, near: bool) -> None:
    pages = PageOrigins(AsgiSettings(listen=listen, cors_origins=(NAMED,)))
    assert (pages.are_own(asked(origin, host)), pages.are_near(asked(origin, host))) == (own, near)
    assert pages.local == (listen != "0.0.0.0:80")


def test_any_page_may_call_where_the_configuration_says_so() -> None:
    pages = PageOrigins(AsgiSettings(cors_origins=("*",), cors_any_origin=True))
    assert pages.are_own(asked(b"null", b"localhost"))
    assert pages.are_near(asked(b"http://evil.example", b"evil.example"))
