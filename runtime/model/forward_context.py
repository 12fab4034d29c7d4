"""What attention needs to know of the step under way, for the time of one forward.

Batch facts do not travel in keyword arguments: some families drop them, some mix them with their own. In comes a step
object, out goes whatever its `attend` returns. This module knows neither models nor pools.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import nn


class AttentionStep(Protocol):
    """Answers the attention calls of one forward."""

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        """query [1, Hq, T, Dk], key [1, Hkv, T, Dk], value [1, Hkv, T, Dv] -> [1, T, Hq, Dv]."""
        ...


_CURRENT: ContextVar[AttentionStep | None] = ContextVar("sgl_lite_forward_context", default=None)


@contextmanager
def forward_context(step: AttentionStep) -> Iterator[None]:
    """Every attention call made inside goes to `step`."""
    token = _CURRENT.set(step)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_step() -> AttentionStep:
    """The step of the innermost `forward_context`. RuntimeError outside of one."""
    step = _CURRENT.get()
    if step is None:
        raise RuntimeError(
            "the model was called outside of forward_context(...): its attention has no batch to work on"
        )
    return step
