"""Every Triton kernel compiles for every target, none spills, and all fit the shared memory."""

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

ATTENTION = [(what, target) for target in TARGETS for what in attention_builds(target)]
QUICK = [pair for pair in ATTENTION if pair[0].name.startswith("decode") and pair[0].name.endswith("32 heads of 128")]
OTHERS = list(other_builds())


def name_of(value: object) -> str:
    return value.name if isinstance(value, Build) else str(value)


def check(what: Build, target: int) -> None:
    found = build(what, target)
    assert found.shared <= SHARED_MEMORY[target] and found.spilled == 0


@pytest.mark.parametrize(("what", "target"), QUICK, ids=name_of)
def test_decode(what: Build, target: int) -> None:
    check(what, target)


@pytest.mark.parametrize("what", OTHERS, ids=name_of)
def test_other_kernels(what: Build) -> None:
    check(what, 90)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "target"), [*ATTENTION, *((what, target) for target in TARGETS for what in OTHERS)], ids=name_of
)
def test_all(what: Build, target: int) -> None:
    check(what, target)
