"""What the collector goes through while engines run."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from runtime import collector


@pytest.fixture(autouse=True)
def nothing_frozen() -> Iterator[None]:
    """Engines of other tests may be alive in this process."""
    engines, here, frozen = collector._engines, collector._frozen_here, gc.get_freeze_count()
    collector._engines, collector._frozen_here = 0, False
    gc.unfreeze()
    yield
    gc.unfreeze()
    collector._engines, collector._frozen_here = engines, here
    if frozen:
        gc.freeze()


def test_what_was_there_is_left_alone_until_the_last_engine_ends() -> None:
    collector.leave_alone()
    frozen = gc.get_freeze_count()
    assert frozen > 10_000
    collector.leave_alone()
    collector.take_up()
    assert gc.get_freeze_count() == pytest.approx(frozen, rel=0.01)
    collector.take_up()
    assert gc.get_freeze_count() == 0


def test_what_libraries_make_is_left_alone_at_once() -> None:
    with collector.paused():
        assert not gc.isenabled()
        made: list[list[object]] = [[] for _ in range(1000)]
    assert gc.isenabled()
    tracked = {id(found) for found in gc.get_objects()}
    assert not any(id(one) in tracked for one in made)
    collector.leave_alone()
    collector.take_up()
    assert gc.get_freeze_count() == 0


def test_a_program_that_froze_its_objects_itself_keeps_them_so() -> None:
    gc.freeze()
    collector.leave_alone()
    collector.take_up()
    assert gc.get_freeze_count() > 10_000


def test_cycles_made_later_are_collected() -> None:
    collector.leave_alone()
    try:
        for _ in range(10):
            cycle: list[object] = []
            cycle.append(cycle)
        del cycle
        assert gc.collect() >= 10
    finally:
        collector.take_up()
