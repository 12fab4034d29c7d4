"""Compiled CPU kernels for what torch does slowly: attention of single queries over pages, and the small steps between products.

Arrays are float32, or uint16 for bfloat16 (`runtime.kernels.vector`); all arithmetic is float32. Rows are contiguous unless a
stride is said. Compiled by numba when first called and kept on disk; nothing here runs in parallel, and nothing holds Python's
lock. Head sizes must be multiples of 32, other widths of 16: `fits` says so.
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
    store,
    subtract,
    total,
)

_compiled = njit(nogil=True, cache=True, error_model="numpy")

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
    one, zero = fill(np.float32(1)), fill(np.float32(0))
    for row in range(rows):
        begin = row * 2 * width
        for i in range(0, width, LANES):
            gate, up = load(gate_up, begin + i), load(gate_up, begin + width + i)
            sigmoid = divide(one, add(one, exponential(subtract(zero, gate))))
            store(out, row * width + i, multiply(multiply(gate, sigmoid), up))


@_compiled
def rotate_and_write(qkv: Any, cos: Any, sin: Any, slots: Any, keys: Any, values: Any, num_heads: int) -> None:
    """Rotates the queries of qkv [rows, (heads + 2 * kv_heads) * dim] in place; writes rotated keys, and values, to their slots.

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
        store(out, to + half + i, multiply_add(high, load(cos, angles + half + i), multiply(low, load(sin, angles + half + i))))
        store(out, to + i, rotated)


@_compiled
def attend_single(
    query: Any, stride: int, rows: Any, keys: Any, values: Any, slots: Any, lengths: Any, scaling: float, out: Any, lse: Any
) -> None:
    """Query row rows[i] (at rows[i] * stride) sees slots[i, :lengths[i]]; writes out and lse [n, heads(, dim)] at row i.

    keys, values: [slots, kv_heads, dim]. Scores and sums are float32.
    """
    num, num_heads, dim = out.shape
    num_kv_heads = keys.shape[1]
    group = num_heads // num_kv_heads
    padded = (group + 3) // 4 * 4
    longest = (slots.shape[1] + LANES - 1) // LANES * LANES
    scaled = np.empty((padded, dim), np.float32)
    scores = np.empty((padded, longest), np.float32)
    factor = fill(np.float32(scaling))
    for i in range(num):
        for kv_head in range(num_kv_heads):
            for member in range(padded):  # the last query head stands in for those that are missing from four
                source = rows[i] * stride + (kv_head * group + min(member, group - 1)) * dim
                for d in range(0, dim, LANES):
                    store(scaled, member * dim + d, multiply(load(query, source + d), factor))
            for member in range(0, padded, 4):
                _score(scaled, member, keys, kv_head, slots[i], lengths[i], scores)
            for member in range(group):
                lse[i, kv_head * group + member] = _softmax(scores, member, lengths[i])
            for member in range(0, group, 4):
                _weigh(scores, member, values, kv_head, slots[i], lengths[i], out, i, kv_head * group + member, group - member)


@_compiled
def _score(scaled: Any, member: int, keys: Any, kv_head: int, slots: Any, length: int, scores: Any) -> None:
    """Four query heads at once with one head of keys."""
    dim = keys.shape[2]
    width = keys.shape[1] * dim
    q0, q1, q2, q3 = member * dim, (member + 1) * dim, (member + 2) * dim, (member + 3) * dim
    zero = fill(np.float32(0))
    for j in range(length):
        at = slots[j] * width + kv_head * dim
        s0, s1, s2, s3 = zero, zero, zero, zero
        for d in range(0, dim, LANES):
            key = load(keys, at + d)
            s0 = multiply_add(key, load(scaled, q0 + d), s0)
            s1 = multiply_add(key, load(scaled, q1 + d), s1)
            s2 = multiply_add(key, load(scaled, q2 + d), s2)
            s3 = multiply_add(key, load(scaled, q3 + d), s3)
        scores[member, j] = total(s0)
        scores[member + 1, j] = total(s1)
        scores[member + 2, j] = total(s2)
        scores[member + 3, j] = total(s3)


@_compiled
def _softmax(scores: Any, member: int, length: int) -> float:
    """Scores to weights in place; their log-sum-exp."""
    whole = (length + LANES - 1) // LANES * LANES
    largest = np.float32(-np.inf)
    for j in range(length):
        largest = max(largest, scores[member, j])
    for j in range(length, whole):
        scores[member, j] = np.float32(-1e30)
    begin = member * scores.shape[1]
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
def _weigh(
    weights: Any, member: int, values: Any, kv_head: int, slots: Any, length: int, out: Any, row: int, head: int, heads: int
) -> None:
    """Four rows of weights at once with one head of values, 32 of its numbers at a time; the first `heads` are written."""
    dim = values.shape[2]
    width = values.shape[1] * dim
    zero = fill(np.float32(0))
    for d in range(0, dim, 2 * LANES):
        a0, a1, a2, a3 = zero, zero, zero, zero
        b0, b1, b2, b3 = zero, zero, zero, zero
        for j in range(length):
            at = slots[j] * width + kv_head * dim + d
            a, b = load(values, at), load(values, at + LANES)
            w0, w1 = fill(weights[member, j]), fill(weights[member + 1, j])
            w2, w3 = fill(weights[member + 2, j]), fill(weights[member + 3, j])
            a0, b0 = multiply_add(a, w0, a0), multiply_add(b, w0, b0)
            a1, b1 = multiply_add(a, w1, a1), multiply_add(b, w1, b1)
            a2, b2 = multiply_add(a, w2, a2), multiply_add(b, w2, b2)
            a3, b3 = multiply_add(a, w3, a3), multiply_add(b, w3, b3)
        to = (row * out.shape[1] + head) * dim + d
        store(out, to, a0)
        store(out, to + LANES, b0)
        if heads > 1:
            store(out, to + dim, a1)
            store(out, to + dim + LANES, b1)
        if heads > 2:
            store(out, to + 2 * dim, a2)
            store(out, to + 2 * dim + LANES, b2)
        if heads > 3:
            store(out, to + 3 * dim, a3)
            store(out, to + 3 * dim + LANES, b3)


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
