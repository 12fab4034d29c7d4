"""Matrix products with weights laid out once in the order in which they are read: panels of 16 outputs.

In come rows of activations and the panels of a weight; out goes their product, with a bias or a residual added in
float32 before it is rounded once, or one half of it gated by the other. Both are float32, or bfloat16 bits in uint16;
what comes out of bfloat16 may be float32.

    weight [outputs, inputs]  ->  panel p: outputs [16 p, 16 p + 16)
                                  line l:  16 words of 4 bytes, one an output: inputs l (float32), or 2 l and 2 l + 1

Every output is one sum over the inputs in their order, whatever rows stand beside it: a row's bits do not depend on
its company.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from runtime.kernels.cpu_native import silu
from runtime.kernels.vector import LANES, VECTOR, add, load, pointer_to, store
from runtime.kernels.vector import multiply as multiplied
from runtime.kernels.words import INDEX, LINE, WORD, Loop, ask_for, everywhere, multiply_words

_compiled: Any = njit(nogil=True, cache=True, error_model="numpy")
_intrinsic: Any = intrinsic

_COLUMNS = 2 * LANES
"""Outputs are worked on in twos of panels; an odd one at the end costs more."""
ROWS_AT_ONCE = 12
ROWS_IN_CACHE = 256
_LINES_AHEAD = 32


def line_width(itemsize: int) -> int:
    """Inputs in a line."""
    return 4 // itemsize


def _block(rows: int, panels: int) -> Any:
    """An operation: `rows` rows of x times `panels` panels next to each other, into sums [rows, 16 * panels].

    x: from element x_at on, rows `stride` elements apart. weights: from element at on, panels `apart` lines apart.
    lines: how many of a panel. sums: from element `to` on, rows `width` elements apart.
    """

    def declare(
        typing: Any,
        x: Any,
        x_at: Any,
        stride: Any,
        weights: Any,
        at: Any,
        apart: Any,
        lines: Any,
        sums: Any,
        to: Any,
        width: Any,
    ) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x, x_at, stride, weights, at, apart, lines, sums, to, width = arguments
            x_words = pointer_to(context, builder, signature.args[0], x, x_at, WORD)
            first = pointer_to(context, builder, signature.args[3], weights, at, LINE)
            narrow = signature.args[3].dtype == types.uint16
            words = builder.ashr(stride, INDEX(1)) if narrow else stride
            x_rows = [builder.gep(x_words, [builder.mul(words, INDEX(row))]) for row in range(rows)]
            columns = [builder.gep(first, [builder.mul(apart, INDEX(panel))]) for panel in range(panels)]
            loop = Loop(builder, lines, [VECTOR(None)] * (rows * panels))
            line_of_each = [builder.load(builder.gep(column, [loop.i]), align=4) for column in columns]
            if rows > 1:  # with one row, the processor itself sees in time what comes next
                for column in columns:
                    soon, next_panel = INDEX(_LINES_AHEAD), builder.mul(apart, INDEX(panels))
                    ask_for(builder, builder.gep(column, [builder.add(loop.i, soon)]), 1)
                    ask_for(builder, builder.gep(column, [builder.add(loop.i, next_panel)]), 2)  # maybe from memory
            results: list[Any] = []
            for x_row in x_rows:
                word = everywhere(builder, builder.gep(x_row, [loop.i]))
                for line in line_of_each:
                    results.append(multiply_words(builder, narrow, line, word, loop.values[len(results)]))
            for i, total in enumerate(loop.done(results)):
                row, panel = divmod(i, panels)
                place = builder.add(to, builder.add(builder.mul(width, INDEX(row)), INDEX(panel * LANES)))
                builder.store(total, pointer_to(context, builder, signature.args[7], sums, place, VECTOR), align=4)
            return context.get_dummy_value()

        index = types.intp
        return types.void(x, index, index, weights, index, index, index, sums, index, index), generate

    declare.__doc__ = _block.__doc__
    return _intrinsic(declare)


twelve_rows, _ten_rows, _eight_rows, _six_rows, _four_rows = (_block(rows, 2) for rows in (ROWS_AT_ONCE, 10, 8, 6, 4))
_one_row = _block(1, 1)


@_compiled
def multiply(x: Any, panels: Any, bias: Any, residual: Any, gated: bool, out: Any) -> None:
    """out[r] = x[r] . weight + bias + residual[r].

    x [rows, inputs]; panels [outputs / 16, lines, words of a line]; bias: float32 [outputs] or [0]; residual: [rows,
    outputs] or [0, 0], may be `out`. gated: a panel of gates comes before each panel, and out = silu(gate) * the other,
    [rows, outputs / 2].
    """
    rows, width = x.shape
    lines = panels.shape[1]
    size = lines * panels.shape[2]
    sums = np.empty((ROWS_AT_ONCE, _COLUMNS), np.float32)
    in_twos = 0 if rows == 1 else panels.shape[0] // 2 * 2
    if 1 < rows < ROWS_AT_ONCE:
        x = _filled_up(x)
    for first in range(0, rows, ROWS_IN_CACHE):
        last = min(first + ROWS_IN_CACHE, rows)
        for panel in range(0, in_twos, 2):
            at, column = panel * size, panel * LANES
            row = first
            while row < last:
                together = _together(last - row)
                begin = max(0, min(row, last - together))  # before `row`, what is done already: it costs less than few
                if together == ROWS_AT_ONCE:
                    twelve_rows(x, begin * width, width, panels, at, lines, lines, sums, 0, _COLUMNS)
                elif together == 10:
                    _ten_rows(x, begin * width, width, panels, at, lines, lines, sums, 0, _COLUMNS)
                elif together == 8:
                    _eight_rows(x, begin * width, width, panels, at, lines, lines, sums, 0, _COLUMNS)
                elif together == 6:
                    _six_rows(x, begin * width, width, panels, at, lines, lines, sums, 0, _COLUMNS)
                else:
                    _four_rows(x, begin * width, width, panels, at, lines, lines, sums, 0, _COLUMNS)
                end = min(begin + together, last)
                _finish(sums, row - begin, row, end, column, _COLUMNS, bias, residual, gated, out)
                row = end
        _row_by_row(x, first, last, panels, in_twos, panels.shape[0], bias, residual, gated, out, sums)


@_compiled
def _together(rows: int) -> int:
    """How many rows to do at once, where so many are left: all take about as many, an even number."""
    times = (rows + ROWS_AT_ONCE - 1) // ROWS_AT_ONCE
    return max(4, (rows + 2 * times - 1) // (2 * times) * 2)


@_compiled
def _filled_up(x: Any) -> Any:
    """Few rows, and zeros up to as many as are done at once."""
    filled = np.zeros((_together(len(x)), x.shape[1]), x.dtype)
    filled[: len(x)] = x
    return filled


@_compiled
def _row_by_row(
    x: Any,
    row: int,
    last: int,
    panels: Any,
    panel: int,
    end: int,
    bias: Any,
    residual: Any,
    gated: bool,
    out: Any,
    sums: Any,
) -> None:
    """Rows [row, last) times panels [panel, end)."""
    width, lines = x.shape[1], panels.shape[1]
    size, together = lines * panels.shape[2], 2 if gated else 1
    for p in range(panel, end, together):
        for r in range(row, last):
            for i in range(together):
                _one_row(x, r * width, width, panels, (p + i) * size, lines, lines, sums, i * LANES, _COLUMNS)
            _finish(sums, 0, r, r + 1, p * LANES, together * LANES, bias, residual, gated, out)


@_compiled
def _finish(
    sums: Any,
    skipped: int,
    row: int,
    end: int,
    column: int,
    columns: int,
    bias: Any,
    residual: Any,
    gated: bool,
    out: Any,
) -> None:
    """Writes sums [skipped:, columns] to rows [row, end) of out, from `column` on."""
    for r in range(row, end):
        own = (r - row + skipped) * columns
        if gated:
            gate, up = load(sums, own), load(sums, own + LANES)
            store(out, r * out.shape[1] + column // 2, multiplied(silu(gate), up))
            continue
        to = r * out.shape[1] + column
        for i in range(0, columns, LANES):
            value = load(sums, own + i)
            if bias.size:
                value = add(value, load(bias, column + i))
            if residual.size:
                value = add(value, load(residual, to + i))
            store(out, to + i, value)
