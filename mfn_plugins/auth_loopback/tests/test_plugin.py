"""Where the token may be offered, and the link to the page."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mfn_auth_loopback._token_file import TokenFile
from mfn_auth_loopback.authenticator import LoopbackSettings
from mfn_auth_loopback.plugin import announce, mfn_authenticators, mfn_check
from mfn_core.assembly import Plan
from mfn_core.components import ComponentKind
from mfn_core.testing.plugin import PluginSuite


class TestPlugin(PluginSuite):
    plugin = "auth_loopback"


def plan(settings: LoopbackSettings, *, listen: str = "127.0.0.1:8080", encrypted: bool = False) -> Plan:
    """As much of a plan as is looked at."""
    config = SimpleNamespace(listen=listen, encrypted=encrypted)
    transport = SimpleNamespace(name="asgi", path="transports.asgi", config=config)
    (spec,) = mfn_authenticators()
    own = SimpleNamespace(name="loopback", path="auth.loopback", config=settings, spec=spec)
    found: dict[ComponentKind, list[Any]] = {ComponentKind.TRANSPORT: [transport], ComponentKind.AUTHENTICATOR: [own]}
    return cast("Plan", SimpleNamespace(of=lambda kind: found.get(kind, [])))


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80", "example.org:80"])
def test_a_listener_that_others_reach_is_refused_unless_it_is_wanted_by_name(listen: str) -> None:
    (problem,) = mfn_check(plan(LoopbackSettings(), listen=listen))
    assert listen in problem.message
    assert "beyond_loopback" in problem.remedy
    assert list(mfn_check(plan(LoopbackSettings(beyond_loopback=True), listen=listen))) == []


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8080", "localhost:1"])
def test_loopback_is_fine(listen: str) -> None:
    assert list(mfn_check(plan(LoopbackSettings(), listen=listen))) == []


def test_a_page_that_nobody_serves_is_a_problem() -> None:
    (problem,) = mfn_check(plan(LoopbackSettings(transport="elsewhere")))
    assert problem.path == "auth.loopback.transport"


@pytest.fixture
def settings(tmp_path: Path) -> LoopbackSettings:
    return LoopbackSettings(token_file=tmp_path / "token")


@pytest.mark.parametrize(
    ("listen", "encrypted", "beginning"),
    [
        ("127.0.0.1:4711", False, "open http://127.0.0.1:4711/#token=mfnl_"),
        ("[::1]:4711", True, "open https://[::1]:4711/#token=mfnl_"),
        ("0.0.0.0:4711", False, "open http://127.0.0.1:4711/#token=mfnl_"),
    ],
)
def test_the_link_has_the_token_in_its_fragment(
    settings: LoopbackSettings, listen: str, encrypted: bool, beginning: str
) -> None:
    token = TokenFile(settings.token_file).obtain(owner=os.getpid(), valid_seconds=60.0)
    (line,) = announce(settings, plan(settings, listen=listen, encrypted=encrypted), {"asgi": [listen]})
    assert line.startswith(beginning)
    assert line.endswith(token.text)
    assert "?" not in line


def test_without_a_token_or_an_address_nothing_is_said(settings: LoopbackSettings) -> None:
    assert list(announce(settings, plan(settings), {"asgi": ["127.0.0.1:1"]})) == []
    TokenFile(settings.token_file).obtain(owner=os.getpid(), valid_seconds=60.0)
    assert list(announce(settings, plan(settings), {"grpc": ["127.0.0.1:1"]})) == []
