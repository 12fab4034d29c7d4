"""One token through a whole plain decoder, compiled: at batch 1 a step costs no more than reading the weights once.

Called by `runtime.model.dense_decoder`, which holds the weights in the form taken here: those of all layers stacked
in one array each, as float32 or as bfloat16 bits in uint16. Activations are float32 throughout.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from runtime.kernels.cpu_native import attend_single, rms_norm, rotate_and_write, silu_multiply
from runtime.kernels.vector import LANES, fill, load, multiply_add, total

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")

ROWS_AT_ONCE = 4
"""Rows of a weight that are read side by side; their number must be a multiple of it."""


@_compiled
def multiply_row(x: Any, weights: Any, begin: int, width: int, out: Any, accumulate: bool) -> None:
    """out[i] = weights[begin + i * width : ... + width] . x (float32, [width]); with `accumulate`, added to out."""
    rows = out.shape[-1]
    quarter = rows // ROWS_AT_ONCE * width
    zero = fill(np.float32(0))
    for i in range(rows // ROWS_AT_ONCE):
        s0, s1, s2, s3 = zero, zero, zero, zero
        w0 = begin + i * width
        w1, w2, w3 = w0 + quarter, w0 + 2 * quarter, w0 + 3 * quarter
        for d in range(0, width, LANES):
            value = load(x, d)
            s0 = multiply_add(load(weights, w0 + d), value, s0)
            s1 = multiply_add(load(weights, w1 + d), value, s1)
            s2 = multiply_add(load(weights, w2 + d), value, s2)
            s3 = multiply_add(load(weights, w3 + d), value, s3)
        step = rows // ROWS_AT_ONCE
        if accumulate:
            out[0, i] += total(s0)
            out[0, i + step] += total(s1)
            out[0, i + 2 * step] += total(s2)
            out[0, i + 3 * step] += total(s3)
        else:
            out[0, i] = total(s0)
            out[0, i + step] = total(s1)
            out[0, i + 2 * step] = total(s2)
            out[0, i + 3 * step] = total(s3)


@_compiled
def dense_token(
    x: Any,
    cos: Any,
    sin: Any,
    qkv: Any,
    qkv_bias: Any,
    output: Any,
    gate_up: Any,
    down: Any,
    norms: Any,
    epsilon: float,
    final_norm: Any,
    head: Any,
    scalings: Any,
    first_slots: Any,
    slots: Any,
    keys: Any,
    values: Any,
    logits: Any,
) -> None:
    """x [1, hidden] float32, the token's embedding, is overwritten; logits [1, vocab] float32 are written.

    cos, sin: [1, dim]. qkv [layers, rows, hidden], output [layers, hidden, heads * dim], gate_up [layers, 2 * inner,
    hidden], down [layers, hidden, inner], norms [layers, 2, hidden], head [vocab, hidden]. qkv_bias: [layers, rows],
    or [layers, 0].
    slots: int64 [1, positions], of the request's tokens, its last the one to write; layer l sees those from
    first_slots[l] on. keys, values: [layers, slots, kv_heads, dim].
    """
    layers, qkv_rows, hidden = qkv.shape
    inner = gate_up.shape[1] // 2
    dim = keys.shape[3]
    width = output.shape[2]
    num_heads = width // dim
    normed = np.empty((1, hidden), np.float32)
    states = np.empty((1, qkv_rows), np.float32)
    attended = np.empty((1, num_heads, dim), np.float32)
    masses = np.empty((1, num_heads), np.float32)
    both = np.empty((1, 2 * inner), np.float32)
    gated = np.empty((1, inner), np.float32)
    rows = np.zeros(1, np.int64)
    length = np.empty(1, np.int64)
    own_slot = slots[0, slots.shape[1] - 1 :]
    for layer in range(layers):
        rms_norm(x, norms[layer, 0], epsilon, normed)
        multiply_row(normed, qkv, layer * qkv_rows * hidden, hidden, states, False)
        for i in range(qkv_bias.shape[1]):
            states[0, i] += qkv_bias[layer, i]
        rotate_and_write(states, cos, sin, own_slot, keys[layer], values[layer], num_heads)
        seen = slots[:, first_slots[layer] :]
        length[0] = seen.shape[1]
        attend_single(states, 0, rows, keys[layer], values[layer], seen, length, scalings[layer], attended, masses)
        multiply_row(attended, output, layer * hidden * width, width, x, True)
        rms_norm(x, norms[layer, 1], epsilon, normed)
        multiply_row(normed, gate_up, layer * 2 * inner * hidden, hidden, both, False)
        silu_multiply(both, gated)
        multiply_row(gated, down, layer * hidden * inner, inner, x, True)
    rms_norm(x, final_norm, epsilon, normed)
    multiply_row(normed, head, 0, hidden, logits, False)
