"""Splitting a text into JSON objects, however it is cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfn_client.commands import _json_values
from mfn_client.commands._json_values import ObjectSplitter, objects_in

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    objects=st.lists(st.dictionaries(st.text(), VALUES, max_size=3), max_size=5),
    between=st.sampled_from(["", "\n", " \t\r\n", "\n\n"]),
    indent=st.sampled_from([None, 2]),
    escaped=st.booleans(),
    cuts=st.lists(st.integers(0, 400), max_size=8),
)
def test_objects_come_out_as_they_went_in(
    objects: list[object], between: str, indent: int | None, escaped: bool, cuts: list[int]
) -> None:
    text = between.join(json.dumps(each, indent=indent, ensure_ascii=escaped) for each in objects)
    places = sorted({min(cut, len(text)) for cut in cuts} | {0, len(text)})
    pieces = [text[start:stop] for start, stop in itertools.pairwise(places)]
    assert [json.loads(found) for found in objects_in(pieces)] == objects


def test_an_object_comes_out_as_soon_as_it_ends() -> None:
    splitter = ObjectSplitter()
    assert list(splitter.feed('{"a": "}\\"')) == []
    assert list(splitter.feed('"}')) == ['{"a": "}\\""}']
    assert list(splitter.feed('{}{"b"')) == ["{}"]
    assert list(splitter.feed(": {}}")) == ['{"b": {}}']
    splitter.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", r"line 1: a JSON object is expected, found '\[1\]'"),
        ('{"a": "\n"}\n\nnonsense\n', "line 4: a JSON object is expected, found 'nonsense'"),
        ("{}, {}", "line 1: a JSON object is expected, found ', {}'"),
        ('{}\n{"a": 1\n', "line 2: the object that begins here does not end"),
        ('{"a": "', "line 1: the object that begins here does not end"),
    ],
)
def test_what_is_no_object_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(objects_in([text]))


def test_an_object_that_does_not_end_is_given_up_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_json_values, "MAX_OBJECT_CHARACTERS", 1000)
    splitter = ObjectSplitter()
    assert list(splitter.feed('{"a": "')) == []
    for _ in range(9):
        assert list(splitter.feed("x" * 100)) == []
    with pytest.raises(ValueError, match="line 1: the object has more than 1000 characters"):
        list(splitter.feed("x" * 100))
