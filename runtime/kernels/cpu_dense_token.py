"""One token through a whole plain decoder, compiled: at batch 1 a step costs no more than reading the weights once.

Called by `runtime.model.dense_decoder`, which holds the weights in the form taken here: those of all layers stacked
in one array each, in panels (`runtime.kernels.panels`), as float32 or as bfloat16 bits in uint16. Sums are float32;
what goes into a product is rounded to the weights' type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from runtime.kernels.attend_single import attend_single
from runtime.kernels.cpu_native import rms_norm, rotate_and_write
from runtime.kernels.panels import multiply
from runtime.kernels.vector import LANES

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")


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

    cos, sin: [1, dim]. In panels: qkv [layers, ...] for [rows, hidden], output for [hidden, heads * dim], gate_up in
    turns for [2 * inner, hidden], down for [hidden, inner], head for [vocab, hidden]. qkv_bias: float32 [layers, rows],
    or [layers, 0]. norms [layers, 2, hidden].
    slots: int64 [1, positions], of the request's tokens, its last the one to write; layer l sees those from
    first_slots[l] on. keys, values: [layers, slots, kv_heads, dim].
    """
    layers, hidden = norms.shape[0], x.shape[1]
    dim = keys.shape[3]
    num_heads = output.shape[2] * output.shape[3] // LANES // dim
    inner = gate_up.shape[1] * LANES // 2
    normed = np.empty((1, hidden), final_norm.dtype)
    states = np.empty((1, qkv.shape[1] * LANES), np.float32)
    attended = np.empty((1, num_heads, dim), final_norm.dtype)
    masses = np.empty((1, num_heads), np.float32)
    gated = np.empty((1, inner), final_norm.dtype)
    rows = np.zeros(1, np.int64)
    length = np.empty(1, np.int64)
    no_bias, nothing = np.empty(0, np.float32), np.empty((0, 0), np.float32)
    own_slot = slots[0, slots.shape[1] - 1 :]
    for layer in range(layers):
        rms_norm(x, norms[layer, 0], epsilon, normed)
        multiply(normed, qkv[layer], qkv_bias[layer], nothing, False, states)
        rotate_and_write(states, cos, sin, own_slot, keys[layer], values[layer], num_heads)
        seen = slots[:, first_slots[layer] :]
        length[0] = seen.shape[1]
        attend_single(states, 0, rows, keys[layer], values[layer], seen, length, scalings[layer], attended, masses)
        multiply(attended.reshape(1, num_heads * dim), output[layer], no_bias, x, False, x)
        rms_norm(x, norms[layer, 1], epsilon, normed)
        multiply(normed, gate_up[layer], no_bias, nothing, True, gated)
        multiply(gated, down[layer], no_bias, x, False, x)
    rms_norm(x, final_norm, epsilon, normed)
    multiply(normed, head, no_bias, nothing, False, logits)
