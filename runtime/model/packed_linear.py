"""Linear layers with their weights laid out once as the CPU's matrix kernels want them (oneDNN).

A packed product of few rows takes half the time of a plain one in bfloat16; with many rows the plain one wins, so
both are kept where memory allows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

PACKED_ROWS = {torch.bfloat16: 256, torch.float16: 256, torch.float32: 1 << 30}
"""Up to how many rows the packed product is the faster one."""


class PackedLinear(nn.Module):
    """x [..., in] -> [..., out], as `nn.Linear` with the same weight and bias."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, pack: bool = True) -> None:
        """pack=False: plain products only, where memory is short or the CPU has no others."""
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        self.in_features, self.out_features = weight.shape[1], weight.shape[0]
        pack = pack and can_pack(weight)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight, 1) if pack else None
        self._packed_rows = PACKED_ROWS[weight.dtype] if pack else 0

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """With `residual` [..., out]: the sum with it, perhaps in its place (`addmm` would copy it first on a GPU)."""
        if self._packed is None or x.numel() > self._packed_rows * self.in_features:
            if residual is None:
                return F.linear(x, self.weight, self.bias)
            if self.bias is None and x.dim() == 2:
                return residual.addmm_(x, self.weight.t())
            return F.linear(x, self.weight, self.bias).add_(residual)
        if residual is None:
            return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self._packed, self.bias, "add")


def can_pack(weight: torch.Tensor) -> bool:
    """Whether oneDNN has a packed product for such a weight here."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if weight.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if weight.dtype == torch.float16:
        return torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return weight.dtype == torch.float32


def pack_linears(module: nn.Module) -> int:
    """Replaces every `nn.Linear` below `module` (not its subclasses); how many there were."""
    count = 0
    for name, child in module.named_children():
        if type(child) is nn.Linear and can_pack(child.weight):
            setattr(module, name, PackedLinear(child.weight.detach(), child.bias))
            count += 1
        else:
            count += pack_linears(child)
    return count
