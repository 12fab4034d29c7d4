"""Compiled CPU kernels for what torch does slowly: attention of single queries over pages, and the small steps
between products.

Arrays are float32, or uint16 for bfloat16 (`runtime.kernels.vector`); all arithmetic is float32. Rows are contiguous
unless a stride is said. Compiled by numba when first called and kept on disk; nothing here runs in parallel, and
nothing holds Python's lock. Head sizes must be multiples of 32, other widths of 16: `fits` says so.
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
    multiply,
    multiply_add,
    prefetch,
    store,
    subtract,
    total,
)

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")

HEAD_MULTIPLE = 2 * LANES
_KEYS_AT_ONCE = 32
_KEYS_AHEAD = 12


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
    one, zero = fill(np.float32(1)), fill(np.float32(0))
    for row in range(rows):
        begin = row * 2 * width
        for i in range(0, width, LANES):
            gate, up = load(gate_up, begin + i), load(gate_up, begin + width + i)
            sigmoid = divide(one, add(one, exponential(subtract(zero, gate))))
            store(out, row * width + i, multiply(multiply(gate, sigmoid), up))


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
def attend_single(
    query: Any,
    stride: int,
    rows: Any,
    keys: Any,
    values: Any,
    slots: Any,
    lengths: Any,
    scaling: float,
    out: Any,
    lse: Any,
) -> None:
    """Query row rows[i] (at rows[i] * stride) sees slots[i, :lengths[i]]; writes out and lse [n, heads(, dim)] at row
    i.

    keys, values: [slots, kv_heads, dim]. Scores and sums are float32. Keys, then values, are read once and in order.
    """
    num, num_heads, dim = out.shape
    num_kv_heads = keys.shape[1]
    group = num_heads // num_kv_heads
    padded = (
        (group + 3) // 4 * 4
    )  # heads are worked on by four: the last of a group stands in for those that are missing
    longest = (slots.shape[1] + LANES - 1) // LANES * LANES
    scaled = np.empty((num_kv_heads * padded, dim), np.float32)
    scores = np.empty((num_kv_heads * padded, longest), np.float32)
    sums = np.empty((num_kv_heads * padded, dim), np.float32)
    factor = fill(np.float32(scaling))
    for i in range(num):
        for head in range(num_kv_heads * padded):
            source = rows[i] * stride + (head // padded * group + min(head % padded, group - 1)) * dim
            for d in range(0, dim, LANES):
                store(scaled, head * dim + d, multiply(load(query, source + d), factor))
        for j in range(lengths[i]):
            ahead = slots[i, min(j + _KEYS_AHEAD, lengths[i] - 1)] * num_kv_heads * dim
            for d in range(0, num_kv_heads * dim, 2 * LANES):
                prefetch(keys, ahead + d)
                prefetch(values, slots[i, j] * num_kv_heads * dim + d)
            for head in range(0, num_kv_heads * padded, 4):
                _score(scaled, head, keys, (slots[i, j] * num_kv_heads + head // padded) * dim, j, scores)
        for kv_head in range(num_kv_heads):
            for member in range(group):
                lse[i, kv_head * group + member] = _softmax(scores, kv_head * padded + member, lengths[i])
        sums[:] = 0
        for begin in range(0, lengths[i], _KEYS_AT_ONCE):
            for head in range(0, num_kv_heads * padded, 4):
                _weigh(
                    scores, head, values, head // padded, slots[i], begin, min(begin + _KEYS_AT_ONCE, lengths[i]), sums
                )
        for head in range(num_heads):
            source, to = (head // group * padded + head % group) * dim, (i * num_heads + head) * dim
            for d in range(0, dim, LANES):
                store(out, to + d, load(sums, source + d))


@_compiled
def _score(scaled: Any, head: int, keys: Any, at: int, j: int, scores: Any) -> None:
    """Four query heads at once with the key at `at`."""
    dim = keys.shape[2]
    q0, q1, q2, q3 = head * dim, (head + 1) * dim, (head + 2) * dim, (head + 3) * dim
    zero = fill(np.float32(0))
    s0, s1, s2, s3 = zero, zero, zero, zero
    for d in range(0, dim, LANES):
        key = load(keys, at + d)
        s0 = multiply_add(key, load(scaled, q0 + d), s0)
        s1 = multiply_add(key, load(scaled, q1 + d), s1)
        s2 = multiply_add(key, load(scaled, q2 + d), s2)
        s3 = multiply_add(key, load(scaled, q3 + d), s3)
    scores[head, j] = total(s0)
    scores[head + 1, j] = total(s1)
    scores[head + 2, j] = total(s2)
    scores[head + 3, j] = total(s3)


@_compiled
def _softmax(scores: Any, head: int, length: int) -> float:
    """A head's scores to weights in place; their log-sum-exp."""
    whole = (length + LANES - 1) // LANES * LANES
    largest = np.float32(-np.inf)
    for j in range(length):
        largest = max(largest, scores[head, j])
    for j in range(length, whole):
        scores[head, j] = np.float32(-1e30)
    begin = head * scores.shape[1]
    sums, largest_lanes = fill(np.float32(0)), fill(largest)
    for j in range(0, whole, LANES):
        weight = exponential(subtract(load(scores, begin + j), largest_lanes))
        store(scores, begin + j, weight)
        sums = add(sums, weight)
    mass = total(sums)
    factor = fill(np.float32(1) / mass)
    for j in range(0, whole, LANES):
        store(scores, begin + j, multiply(load(scores, begin + j), factor))
    return largest + np.log(mass)


@_compiled
def _weigh(weights: Any, head: int, values: Any, kv_head: int, slots: Any, begin: int, end: int, sums: Any) -> None:
    """Adds the values of keys [begin, end) to four query heads at once, 32 numbers of them at a time."""
    dim = values.shape[2]
    width = values.shape[1] * dim
    for d in range(0, dim, 2 * LANES):
        t0, t1, t2, t3 = head * dim + d, (head + 1) * dim + d, (head + 2) * dim + d, (head + 3) * dim + d
        a0, a1, a2, a3 = load(sums, t0), load(sums, t1), load(sums, t2), load(sums, t3)
        b0, b1, b2, b3 = load(sums, t0 + LANES), load(sums, t1 + LANES), load(sums, t2 + LANES), load(sums, t3 + LANES)
        for j in range(begin, end):
            at = slots[j] * width + kv_head * dim + d
            a, b = load(values, at), load(values, at + LANES)
            w0, w1 = fill(weights[head, j]), fill(weights[head + 1, j])
            w2, w3 = fill(weights[head + 2, j]), fill(weights[head + 3, j])
            a0, b0 = multiply_add(a, w0, a0), multiply_add(b, w0, b0)
            a1, b1 = multiply_add(a, w1, a1), multiply_add(b, w1, b1)
            a2, b2 = multiply_add(a, w2, a2), multiply_add(b, w2, b2)
            a3, b3 = multiply_add(a, w3, a3), multiply_add(b, w3, b3)
        store(sums, t0, a0)
        store(sums, t1, a1)
        store(sums, t2, a2)
        store(sums, t3, a3)
        store(sums, t0 + LANES, b0)
        store(sums, t1 + LANES, b1)
        store(sums, t2 + LANES, b2)
        store(sums, t3 + LANES, b3)


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
