"""Whether kernels run in Triton's interpreter, and what it cannot do."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

INTERPRETED: bool = triton.knobs.runtime.interpret

_TRITON = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def dot_dtype(dtype: torch.dtype) -> Any:
    """What matrix products of such tensors are taken in. The interpreter would multiply the bits of bfloat16."""
    return tl.float32 if INTERPRETED and dtype == torch.bfloat16 else _TRITON[dtype]
