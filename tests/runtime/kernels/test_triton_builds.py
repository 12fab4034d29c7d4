"""Every Triton kernel compiles for every target, no decode kernel spills, and all fit the shared memory."""

from __future__ import annotations

import pytest

pytest.importorskip("triton", reason="triton is for Linux")

from runtime.kernels.triton.builds import (
    SHARED_MEMORY,
    TARGETS,
    Build,
    attention_builds,
    build,
    other_builds,
)

ATTENTION, OTHERS = list(attention_builds()), list(other_builds())
QUICK = [ATTENTION[0], ATTENTION[1]]


def check(what: Build, target: int) -> None:
    found = build(what, target)
    assert found.shared <= SHARED_MEMORY[target]
    if what.name.startswith("decode"):
        assert found.spilled == 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", QUICK, ids=lambda what: what.name)
def test_decode(what: Build, target: int) -> None:
    check(what, target)


@pytest.mark.parametrize("what", OTHERS, ids=lambda what: what.name)
def test_other_kernels(what: Build) -> None:
    check(what, 90)


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("what", [*ATTENTION[2:], *OTHERS], ids=lambda what: what.name)
def test_all(what: Build, target: int) -> None:
    check(what, target)
