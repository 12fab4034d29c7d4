"""What launches a kernel becomes an op of torch, so that `torch.compile` traces through it.

In comes a function of tensors and numbers; out goes `torch.ops.sgl_lite.<its name>`. The same as
`torch.library.custom_op`, for less Python: 3 microseconds a call instead of 34 where arguments are changed (torch
2.13), and a step without a graph makes two such calls a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Launch = TypeVar("Launch", bound=Callable[..., Any])

_LIBRARY = torch.library.Library("sgl_lite", "FRAGMENT")


def _nothing(*_: object) -> None:
    return None


def op(*, changes: tuple[str, ...] = (), fake: Callable[..., Any] = _nothing) -> Callable[[Launch], Launch]:
    """changes: names of parameters that are written to. fake: the result's shape and dtype, from the same arguments."""

    def register(launch: Launch) -> Launch:
        name = launch.__name__
        _LIBRARY.define(name + torch.library.infer_schema(launch, mutates_args=changes))
        for device in ("CUDA", "CPU"):  # in the interpreter, tensors are the CPU's
            _LIBRARY.impl(name, launch, device)
        torch.library.register_fake(f"sgl_lite::{name}", fake, lib=_LIBRARY)
        return cast(Launch, getattr(torch.ops.sgl_lite, name).default)

    return register
