"""Linear layers whose weights lie in panels (`runtime.kernels.panels`), and in no other form: one copy in memory.

In come weights as torch has them, out go products of the same values. Knows no model.
"""

from __future__ import annotations

import torch

from runtime.kernels import huge_pages, panels
from runtime.kernels.cpu_ops import array_of
from runtime.kernels.vector import LANES

_KEPT = 32 << 20
"""Bytes of a result up to which its memory is kept for the next."""


class Scratch:
    """Memory for results of one kind, each of which is used up before the next is made.

    Asked for such blocks in turns, the system's allocator would leave holes that the same blocks, aligned, do not fit.
    """

    def __init__(self) -> None:
        self._memory: torch.Tensor | None = None

    def rows(self, count: int, width: int, dtype: torch.dtype) -> torch.Tensor:
        """[count, width], to be written. Always of one width and dtype."""
        if count * width * dtype.itemsize > _KEPT:
            return torch.empty(count, width, dtype=dtype)
        if self._memory is None or len(self._memory) < count:
            self._memory = huge_pages.zeros((count, width), dtype)
        return self._memory[:count]


class PanelLinear:
    """x [rows, in] -> [rows, out], as `nn.Linear` with the same weight and bias, on one thread.

    layout: as `to_panels` makes it. outputs: of the weight, where its last panel is not full. dtype: of what comes out,
    that of the weight if None. scratch: what comes out lies there.
    """

    def __init__(
        self,
        layout: torch.Tensor,
        bias: torch.Tensor | None,
        outputs: int | None = None,
        dtype: torch.dtype | None = None,
        scratch: Scratch | None = None,
    ) -> None:
        self._padded = layout.shape[0] * LANES
        self._outputs = outputs or self._padded
        self._dtype = dtype or layout.dtype
        self._scratch = scratch
        self._bias = torch.empty(0) if bias is None else bias.float()
        self._nothing = array_of(torch.empty(0, 0, dtype=self._dtype))
        self._arrays = (array_of(layout), self._bias.numpy())

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """With `residual` [rows, out], of a weight that fills its panels: the sum with it, in its place."""
        if residual is not None:
            panels.multiply(array_of(x), *self._arrays, array_of(residual), False, array_of(residual))
            return residual
        out = self._new(x.shape[0], self._padded)
        panels.multiply(array_of(x), *self._arrays, self._nothing, False, array_of(out))
        return out if self._outputs == self._padded else out[:, : self._outputs].contiguous()

    def gate(self, x: torch.Tensor) -> torch.Tensor:
        """silu(gate) * up, [rows, out / 2], of a weight in which panels of both take turns."""
        out = self._new(x.shape[0], self._padded // 2)
        panels.multiply(array_of(x), *self._arrays, self._nothing, True, array_of(out))
        return out

    def _new(self, rows: int, width: int) -> torch.Tensor:
        if self._scratch is not None:
            return self._scratch.rows(rows, width, self._dtype)
        return torch.empty(rows, width, dtype=self._dtype)


def panels_shape(outputs: int, inputs: int, dtype: torch.dtype) -> tuple[int, int, int]:
    """Of the layout of such a weight. Only where `inputs` fill lines."""
    width = panels.line_width(dtype.itemsize)
    return -(-outputs // LANES), inputs // width, LANES * width


def to_panels(weight: torch.Tensor, out: torch.Tensor) -> None:
    """weight [outputs, inputs] -> out, of `panels_shape`, zeros where it is not full."""
    width = panels.line_width(weight.element_size())
    full = len(weight) // LANES
    cut = out.unflatten(2, (LANES, width))
    lines = weight.unflatten(1, (-1, width))
    cut[:full].copy_(lines[: full * LANES].unflatten(0, (full, LANES)).transpose(1, 2))
    rest = lines[full * LANES :]
    if len(rest):
        cut[full].zero_()[:, : len(rest)].copy_(rest.transpose(0, 1))


def from_panels(layout: torch.Tensor) -> torch.Tensor:
    """The weight [outputs, inputs] again, with what filled its last panel."""
    width = panels.line_width(layout.element_size())
    return layout.unflatten(2, (LANES, width)).transpose(1, 2).flatten(2).flatten(0, 1)
