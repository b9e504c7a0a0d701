"""Metadata: in order, keys may repeat, and values are text or bytes."""

from __future__ import annotations

from mfn_core import Metadata

PAIRS = (("a", "1"), ("b-bin", b"2"), ("a", "3"), ("c", "4"))


def test_of_a_key_that_repeats_the_first_value_counts() -> None:
    metadata = Metadata(PAIRS)
    assert metadata.get("a") == "1"
    assert metadata.get_all("a") == ("1", "3")
    assert metadata.repeats
    assert not Metadata(PAIRS[1:]).repeats


def test_text_and_bytes_are_asked_for_apart() -> None:
    metadata = Metadata(PAIRS)
    assert metadata.get_bytes("b-bin") == b"2"
    assert metadata.get("b-bin") is None
    assert metadata.get_bytes("a") is None


def test_several_keys_are_found_at_once_in_the_order_asked() -> None:
    metadata = Metadata(PAIRS)
    assert metadata.get_first(["c", "missing", "b-bin", "a"]) == ["4", None, None, "1"]
    assert Metadata().get_first(["a"]) == [None]


def test_pairs_keep_their_order_and_values_are_not_shown() -> None:
    metadata = Metadata(iter(PAIRS))
    assert tuple(metadata) == PAIRS
    assert len(metadata) == 4
    assert repr(metadata) == "Metadata(['a', 'b-bin', 'c'])"
