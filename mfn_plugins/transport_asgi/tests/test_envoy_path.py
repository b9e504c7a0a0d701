"""Which paths Envoy passes on to Python."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_transport_asgi._envoy.path import DECODABLE


def passes(path: str) -> bool:
    return re.fullmatch(DECODABLE, path) is not None


def decodes(path: str) -> bool:
    try:
        unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return False
    return True


PIECES = st.sampled_from([*"/a4F%", "%2", "%2F", "%e", "%c3", "%A9", "%e2", "%82", "%ac", "%F0", "%9f", "%8d", "%84"])


@given(st.lists(PIECES | st.integers(0, 255).map("%{:02x}".format), max_size=8).map("".join))
def test_a_path_passes_exactly_if_it_decodes(path: str) -> None:
    assert passes(path) == decodes(path)


@given(st.characters(exclude_categories=["Cs"]))
def test_every_character_passes_whole_and_not_in_part(character: str) -> None:
    escaped = [f"%{byte:02X}" for byte in character.encode()]
    assert passes("/" + "".join(escaped))
    if len(escaped) > 1:
        assert not passes("/" + "".join(escaped[:-1]))


@pytest.mark.parametrize(
    "path", ["/%c0%80", "/%ed%a0%80", "/%ed%bf%bf", "/%e0%9f%bf", "/%f0%8f%bf%bf", "/%f4%90%80%80"]
)
def test_longer_forms_surrogates_and_what_is_beyond_unicode_do_not_pass(path: str) -> None:
    assert not passes(path)
    assert not decodes(path)


def test_nothing_is_asked_of_the_query() -> None:
    assert passes("/a?%ff")
    assert not passes("/%ff?a")
