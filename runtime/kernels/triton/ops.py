"""A GPU's operations on tensors, behind the same names as `runtime.kernels.cpu_ops.CpuOps`."""

from __future__ import annotations

import torch

from runtime.kernels.triton.attention import as_bytes
from runtime.kernels.triton.rms_norm import rms_norm
from runtime.kernels.triton.rotate_and_write import rotate_and_write
from runtime.kernels.triton.silu_multiply import silu_multiply


class TritonOps:
    """ready: there is no kernel for a whole step of one token, as the CPU has."""

    ready = False

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float, offset: float = 0.0) -> torch.Tensor:
        """x [rows, width]. offset: added to the weight."""
        return rms_norm(x, weight, epsilon, offset)

    def silu_multiply(self, gate_up: torch.Tensor) -> torch.Tensor:
        """gate_up [rows, 2 * n] -> silu(first half) * second half, [rows, n]."""
        return silu_multiply(gate_up)

    def rotate_and_write(
        self,
        qkv: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        slots: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor:
        """Writes rotated keys, and values, into the pool's slots; returns rotated queries [rows, heads, dim].

        qkv [rows, (heads + 2 * kv_heads) * dim]. cos, sin: [rows, dim].
        """
        return rotate_and_write(qkv, cos, sin, slots, as_bytes(keys), as_bytes(values))
