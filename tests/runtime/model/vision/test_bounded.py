"""The bounded store: what it keeps, what it drops, and that a value is made once."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import pytest

from runtime.model.vision.bounded import BoundedStore


@dataclass(frozen=True)
class Value:
    num_bytes: int


def test_what_was_used_longest_ago_goes_first() -> None:
    store: BoundedStore[Value] = BoundedStore(10)
    for name, size in ((b"a", 4), (b"b", 4)):
        store.put(name, Value(size))
    assert store.get(b"a") == Value(4)
    store.put(b"c", Value(5))
    assert b"a" in store and b"b" not in store and b"c" in store and store.num_bytes == 9
    store.put(b"a", Value(2))
    assert store.num_bytes == 7 and len(store) == 2
    store.put(b"large", Value(11))
    assert b"large" not in store and len(store) == 2
    store.put(b"c", Value(11))  # in place of one that was kept
    assert b"c" not in store and store.num_bytes == 2


def test_made_once_by_many_threads() -> None:
    store: BoundedStore[Value] = BoundedStore(10)
    made: list[int] = []

    def make() -> Value:
        made.append(1)
        time.sleep(0.02)
        return Value(1)

    threads = [threading.Thread(target=store.get_or_make, args=(b"a", make)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and store.num_hits == 7


def test_made_again_after_an_error() -> None:
    store: BoundedStore[Value] = BoundedStore(10)

    def fail() -> Value:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        store.get_or_make(b"a", fail)
    assert store.get_or_make(b"a", lambda: Value(1)) == Value(1)
    nothing: BoundedStore[Value] = BoundedStore(0)
    assert nothing.get_or_make(b"a", lambda: Value(1)) == Value(1) and len(nothing) == 0
