"""The CPU's operations on tensors: compiled kernels where there are some, torch's own where not (yet).

In come tensors, out go tensors; which way they are computed shows in the time only, up to rounding. Compiling takes
seconds the first time on a machine and is then kept on disk, so it runs in a thread of its own: until it is done,
torch does the work.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from runtime.kernels import cpu_native
from runtime.kernels.attend_shared import attend_shared
from runtime.kernels.attend_single import attend_single
from runtime.kernels.cpu_dense_token import dense_token
from runtime.kernels.panels import line_width, multiply
from runtime.kernels.vector import LANES

LOADED_WITHIN = 3.0
"""Seconds that are waited for kernels that have to be compiled. Kept ones are always waited for."""
_log = logging.getLogger(__name__)


class CpuOps:
    """Operations for one dtype. `ready`: whether the compiled kernels are used."""

    def __init__(self, dtype: torch.dtype, compiled: bool = True, patience: float | None = LOADED_WITHIN) -> None:
        """compiled=False: torch only. patience: seconds to wait for kernels to be compiled; None: until they are, so
        that no later step is computed otherwise than an earlier one."""
        self.dtype = dtype
        self.ready = False
        self._thread: threading.Thread | None = None
        self._compiling = False
        if compiled and dtype in (torch.float32, torch.bfloat16):
            self._thread = threading.Thread(target=self._compile, name="sgl-lite-compile", daemon=True)
            self._thread.start()
            self._thread.join(patience)
            while self._thread.is_alive() and not self._compiling:
                self._thread.join(0.05)

    def finish_compiling(self) -> None:
        """Wait until `ready`, or until it is known that these kernels do not compile here."""
        if self._thread is not None:
            self._thread.join()

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """x [rows, width], contiguous."""
        if self.ready and x.shape[1] % cpu_native.LANES == 0:
            out = torch.empty_like(x)
            cpu_native.rms_norm(array_of(x), array_of(weight), epsilon, array_of(out))
            return out
        return F.rms_norm(x, (x.shape[1],), weight, epsilon)

    def silu_multiply(self, gate_up: torch.Tensor) -> torch.Tensor:
        """gate_up [rows, 2 * n] -> silu(first half) * second half, [rows, n]."""
        width = gate_up.shape[1] // 2
        if self.ready and width % cpu_native.LANES == 0:
            out = gate_up.new_empty(gate_up.shape[0], width)
            cpu_native.silu_multiply(array_of(gate_up), array_of(out))
            return out
        return F.silu(gate_up[:, :width]) * gate_up[:, width:]

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

        qkv [rows, (heads + 2 * kv_heads) * dim] may be overwritten. cos, sin: [rows, dim].
        """
        kv_heads, dim = keys.shape[1:]
        heads = qkv.shape[1] // dim - 2 * kv_heads
        if self.ready and dim % cpu_native.HEAD_MULTIPLE == 0:
            arrays = [array_of(t) for t in (qkv, cos, sin, slots, keys, values)]
            cpu_native.rotate_and_write(*arrays, heads)
            return qkv[:, : heads * dim].unflatten(1, (heads, dim))
        query_key, value = qkv.unflatten(1, (-1, dim)).split([heads + kv_heads, kv_heads], dim=1)
        half = dim // 2
        turned = torch.cat((-query_key[..., half:], query_key[..., :half]), dim=-1)
        rotated = query_key * cos[:, None] + turned * sin[:, None]
        keys.index_copy_(0, slots, rotated[:, heads:])
        values.index_copy_(0, slots, value)
        return rotated[:, :heads]

    def attends_single(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> bool:
        """Whether `attend_single` and `attend_shared` can be used on these."""
        return (
            self.ready
            and query.dtype == keys.dtype == self.dtype
            and keys.shape == values.shape
            and query.shape[2] % cpu_native.HEAD_MULTIPLE == 0
            and query.stride()[1:] == (query.shape[2], 1)
        )

    def attend_single(
        self,
        query: torch.Tensor,
        rows: NDArray[np.int64],
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: NDArray[np.int64],
        lengths: NDArray[np.int64],
        scaling: float,
        out_dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """query [*, heads, dim]; its row rows[i] sees slots[i, :lengths[i]]. Returns [n, heads, dim] and [n, heads]."""
        num, (heads, dim) = len(rows), query.shape[1:]
        out = torch.empty(num, heads, dim, dtype=out_dtype)
        lse = torch.empty(num, heads, dtype=torch.float32)
        flat = query.as_strided((query.stride(0) * (query.shape[0] - 1) + heads * dim,), (1,))
        attend_single(
            array_of(flat), query.stride(0), rows, array_of(keys), array_of(values), slots, lengths, scaling,
            array_of(out), array_of(lse),
        )  # fmt: skip
        return out, lse

    def attend_shared(
        self,
        query: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: NDArray[np.int64],
        scaling: float,
        causal: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Every row of query [n, heads, dim] sees all of `slots`; or if causal, those up to its own, the last row's
        being the last. Returns float32 [n, heads, dim] and [n, heads].

        Where `attends_single`.
        """
        num, heads, dim = query.shape
        out, lse = torch.empty(num, heads, dim), torch.empty(num, heads)
        flat = query.as_strided((query.stride(0) * (num - 1) + heads * dim,), (1,))
        pool = (array_of(keys), array_of(values))
        attend_shared(array_of(flat), query.stride(0), *pool, slots, causal, scaling, array_of(out), array_of(lse))
        return out, lse

    def merges(self, out: torch.Tensor) -> bool:
        """Whether `merge` can be used on it."""
        return self.ready and out.dtype == torch.float32 and out.shape[2] % cpu_native.LANES == 0

    def merge(
        self,
        out: torch.Tensor,
        lse: torch.Tensor,
        rows: slice | torch.Tensor,
        part: torch.Tensor,
        part_lse: torch.Tensor,
    ) -> None:
        """Adds what the i-th of `rows` got from other keys, part[i], to out [*, heads, dim] and lse [*, heads],
        float32.
        """
        numbers = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else array_of(rows)
        arrays = (array_of(part.contiguous()), array_of(part_lse.contiguous()))
        cpu_native.merge_parts(array_of(out), array_of(lse), numbers, *arrays)

    def _compile(self) -> None:
        try:
            for kernel, arguments in _examples(self.dtype):
                kernel(*arguments)
                self._compiling = self._compiling or bool(kernel.stats.cache_misses)
            self.ready = True
        except Exception:
            _log.exception("CPU kernels do not compile here; torch's own are used instead")


def array_of(tensor: torch.Tensor) -> NDArray[Any]:
    """The same memory as numba takes it: bfloat16 as uint16."""
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _examples(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...]]]:
    """A small call of each kernel, of the types that it will have."""

    def some(*shape: int, of: torch.dtype = dtype) -> NDArray[Any]:
        return array_of(torch.zeros(shape, dtype=of))

    one, full = np.zeros(1, np.int64), torch.float32
    pool = some(1, 1, 32)
    merging = (some(1, 1, 32, of=full), some(1, 1, of=full), one)
    kinds: list[tuple[Any, tuple[Any, ...]]] = [
        (cpu_native.rms_norm, (some(1, 32), some(32), 1e-5, some(1, 32))),
        (cpu_native.silu_multiply, (some(1, 64), some(1, 32))),
        (cpu_native.rotate_and_write, (some(1, 96), some(1, 32), some(1, 32), one, pool, pool.copy(), 1)),
        (cpu_native.merge_parts, (*merging, some(1, 1, 32), some(1, 1, of=full))),
    ]
    shared = (some(32), 32, pool, pool, one, False, 1.0, some(1, 1, 32, of=full), some(1, 1, of=full))
    kinds.append((attend_shared, shared))
    for out in {dtype, full}:
        attended = (some(1, 1, 32, of=out), some(1, 1, of=full))
        arguments = (some(32), 32, one, pool, pool, one[None], one + 1, 1.0, *attended)
        kinds.append((attend_single, arguments))
    if dtype != full:
        kinds.append((cpu_native.merge_parts, (*merging, some(1, 1, 32, of=full), some(1, 1, of=full))))
    nothing = some(0, of=full)
    # Of hidden size, heads, KV heads and inner size 32, 1, 1 and 32: each layer's four weights, and the head.
    weights = [_some_panels(dtype, outputs) for outputs in (96, 32, 64, 32, 32)]
    for out in {dtype, full}:
        product = (some(2, 32), weights[0][0], nothing, some(0, 0, of=out), False, some(2, 96, of=out))
        kinds.append((multiply, product))
    layers = (weights[0], some(1, 0, of=full), *weights[1:4], some(1, 2, 32))
    token = (some(1, 32, of=full), some(1, 32, of=full), some(1, 32, of=full), *layers, 1e-5, some(32), weights[4][0])
    request = (np.ones(1), one, one[None], some(1, 1, 1, 32), some(1, 1, 1, 32), some(1, 32, of=full))
    kinds.append((dense_token, (*token, *request)))
    return kinds


def _some_panels(dtype: torch.dtype, outputs: int) -> NDArray[Any]:
    """Of one layer, for 32 inputs."""
    width = line_width(dtype.itemsize)
    return array_of(torch.zeros(1, outputs // LANES, 32 // width, LANES * width, dtype=dtype))
