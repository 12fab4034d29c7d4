"""Compiled CPU kernels for the small steps between products.

Arrays are float32, or uint16 for bfloat16 (`runtime.kernels.vector`); all arithmetic is float32. Rows are contiguous
unless a stride is said. Compiled by numba when first called and kept on disk; nothing here runs in parallel, and
nothing holds Python's lock. Head sizes must be multiples of 32, other widths of 16: `CpuOps` looks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from runtime.kernels.vector import (
    LANES,
    add,
    divide,
    exponential,
    fill,
    load,
    maximum,
    multiply,
    multiply_add,
    store,
    subtract,
    total,
)

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")

HEAD_MULTIPLE = 2 * LANES


@_compiled
def rms_norm(x: Any, weight: Any, epsilon: Any, out: Any) -> None:
    """out[r] = x[r] / sqrt(mean(x[r]^2) + epsilon) * weight, rows of any number."""
    rows, width = x.shape
    for row in range(rows):
        begin = row * width
        squares = fill(np.float32(0))
        for i in range(0, width, LANES):
            value = load(x, begin + i)
            squares = multiply_add(value, value, squares)
        factor = fill(np.float32(1) / np.sqrt(total(squares) / np.float32(width) + np.float32(epsilon)))
        for i in range(0, width, LANES):
            store(out, begin + i, multiply(multiply(load(x, begin + i), factor), load(weight, i)))


@_compiled
def silu_multiply(gate_up: Any, out: Any) -> None:
    """out[r] = silu(gate_up[r, :n]) * gate_up[r, n:]."""
    rows, width = out.shape
    for row in range(rows):
        begin = row * 2 * width
        for i in range(0, width, LANES):
            gate, up = load(gate_up, begin + i), load(gate_up, begin + width + i)
            store(out, row * width + i, multiply(silu(gate), up))


@_compiled
def silu(x: Any) -> Any:
    """x * sigmoid(x), lane by lane."""
    negative = subtract(fill(np.float32(0)), maximum(x, fill(np.float32(-87))))  # below, it is 0 to float32
    return divide(x, add(fill(np.float32(1)), exponential(negative)))


@_compiled
def rotate_and_write(qkv: Any, cos: Any, sin: Any, slots: Any, keys: Any, values: Any, num_heads: int) -> None:
    """Rotates the queries of qkv [rows, (heads + 2 * kv_heads) * dim] in place; writes rotated keys, and values, to
    their slots.

    cos, sin: [rows, dim], both halves given. keys, values: [slots, kv_heads, dim].
    """
    rows = qkv.shape[0]
    num_kv_heads, dim = keys.shape[1:]
    half = dim // 2
    for row in range(rows):
        begin, angles = row * qkv.shape[1], row * dim
        to = slots[row] * num_kv_heads * dim
        for head in range(num_heads):
            _rotate(qkv, begin + head * dim, cos, sin, angles, half, qkv, begin + head * dim)
        begin += num_heads * dim
        for head in range(num_kv_heads):
            _rotate(qkv, begin + head * dim, cos, sin, angles, half, keys, to + head * dim)
        begin += num_kv_heads * dim
        for i in range(0, num_kv_heads * dim, LANES):
            store(values, to + i, load(qkv, begin + i))


@_compiled
def _rotate(x: Any, at: int, cos: Any, sin: Any, angles: int, half: int, out: Any, to: int) -> None:
    for i in range(0, half, LANES):
        low, high = load(x, at + i), load(x, at + half + i)
        rotated = subtract(multiply(low, load(cos, angles + i)), multiply(high, load(sin, angles + i)))
        store(
            out,
            to + half + i,
            multiply_add(high, load(cos, angles + half + i), multiply(low, load(sin, angles + half + i))),
        )
        store(out, to + i, rotated)


@_compiled
def merge_parts(out: Any, lse: Any, rows: Any, part: Any, part_lse: Any) -> None:
    """Adds what rows[i] got from other keys, part[i], to out[rows[i]]; both with their log-sum-exp [rows, heads]."""
    num, heads, dim = part.shape
    for i in range(num):
        row = rows[i]
        for head in range(heads):
            before, added = lse[row, head], part_lse[i, head]
            largest = max(before, added)
            kept, new = np.exp(before - largest), np.exp(added - largest)
            mass = kept + new
            lse[row, head] = largest + np.log(mass)
            old, fresh = fill(np.float32(kept / mass)), fill(np.float32(new / mass))
            at, source = (row * heads + head) * dim, (i * heads + head) * dim
            for d in range(0, dim, LANES):
                mixed = multiply_add(load(part, source + d), fresh, multiply(load(out, at + d), old))
                store(out, at + d, mixed)
