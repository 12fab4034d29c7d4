"""Matrix products with weights laid out once in the order in which they are read: panels of 16 outputs.

In come rows of activations and the panels of a weight; out goes their product, with a bias or a residual added in
float32 before it is rounded once. Both are float32, or bfloat16 bits in uint16.

    weight [outputs, inputs]  ->  panel p: outputs [16 p, 16 p + 16)
                                  line l:  16 words of 4 bytes, one an output: inputs l (float32), or 2 l and 2 l + 1

Every output is one sum over the inputs in their order, whatever rows stand beside it: a row's bits do not depend on
its company. Processors with AVX512-BF16 multiply pairs of bfloat16 at once; others get what is nearly the same from
float32 products.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from runtime.kernels.vector import LANES, VECTOR, add, half_of, load, pointer_to, store

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
_intrinsic: Any = intrinsic

_COLUMNS = 2 * LANES
"""Outputs are worked on in twos of panels; an odd one at the end costs more."""
ROWS_AT_ONCE = 12
ROWS_IN_CACHE = 256
_LINES_AHEAD = 32
_HAS_PAIRS: bool = llvmlite.binding.get_host_cpu_features().get("avx512bf16", False)

_WORD, _INDEX, _BYTE = ir.IntType(32), ir.IntType(64), ir.IntType(8)
_LINE = ir.VectorType(_WORD, LANES)


class _BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


_PAIRS = ir.VectorType(_BFloat(), 2 * LANES)


def line_width(itemsize: int) -> int:
    """Inputs in a line."""
    return 4 // itemsize


def _multiply_lines(builder: Any, narrow: bool, weights: Any, x: Any, sums: Any) -> Any:
    """sums + weights * x for each of 16 words, of one float32 or two bfloat16."""
    if narrow and _HAS_PAIRS:
        kind = ir.FunctionType(VECTOR, (VECTOR, _PAIRS, _PAIRS))
        dot = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        return builder.call(dot, [sums, builder.bitcast(weights, _PAIRS), builder.bitcast(x, _PAIRS)])
    fma = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VECTOR, (VECTOR,) * 3), f"llvm.fma.v{LANES}f32"
    )
    if narrow:
        for half in (0, 1):
            factors = [half_of(builder, word, half) for word in (weights, x)]
            sums = builder.call(fma, [*factors, sums])
        return sums
    return builder.call(fma, [builder.bitcast(weights, VECTOR), builder.bitcast(x, VECTOR), sums])


def _block(rows: int, panels: int) -> Any:
    """An operation: `rows` rows of x times `panels` panels next to each other, into sums [rows, 16 * panels].

    x: from element x_at on, rows `stride` elements apart. weights: from element at on. lines: in a panel.
    """

    def declare(typing: Any, x: Any, x_at: Any, stride: Any, weights: Any, at: Any, lines: Any, sums: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, x_at, stride, weights, at, lines, sums = arguments
            x_words = pointer_to(context, builder, signature.args[0], x, x_at, _WORD)
            first = pointer_to(context, builder, signature.args[3], weights, at, _LINE)
            narrow = signature.args[3].dtype == types.uint16
            words = builder.ashr(stride, _INDEX(1)) if narrow else stride
            x_rows = [builder.gep(x_words, [builder.mul(words, _INDEX(row))]) for row in range(rows)]
            columns = [builder.gep(first, [builder.mul(lines, _INDEX(panel))]) for panel in range(panels)]
            totals = _over_lines(builder, narrow, x_rows, columns, lines)
            out = pointer_to(context, builder, signature.args[6], sums, _INDEX(0), VECTOR)
            for i, one in enumerate(totals):
                builder.store(one, builder.gep(out, [_INDEX(i)]), align=4)
            return context.get_dummy_value()

        index = types.intp
        return types.void(x, index, index, weights, index, index, sums), generate

    declare.__doc__ = _block.__doc__
    return _intrinsic(declare)


def _over_lines(builder: Any, narrow: bool, x_rows: list[Any], columns: list[Any], lines: Any) -> list[Any]:
    """The loop over a panel's lines; its sums, row by row."""
    before = builder.block
    body, after = builder.append_basic_block("lines"), builder.append_basic_block("summed")
    builder.branch(body)
    builder.position_at_end(body)
    line = builder.phi(_INDEX)
    line.add_incoming(_INDEX(0), before)
    sums = [builder.phi(VECTOR) for _ in range(len(x_rows) * len(columns))]
    weights = [builder.load(builder.gep(column, [line]), align=4) for column in columns]
    if len(x_rows) > 1:  # with one row, the processor itself sees in time what comes next
        for column in columns:
            _prefetch(builder, builder.gep(column, [builder.add(line, _INDEX(_LINES_AHEAD))]))
    results = []
    for row, x_row in enumerate(x_rows):
        word = builder.load(builder.gep(x_row, [line]), align=2)
        one = builder.insert_element(_LINE(ir.Undefined), word, _WORD(0))
        everywhere = builder.shuffle_vector(one, _LINE(ir.Undefined), _LINE([0] * LANES))
        for column, weight in enumerate(weights):
            so_far = sums[row * len(columns) + column]
            results.append(_multiply_lines(builder, narrow, weight, everywhere, so_far))
    following = builder.add(line, _INDEX(1))
    line.add_incoming(following, body)
    for phi, result in zip(sums, results, strict=True):
        phi.add_incoming(VECTOR(None), before)
        phi.add_incoming(result, body)
    builder.cbranch(builder.icmp_signed("<", following, lines), body, after)
    builder.position_at_end(after)
    return results


def _prefetch(builder: Any, pointer: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, _WORD, _WORD, _WORD])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, _WORD(0), _WORD(3), _WORD(1)])


_twelve_rows, _four_rows, _one_row = _block(ROWS_AT_ONCE, 2), _block(4, 2), _block(1, 1)


@_compiled
def multiply(x: Any, panels: Any, bias: Any, residual: Any, out: Any) -> None:
    """out[r] = x[r] . weight + bias + residual[r].

    x [rows, inputs]; panels [outputs / 16, lines, words of a line]; bias: float32 [outputs] or [0]; residual: [rows,
    outputs] or [0, 0], may be `out`.
    """
    rows, width = x.shape
    lines = panels.shape[1]
    size = lines * panels.shape[2]
    sums = np.empty((ROWS_AT_ONCE, _COLUMNS), np.float32)
    in_twos = 0 if rows == 1 else panels.shape[0] // 2 * 2
    for first in range(0, rows, ROWS_IN_CACHE):
        last = min(first + ROWS_IN_CACHE, rows)
        for panel in range(0, in_twos, 2):
            at, column = panel * size, panel * LANES
            row = first
            while last - row >= ROWS_AT_ONCE:
                _twelve_rows(x, row * width, width, panels, at, lines, sums)
                _finish(sums, row, column, ROWS_AT_ONCE, _COLUMNS, bias, residual, out)
                row += ROWS_AT_ONCE
            while last - row >= 4:
                _four_rows(x, row * width, width, panels, at, lines, sums)
                _finish(sums, row, column, 4, _COLUMNS, bias, residual, out)
                row += 4
            _row_by_row(x, row, last, panels, panel, panel + 2, bias, residual, out, sums)
        _row_by_row(x, first, last, panels, in_twos, panels.shape[0], bias, residual, out, sums)


@_compiled
def _row_by_row(
    x: Any, row: int, last: int, panels: Any, panel: int, end: int, bias: Any, residual: Any, out: Any, sums: Any
) -> None:
    """Rows [row, last) times panels [panel, end)."""
    width, lines = x.shape[1], panels.shape[1]
    for p in range(panel, end):
        for r in range(row, last):
            _one_row(x, r * width, width, panels, p * lines * panels.shape[2], lines, sums)
            _finish(sums, r, p * LANES, 1, LANES, bias, residual, out)


@_compiled
def _finish(sums: Any, row: int, column: int, rows: int, columns: int, bias: Any, residual: Any, out: Any) -> None:
    """Writes sums [rows, columns] to out, from [row, column] on."""
    for r in range(rows):
        to = (row + r) * out.shape[1] + column
        for i in range(0, columns, LANES):
            value = load(sums, r * columns + i)
            if bias.size:
                value = add(value, load(bias, column + i))
            if residual.size:
                value = add(value, load(residual, to + i))
            store(out, to + i, value)
