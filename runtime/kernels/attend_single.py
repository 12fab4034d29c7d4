"""Attention of single queries over pages, compiled: each query row has slots of its own.

Arrays are float32, or uint16 for bfloat16, in which products are taken of pairs (`runtime.kernels.words`); sums and the
softmax are float32. Heads that share keys and values are worked on together, up to four at once, so that both are read
once. Head sizes must be multiples of 32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from runtime.kernels.vector import (
    LANES,
    VECTOR,
    add,
    fill,
    highest,
    load,
    maximum,
    multiply,
    multiply_add,
    pointer_to,
    power_of_two,
    power_of_two_roughly,
    store,
    total,
    touch,
)
from runtime.kernels.words import INDEX, LINE, WORD, Loop, everywhere, multiply_words

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
_intrinsic: Any = intrinsic

HEADS_AT_ONCE = 4
_LOG2_E = 1.4426950408889634
_KEYS_AT_ONCE = 4
_KEYS_IN_CACHE = 32
_FOUR = ir.VectorType(ir.FloatType(), 4)
_HALVES = ir.VectorType(ir.IntType(16), 2 * LANES)


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

    keys, values: [slots, kv_heads, dim]. Keys, then values, are read once and in order.
    """
    num, num_heads, dim = out.shape
    num_kv_heads = keys.shape[1]
    width = num_kv_heads * dim
    cache_line = 64 // keys.itemsize
    group = num_heads // num_kv_heads
    longest = (slots.shape[1] + LANES - 1) // LANES * LANES
    asked = np.empty((num_heads, dim), keys.dtype)
    scores = np.empty((num_heads, longest), np.float32)
    weights = np.empty((num_heads, longest), keys.dtype)
    sums = np.empty((num_heads, dim), np.float32)
    masses = np.empty(num_heads, np.float32)
    places = np.empty(_KEYS_IN_CACHE + 1, np.int64)
    for i in range(num):
        for d in range(0, num_heads * dim, LANES):
            store(asked, d, load(query, rows[i] * stride + d))
        length = lengths[i]
        for j in range(0, length, _KEYS_AT_ONCE):
            for k in range(j, min(j + _KEYS_AT_ONCE, length)):
                place = slots[i, k] * width
                for d in range(0, width, cache_line):
                    touch(keys, place + d)
                for d in range(0, width, cache_line):
                    touch(values, place + d)
            for kv_head in range(num_kv_heads):
                at = (
                    slots[i, j] * width + kv_head * dim,
                    slots[i, min(j + 1, length - 1)] * width + kv_head * dim,
                    slots[i, min(j + 2, length - 1)] * width + kv_head * dim,
                    slots[i, min(j + 3, length - 1)] * width + kv_head * dim,
                )
                _score(asked, keys, at, kv_head * group, group, scores, j)
        for head in range(num_heads):
            lse[i, head], masses[head] = softmax(scores, head, length, scaling, weights)
        sums[:] = 0
        for begin in range(0, length, _KEYS_IN_CACHE):
            end = min(begin + _KEYS_IN_CACHE, length)
            for k in range(end - begin + 1):
                places[k] = slots[i, min(begin + k, length - 1)] * width
            for kv_head in range(num_kv_heads):
                _weigh(weights, begin, values, kv_head * dim, places, end - begin, kv_head * group, group, sums)
        for head in range(num_heads):
            share = fill(np.float32(1) / masses[head])
            for d in range(head * dim, (head + 1) * dim, LANES):
                store(out, i * num_heads * dim + d, multiply(load(sums, d), share))


@_compiled
def _score(asked: Any, keys: Any, at: Any, head: int, group: int, scores: Any, j: int) -> None:
    """Scores j to j + 3 of heads [head, head + group), before scaling, with the keys at `at`."""
    dim = asked.shape[1]
    for first in range(head, head + group, HEADS_AT_ONCE):
        count = min(HEADS_AT_ONCE, head + group - first)
        to = first * scores.shape[1] + j
        if count == 4:
            _score_4(asked, first * dim, dim, keys, at, scores, to, scores.shape[1])
        elif count == 3:
            _score_3(asked, first * dim, dim, keys, at, scores, to, scores.shape[1])
        elif count == 2:
            _score_2(asked, first * dim, dim, keys, at, scores, to, scores.shape[1])
        else:
            _score_1(asked, first * dim, dim, keys, at, scores, to, scores.shape[1])


@_compiled
def softmax(scores: Any, head: int, length: int, scaling: float, weights: Any) -> tuple[float, float]:
    """A head's scores, not yet scaled, to weights: of the largest 1, from `length` on 0. Returns the log-sum-exp of the
    scaled scores, and the sum of the weights, by which what is weighed has yet to be divided.
    """
    whole = (length + LANES - 1) // LANES * LANES
    for j in range(length, whole):
        scores[head, j] = np.float32(-1e30)
    begin = head * scores.shape[1]
    lanes = fill(np.float32(-np.inf))
    for j in range(0, whole, LANES):
        lanes = maximum(load(scores, begin + j), lanes)
    largest = highest(lanes)
    factor = np.float32(scaling * _LOG2_E)
    factors, most = fill(factor), fill(-largest * factor)
    sums = fill(np.float32(0))
    for j in range(0, whole, LANES):
        power = multiply_add(load(scores, begin + j), factors, most)
        weight = power_of_two_roughly(power) if weights.itemsize == 2 else power_of_two(power)
        store(weights, begin + j, weight)
        sums = add(sums, weight)
    mass = total(sums)
    return largest * np.float32(scaling) + np.log(mass), mass


@_compiled
def _weigh(
    weights: Any, begin: int, values: Any, offset: int, places: Any, count: int, head: int, group: int, sums: Any
) -> None:
    """Adds `count` values, weighed with weights [:, begin:], to heads [head, head + group)."""
    dim, stride = sums.shape[1], weights.shape[1]
    for first in range(head, head + group, HEADS_AT_ONCE):
        together = min(HEADS_AT_ONCE, head + group - first)
        weight = first * stride + begin
        for d in range(0, dim, 2 * LANES):
            at, to = offset + d, first * dim + d
            if together == 4:
                _weigh_4(weights, weight, stride, values, places, at, count, sums, to, dim)
            elif together == 3:
                _weigh_3(weights, weight, stride, values, places, at, count, sums, to, dim)
            elif together == 2:
                _weigh_2(weights, weight, stride, values, places, at, count, sums, to, dim)
            else:
                _weigh_1(weights, weight, stride, values, places, at, count, sums, to, dim)


def _scoring(heads: int) -> Any:
    """An operation: `heads` queries times four keys, each head's four products next to each other.

    asked: from element `head` on, rows of dim. at: elements where keys begin. scores: from element `to` on, rows
    `stride` apart.
    """

    def declare(
        typing: Any, asked: Any, head: Any, dim: Any, keys: Any, at: Any, scores: Any, to: Any, stride: Any
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            asked, head, dim, keys, at, scores, to, stride = arguments
            narrow = signature.args[3].dtype == types.uint16
            begins = [builder.add(head, builder.mul(dim, INDEX(h))) for h in range(heads)]
            queries = [pointer_to(context, builder, signature.args[0], asked, begin, LINE) for begin in begins]
            places = [builder.extract_value(at, k) for k in range(_KEYS_AT_ONCE)]
            lines = [pointer_to(context, builder, signature.args[3], keys, place, LINE) for place in places]
            count = builder.ashr(dim, INDEX(5 if narrow else 4))
            loop = Loop(builder, count, [VECTOR(None)] * (heads * _KEYS_AT_ONCE))
            key_lines = [builder.load(builder.gep(line, [loop.i]), align=2) for line in lines]
            results: list[Any] = []
            for query in queries:
                asked_line = builder.load(builder.gep(query, [loop.i]), align=2)
                for key in key_lines:
                    results.append(multiply_words(builder, narrow, key, asked_line, loop.values[len(results)]))
            results = loop.done(results)
            for h in range(heads):
                place = builder.add(to, builder.mul(stride, INDEX(h)))
                pointer = pointer_to(context, builder, signature.args[5], scores, place, _FOUR)
                four = _four_totals(builder, results[h * _KEYS_AT_ONCE : (h + 1) * _KEYS_AT_ONCE])
                builder.store(four, pointer, align=4)
            return context.get_dummy_value()

        index = types.intp
        return types.void(asked, index, index, keys, at, scores, index, index), generate

    declare.__doc__ = _scoring.__doc__
    return _intrinsic(declare)


def _four_totals(builder: Any, vectors: list[Any]) -> Any:
    """The sums of four vectors' lanes, as a vector of four: half of each is added to the other, four times."""

    def picked(a: Any, b: Any, lanes: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.VectorType(WORD, len(lanes))(lanes))

    def halved(a: Any, b: Any, size: int) -> Any:
        """Runs of `size` lanes of a, then b, to half as many lanes each."""
        half, starts = size // 2, range(0, 2 * LANES, size)
        low = [start + i for start in starts for i in range(half)]
        high = [lane + half for lane in low]
        return builder.fadd(picked(a, b, low), picked(a, b, high), flags=("reassoc",))

    pairs = [halved(vectors[0], vectors[1], LANES), halved(vectors[2], vectors[3], LANES)]
    fours = halved(pairs[0], pairs[1], LANES // 2)  # four lanes of each vector
    for size in (4, 2):
        half = size // 2
        moved = picked(fours, fours, [lane // size * size + (lane + half) % size for lane in range(LANES)])
        fours = builder.fadd(fours, moved, flags=("reassoc",))
    return picked(fours, fours, [0, 4, 8, 12])


def _weighing(heads: int) -> Any:
    """An operation: adds 32 numbers of each of `count` values, weighed, to `heads` rows of sums.

    weights: from element `weight` on, rows `stride` apart. values: at places[k] + offset. One more of both than `count`
    is read where it is odd. sums: from element `to` on, rows of dim.
    """

    def declare(
        typing: Any,
        weights: Any,
        weight: Any,
        stride: Any,
        values: Any,
        places: Any,
        offset: Any,
        count: Any,
        sums: Any,
        to: Any,
        dim: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            weights, weight, stride, values, places, offset, count, sums, to, dim = arguments
            narrow = signature.args[3].dtype == types.uint16
            starts = [builder.add(weight, builder.mul(stride, INDEX(h))) for h in range(heads)]
            rows = [pointer_to(context, builder, signature.args[0], weights, start, WORD) for start in starts]
            outs = []
            for h in range(heads):
                row = builder.add(to, builder.mul(dim, INDEX(h)))
                outs += [
                    pointer_to(context, builder, signature.args[7], sums, builder.add(row, INDEX(half)), VECTOR)
                    for half in (0, LANES)
                ]
            loop = Loop(builder, count, [builder.load(out, align=4) for out in outs], step=2 if narrow else 1)

            def value(ahead: int, skipped: int, kind: Any) -> Any:
                """Numbers of the value at place i + ahead, from the one `skipped` on."""
                pointer = pointer_to(context, builder, signature.args[4], places, loop.i, INDEX)
                place = builder.add(builder.load(builder.gep(pointer, [INDEX(ahead)])), offset)
                place = builder.add(place, INDEX(skipped))
                return builder.load(pointer_to(context, builder, signature.args[3], values, place, kind), align=2)

            word = builder.ashr(loop.i, INDEX(1)) if narrow else loop.i
            if narrow:
                lines = side_by_side(builder, value(0, 0, _HALVES), value(1, 0, _HALVES))
            else:
                lines = [value(0, half, LINE) for half in (0, LANES)]
            results: list[Any] = []
            for row in rows:
                share = everywhere(builder, builder.gep(row, [word]))
                for line in lines:
                    results.append(multiply_words(builder, narrow, line, share, loop.values[len(results)]))
            for result, out in zip(loop.done(results), outs, strict=True):
                builder.store(result, out, align=4)
            return context.get_dummy_value()

        index = types.intp
        return types.void(weights, index, index, values, places, index, index, sums, index, index), generate

    declare.__doc__ = _weighing.__doc__
    return _intrinsic(declare)


def side_by_side(builder: Any, a: Any, b: Any) -> list[Any]:
    """Two lines of 32 bfloat16 as two lines of words (a[d], b[d])."""
    lines = []
    for half in (0, LANES):
        lanes = [lane for d in range(half, half + LANES) for lane in (d, 2 * LANES + d)]
        mixed = builder.shuffle_vector(a, b, ir.VectorType(WORD, 2 * LANES)(lanes))
        lines.append(builder.bitcast(mixed, LINE))
    return lines


_score_4, _score_3, _score_2, _score_1 = (_scoring(heads) for heads in (4, 3, 2, 1))
_weigh_4, _weigh_3, _weigh_2, _weigh_1 = (_weighing(heads) for heads in (4, 3, 2, 1))
