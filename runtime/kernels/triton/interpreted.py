"""What kernels run on: Triton's interpreter, and what it cannot do; or a chip, and of which kind."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl

INTERPRETED: bool = triton.knobs.runtime.interpret

_TRITON = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


@cache
def target_of(device: torch.device) -> int:
    """Compute capability times ten; without a GPU, an H100's."""
    if device.type != "cuda":
        return 90
    major, minor = torch.cuda.get_device_capability(device)
    return 10 * major + minor


def dot_dtype(dtype: torch.dtype) -> Any:
    """What matrix products of such tensors are taken in. The interpreter would multiply the bits of bfloat16."""
    return tl.float32 if INTERPRETED and dtype == torch.bfloat16 else _TRITON[dtype]
