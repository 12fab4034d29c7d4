"""What is multiplied at once: lines of 16 words of 4 bytes, each a float32 or two bfloat16, for code generators.

In come values of LLVM's, out come values; `runtime.kernels.panels` and `runtime.kernels.attend_single` make kernels of
them. Processors with AVX512-BF16 multiply pairs of bfloat16 in one instruction; others get nearly the same from two
products of float32.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from runtime.kernels.vector import HAS_BFLOAT, LANES, VECTOR, BFloat

WORD, INDEX = ir.IntType(32), ir.IntType(64)
LINE = ir.VectorType(WORD, LANES)

_PAIRS = ir.VectorType(BFloat(), 2 * LANES)
_UPPER = LINE([0xFFFF0000] * LANES)
_SIXTEEN = LINE([16] * LANES)


def multiply_words(builder: Any, narrow: bool, a: Any, b: Any, sums: Any) -> Any:
    """sums + a * b, word by word: of lines a and b of one float32 or (`narrow`) two bfloat16; sums: 16 floats."""
    if narrow and HAS_BFLOAT:
        kind = ir.FunctionType(VECTOR, (VECTOR, _PAIRS, _PAIRS))
        dot = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.dpbf16ps.512")
        return builder.call(dot, [sums, builder.bitcast(a, _PAIRS), builder.bitcast(b, _PAIRS)])
    kind = ir.FunctionType(VECTOR, (VECTOR,) * 3)
    fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
    if not narrow:
        return builder.call(fma, [builder.bitcast(a, VECTOR), builder.bitcast(b, VECTOR), sums])
    firsts = [builder.bitcast(builder.shl(line, _SIXTEEN), VECTOR) for line in (a, b)]
    seconds = [builder.bitcast(builder.and_(line, _UPPER), VECTOR) for line in (a, b)]
    return builder.call(fma, [*seconds, builder.call(fma, [*firsts, sums])])


def everywhere(builder: Any, pointer: Any) -> Any:
    """A line of 16 times the word at `pointer`."""
    word = builder.load(pointer, align=2)
    one = builder.insert_element(LINE(ir.Undefined), word, WORD(0))
    return builder.shuffle_vector(one, LINE(ir.Undefined), LINE([0] * LANES))


def ask_for(builder: Any, pointer: Any, level: int) -> None:
    """Prefetch what lies there into the cache of this level, 1 or 2; it need not exist."""
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, WORD, WORD, WORD])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, WORD(0), WORD(4 - level), WORD(1)])


class Loop:
    """`for i in range(0, end, step)` with running values, as LLVM has it. end > 0.

    with_values: their values before the first pass. Between `Loop(...)` and `done`, code goes into the body; `values`
    are those at its beginning, `done` gets those at its end and returns the last.
    """

    def __init__(self, builder: Any, end: Any, with_values: list[Any], step: int = 1) -> None:
        self._builder, self._end, self._step = builder, end, step
        before = builder.block
        self._body, self._after = builder.append_basic_block("body"), builder.append_basic_block("after")
        builder.branch(self._body)
        builder.position_at_end(self._body)
        self.i = builder.phi(INDEX)
        self.i.add_incoming(INDEX(0), before)
        self.values = [builder.phi(VECTOR) for _ in with_values]
        for phi, value in zip(self.values, with_values, strict=True):
            phi.add_incoming(value, before)

    def done(self, values: list[Any]) -> list[Any]:
        builder = self._builder
        following = builder.add(self.i, INDEX(self._step))
        self.i.add_incoming(following, self._body)
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, self._body)
        builder.cbranch(builder.icmp_signed("<", following, self._end), self._body, self._after)
        builder.position_at_end(self._after)
        return values
