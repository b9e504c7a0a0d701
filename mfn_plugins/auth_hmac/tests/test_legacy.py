"""Scheme v1: off unless it is named, and as strict as it can be."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path

import pytest

from mfn_auth_hmac import HmacAuthenticator
from mfn_auth_hmac.legacy import LegacyAuthenticator, LegacyKey, load_legacy_keys
from mfn_core import Shape
from mfn_core.testing.auth import AuthenticatorSuite, Headers

NOW = 1_767_225_600.0
API_KEY = "an-api-key-of-enough-randomness"
KEY = LegacyKey(
    id="old-1",
    sha256=hashlib.sha256(API_KEY.encode()).hexdigest(),
    principal="old",
    roles=frozenset({"read"}),
)


def headers(api_key: str = API_KEY, timestamp: str = f"{NOW - 1.5}", request_id: str = "r-1") -> Headers:
    signature = hmac.new(api_key.encode(), f"{request_id}:{timestamp}".encode(), "sha256").hexdigest()
    return [
        ("x-api-key", api_key),
        ("x-request-id", request_id),
        ("x-timestamp", timestamp),
        ("x-signature", signature),
    ]


class TestLegacyAuthenticator(AuthenticatorSuite):
    covers_body = False
    covers_method = False
    single_use = False

    @pytest.fixture
    def authenticator(self) -> LegacyAuthenticator:
        return LegacyAuthenticator([KEY], clock=lambda: NOW)

    def credentials(self, path: str, body: bytes | None) -> Headers:
        return headers()

    def wrong(self, path: str, body: bytes | None) -> Mapping[str, Headers]:
        good = headers()
        kinds: dict[str, Headers] = {
            f"missing {name}": [pair for pair in good if pair[0] != name] for name, _ in good if name != "x-api-key"
        }
        kinds |= {f"doubled {name}": [*good, (name, value)] for name, value in good}
        kinds["unknown key"] = headers("another-key")
        kinds["not ASCII"] = headers("schlüssel")
        kinds["too old"] = headers(timestamp=f"{NOW - 301}")
        kinds["from the future"] = headers(timestamp=f"{NOW + 6}")
        kinds["no timestamp"] = headers(timestamp="nan")
        kinds["another id"] = [(k, "r-2" if k == "x-request-id" else v) for k, v in good]
        kinds["signature in upper case"] = [(k, str(v).upper() if k == "x-signature" else v) for k, v in good]
        return kinds

    def secrets(self) -> list[str]:
        return [API_KEY]


SUITE = AuthenticatorSuite()


async def test_it_is_off_unless_it_is_named() -> None:
    call = SUITE.call(SUITE.operation(Shape.UNARY), headers())
    assert await HmacAuthenticator([], clock=lambda: NOW).authenticate(call) is None


async def test_where_it_is_on_it_stands_beside_the_other() -> None:
    legacy = LegacyAuthenticator([KEY], clock=lambda: NOW)
    authenticator = HmacAuthenticator([], clock=lambda: NOW, legacy=legacy)
    for shape in Shape:
        principal = await authenticator.authenticate(SUITE.call(SUITE.operation(shape), headers()))
        assert principal is not None
        assert (principal.name, principal.key_id, principal.method) == ("old", "old-1", "hmac-v1")


def test_keys_are_kept_by_their_hashes(tmp_path: Path) -> None:
    path = tmp_path / "v1.toml"
    path.write_text(f'[[keys]]\nid = "old-1"\nsha256 = "{KEY.sha256}"\nprincipal = "old"\nroles = ["read"]\n')
    assert load_legacy_keys(path) == (KEY,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs"),
        ("keys = 3", "needs"),
        ("[[keys", "TOML"),
        ('[[keys]]\nid = "a b"\nsha256 = "x"\nprincipal = ""\nroles = ["root"]\nmore = 1', "id"),
        ('[[keys]]\nid = "a b"\nsha256 = "x"\nprincipal = ""\nroles = ["root"]\nmore = 1', "sha256"),
        ('[[keys]]\nid = "a b"\nsha256 = "x"\nprincipal = ""\nroles = ["root"]\nmore = 1', "more is unknown"),
    ],
)
def test_a_wrong_file_is_refused_with_everything_that_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "v1.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        load_legacy_keys(path)
