"""Paths of google.api.http, and what fits them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_transport_asgi._rest.template import Template


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        ("/simulate", b"/simulate", {}),
        ("/simulate", b"/simulate/", None),
        ("/a.b", b"/axb", None),
        ("/v1/models/{name}", b"/v1/models/mycelium", {"name": b"mycelium"}),
        ("/v1/models/{name}", b"/v1/models/a%2Fb%20c", {"name": b"a/b c"}),
        ("/v1/models/{name}", b"/v1/models/", None),
        ("/v1/models/{name}", b"/v1/models/a/b", None),
        ("/v1/{name=models/*}", b"/v1/models/x", {"name": b"models/x"}),
        ("/v1/{name=models/*}", b"/v1/other/x", None),
        ("/v1/{path=**}", b"/v1/a/b%2Fc%20d", {"path": b"a/b%2Fc d"}),
        ("/v1/*/x", b"/v1/anything/x", {}),
        ("/v1/{a.b}/{c}:run", b"/v1/1/2:run", {"a.b": b"1", "c": b"2"}),
        ("/v1/{a.b}/{c}:run", b"/v1/1/2:walk", None),
    ],
)
def test_a_path_fits_or_not(text: str, path: bytes, found: dict[str, bytes] | None) -> None:
    assert Template(text).match(path) == found


def test_openapi_is_told_the_names_alone() -> None:
    template = Template("/v1/{name=models/*}/{kind}")
    assert (template.public, tuple(template.fields), template.fixed) == ("/v1/{name}/{kind}", ("name", "kind"), False)
    assert Template("/simulate").fixed


@pytest.mark.parametrize("text", ["simulate", "", "/a b", "/{}", "/{1a}", "/{a", "/a}", "/ä", "/a?b", "/a#b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="path"):
        Template(text)


@given(value=st.text(min_size=1))
def test_any_text_comes_through_one_segment(value: str) -> None:
    found = Template("/v1/{name}").match(b"/v1/" + quote(value, safe="").encode())
    assert found == {"name": value.encode()}
