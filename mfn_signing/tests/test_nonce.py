"""Both kinds of nonces, and the source of windowed ones across threads and forks."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfn_signing import (
    MAX_COUNTER,
    MalformedError,
    RandomNonce,
    WindowedNonce,
    WindowedNonceSource,
    new_random_nonce,
    parse_nonce,
)

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@settings(deadline=None)  # the machine may be busy
@given(st.text(ALPHABET, min_size=16, max_size=64))
def test_a_text_of_the_alphabet_without_a_dot_is_random(text: str) -> None:
    assert parse_nonce(text) == RandomNonce(value=text)
    assert str(parse_nonce(text)) == text


@settings(deadline=None)  # the machine may be busy
@given(st.text(ALPHABET, min_size=16, max_size=32), st.integers(1, MAX_COUNTER))
def test_an_instance_and_a_counter_are_windowed(instance: str, counter: int) -> None:
    nonce = parse_nonce(f"{instance}.{counter}")
    assert nonce == WindowedNonce(instance=instance, counter=counter)
    assert str(nonce) == f"{instance}.{counter}"


@settings(deadline=None)  # the machine may be busy
@given(st.text(ALPHABET + ".=\n é", max_size=80))
def test_what_the_grammar_leaves_out_is_refused(text: str) -> None:
    grammar = r"[A-Za-z0-9_-]{16,64}|[A-Za-z0-9_-]{16,32}\.[1-9][0-9]{0,18}"
    if re.fullmatch(grammar, text) is None:
        with pytest.raises(MalformedError) as caught:
            parse_nonce(text)
        assert caught.value.part == "nonce"
    else:
        assert str(parse_nonce(text)) == text


def test_the_greatest_counter_is_the_last() -> None:
    assert parse_nonce("A" * 32 + ".9223372036854775807") == WindowedNonce(instance="A" * 32, counter=MAX_COUNTER)
    with pytest.raises(MalformedError, match="draw a new instance"):
        parse_nonce("A" * 32 + ".9223372036854775808")


@pytest.mark.parametrize("value", ["", "A" * 15, "A" * 65, "A" * 16 + "\n", "A" * 16 + ".1"])
def test_a_random_nonce_is_checked_when_made(value: str) -> None:
    with pytest.raises(MalformedError, match="16 to 64"):
        RandomNonce(value=value)


@pytest.mark.parametrize("instance", ["", "A" * 15, "A" * 33, "A" * 15 + "."])
def test_an_instance_is_checked_when_made(instance: str) -> None:
    with pytest.raises(MalformedError, match="16 to 32"):
        WindowedNonce(instance=instance, counter=1)


@pytest.mark.parametrize("counter", [0, -1, MAX_COUNTER + 1])
def test_a_counter_is_checked_when_made(counter: int) -> None:
    with pytest.raises(MalformedError, match="counter out of 1"):
        WindowedNonce(instance="A" * 16, counter=counter)


def test_random_nonces_differ_and_are_of_their_form() -> None:
    drawn = [new_random_nonce() for _ in range(100)]
    assert len(set(drawn)) == 100
    assert all(isinstance(parse_nonce(text), RandomNonce) for text in drawn)


def windowed(text: str) -> WindowedNonce:
    nonce = parse_nonce(text)
    assert isinstance(nonce, WindowedNonce)
    return nonce


def test_a_source_counts_from_one_under_one_instance() -> None:
    source = WindowedNonceSource()
    drawn = [windowed(source.next()) for _ in range(100)]
    assert [nonce.counter for nonce in drawn] == list(range(1, 101))
    assert len({nonce.instance for nonce in drawn}) == 1


def test_two_sources_never_share_an_instance() -> None:
    instances = {windowed(WindowedNonceSource().next()).instance for _ in range(100)}
    assert len(instances) == 100


def test_threads_of_one_source_get_every_counter_once() -> None:
    source = WindowedNonceSource()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            batches = list(pool.map(lambda _: [source.next() for _ in range(500)], range(8)))
    finally:
        sys.setswitchinterval(interval)
    drawn = [windowed(text) for batch in batches for text in batch]
    assert len({nonce.instance for nonce in drawn}) == 1
    assert sorted(nonce.counter for nonce in drawn) == list(range(1, 4001))
    for batch in batches:
        counters = [windowed(text).counter for text in batch]
        assert counters == sorted(counters)


def test_a_spent_counter_gives_way_to_a_new_instance() -> None:
    source = WindowedNonceSource()
    source._instance.counter = count(MAX_COUNTER)
    last, first = windowed(source.next()), windowed(source.next())
    assert (last.counter, first.counter) == (MAX_COUNTER, 1)
    assert last.instance != first.instance


def test_a_source_refuses_to_be_pickled_or_copied() -> None:
    source = WindowedNonceSource()
    for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make a new one"):
            duplicate(source)


FORKS = """
import os, sys
from mfn_signing import WindowedNonceSource

source = WindowedNonceSource()
unused = WindowedNonceSource()  # its first use is in a grandchild, past a child that never touched it

def say(who, nonces):
    os.write(1, "".join(f"{who} {nonce}\\n" for nonce in nonces).encode())

def forked(body):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]

def grandchild():
    say("grandchild", [source.next(), source.next(), unused.next()])

def child():
    say("child", [source.next(), source.next()])
    assert forked(grandchild) == 0
    say("child", [source.next()])

say("parent", [source.next()])
assert forked(child) == 0
assert forked(lambda: say("sibling", [source.next()])) == 0
say("parent", [source.next(), unused.next()])
"""

HELD = """
import os, signal
from mfn_signing import WindowedNonceSource, _nonce

source = WindowedNonceSource()
before = source.next()
with source._instance.lock, _nonce._renewal:  # as another thread may hold them at the moment of the fork
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        status = 1
        try:
            status = 0 if source.next().split(".")[0] != before.split(".")[0] else 2
        finally:
            os._exit(status)
assert os.waitpid(pid, 0)[1] == 0
assert source.next() == before.split(".")[0] + ".2"
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_every_forked_process_draws_an_instance_of_its_own() -> None:
    lines = [line.split(" ") for line in run(FORKS).splitlines()]
    texts = [text for _, text in lines]
    assert len(texts) == 10
    assert len(set(texts)) == 10
    drawn: dict[str, list[WindowedNonce]] = {}
    for who, text in lines:
        drawn.setdefault(who, []).append(windowed(text))
    # The parent goes on with the instance it had, and so does the child after its own fork.
    assert [nonce.counter for nonce in drawn["parent"]] == [1, 2, 1]
    assert drawn["parent"][0].instance == drawn["parent"][1].instance
    assert [nonce.counter for nonce in drawn["child"]] == [1, 2, 3]
    assert len({nonce.instance for nonce in drawn["child"]}) == 1
    assert [nonce.counter for nonce in drawn["grandchild"]] == [1, 2, 1]
    instances = {who: {nonce.instance for nonce in nonces} for who, nonces in drawn.items()}
    assert sum(map(len, instances.values())) == len(set().union(*instances.values())) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_lock_held_while_forking_does_not_stop_the_child() -> None:
    run(HELD)
