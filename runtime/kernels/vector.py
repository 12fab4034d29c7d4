"""A vector of 16 floats for kernels compiled by numba, and bfloat16 as numba sees it.

numba leaves vectors to the compiler's judgement, which gives up on short inner loops; kernels that are written with
these few operations keep their vectors in registers. LLVM makes of them what the processor has (AVX-512, AVX2, NEON).
Arrays are float32, or uint16 holding the bits of bfloat16: numpy has no such type. All offsets are in elements, from
an array's first, and are not checked.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

LANES = 16
"""Floats in a vector."""
HAS_BFLOAT: bool = llvmlite.binding.get_host_cpu_features().get("avx512bf16", False)
"""Whether the processor has instructions for bfloat16 (AVX512-BF16)."""


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not know."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


VECTOR = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(ir.IntType(32), LANES)
_HALVES = ir.VectorType(ir.IntType(16), LANES)
_intrinsic: Any = intrinsic  # numba does not say what it makes of a function
_FAST = ("reassoc", "contract", "nsz")


class VectorType(types.Type):
    """numba's name for 16 floats."""

    def __init__(self) -> None:
        super().__init__(name="Vector16")


vector = VectorType()


@register_model(VectorType)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, declared: Any) -> None:
        super().__init__(manager, declared, VECTOR)


def pointer_to(context: Any, builder: Any, array_type: Any, array: Any, offset: Any, pointee: Any) -> Any:
    """To an array's element at `offset`."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [offset]), pointee.as_pointer())


def _constant(value: int) -> Any:
    return ir.Constant(_WORDS, [value] * LANES)


def _widened(builder: Any, halves: Any) -> Any:
    """bfloat16 bits [16 x i16] to floats: the upper half of a float32 is a bfloat16."""
    return builder.bitcast(builder.shl(builder.zext(halves, _WORDS), _constant(16)), VECTOR)


def _narrowed(builder: Any, floats: Any) -> Any:
    """Floats to the nearest bfloat16 bits, ties to even."""
    if HAS_BFLOAT:
        kind = ir.FunctionType(ir.VectorType(BFloat(), LANES), (VECTOR,))
        convert = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512bf16.cvtneps2bf16.512")
        return builder.bitcast(builder.call(convert, [floats]), _HALVES)
    bits = builder.bitcast(floats, _WORDS)
    odd = builder.and_(builder.lshr(bits, _constant(16)), _constant(1))
    rounded = builder.add(bits, builder.add(odd, _constant(0x7FFF)))
    return builder.trunc(builder.lshr(rounded, _constant(16)), _HALVES)


def _declared(builder: Any, name: str, *arguments: Any, returns: Any = VECTOR) -> Any:
    """One of LLVM's own functions on 16 floats."""
    kind = ir.FunctionType(returns, arguments)
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f32")


@_intrinsic
def load(typing: Any, array: Any, offset: Any) -> Any:
    """16 consecutive elements, as floats."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = signature.args[0].dtype == types.uint16
        kind = _HALVES if narrow else VECTOR
        pointer = pointer_to(context, builder, signature.args[0], arguments[0], arguments[1], kind)
        loaded = builder.load(pointer, align=2 if narrow else 4)
        return _widened(builder, loaded) if narrow else loaded

    return vector(array, types.intp), generate


@_intrinsic
def store(typing: Any, array: Any, offset: Any, value: Any) -> Any:
    """Writes 16 consecutive elements, rounded to the array's type."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        narrow = signature.args[0].dtype == types.uint16
        array, offset, value = arguments
        pointer = pointer_to(context, builder, signature.args[0], array, offset, _HALVES if narrow else VECTOR)
        builder.store(_narrowed(builder, value) if narrow else value, pointer, align=2 if narrow else 4)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


@_intrinsic
def touch(typing: Any, array: Any, offset: Any) -> Any:
    """Reads an element, so that its cache line is there soon. In order, such reads start the processor's own
    prefetcher, which does not learn from lines that are only asked for."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        element = signature.args[0].dtype.bitwidth
        array, offset = arguments
        pointer = pointer_to(context, builder, signature.args[0], array, offset, ir.IntType(element))
        builder.load_atomic(pointer, "monotonic", element // 8)  # or it would be left out: nobody uses it
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@_intrinsic
def fill(typing: Any, number: Any) -> Any:
    """16 times the same float."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.insert_element(ir.Constant(VECTOR, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, ir.Constant(VECTOR, ir.Undefined), ir.Constant(_WORDS, [0] * LANES))

    return vector(types.float32), generate


def _operation(name: str, doc: str) -> Any:
    def declare(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, name)(*arguments, flags=_FAST)

        return vector(vector, vector), generate

    declare.__doc__ = doc
    return _intrinsic(declare)


add = _operation("fadd", "a + b, lane by lane.")
subtract = _operation("fsub", "a - b, lane by lane.")
multiply = _operation("fmul", "a * b, lane by lane.")
divide = _operation("fdiv", "a / b, lane by lane.")


@_intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """The larger of a and b, lane by lane; b where a is no number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *arguments), *arguments)

    return vector(vector, vector), generate


@_intrinsic
def multiply_add(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, lane by lane, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        fma = _declared(builder, "fma", VECTOR, VECTOR, VECTOR)
        return builder.call(fma, arguments)

    return vector(vector, vector, vector), generate


@_intrinsic
def total(typing: Any, a: Any) -> Any:
    """The sum of the lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reduce = _declared(builder, "vector.reduce.fadd", ir.FloatType(), VECTOR, returns=ir.FloatType())
        return builder.call(reduce, [ir.Constant(ir.FloatType(), 0.0), arguments[0]], fastmath=("reassoc",))

    return types.float32(vector), generate


@_intrinsic
def highest(typing: Any, a: Any) -> Any:
    """The largest of the lanes, all of them numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reduce = _declared(builder, "vector.reduce.fmax", VECTOR, returns=ir.FloatType())
        return builder.call(reduce, arguments, fastmath=("nnan",))

    return types.float32(vector), generate


@_intrinsic
def exponential(typing: Any, a: Any) -> Any:
    """e to the power of each lane, for lanes of at most 88; relative error below 3e-7. Below -87 it is about 1e-38."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        fma = _declared(builder, "fma", VECTOR, VECTOR, VECTOR)
        x = _at_least(builder, arguments[0], -87.0)
        # e^x = 2^n * e^r with n = round(x / ln 2) and |r| <= ln 2 / 2; ln 2 in two parts keeps r exact.
        shifted = builder.fadd(builder.fmul(x, _number(_LOG2_E)), _number(_SHIFT))
        n = builder.fsub(shifted, _number(_SHIFT))
        r = builder.call(fma, [n, _number(-0.693359375), x])
        r = builder.call(fma, [n, _number(2.12194440e-4), r])
        return _power_of_two(builder, shifted, builder.fmul(r, _number(_LOG2_E)), _PRECISE)

    return vector(vector), generate


def _raised(coefficients: tuple[float, ...], doc: str) -> Any:
    def declare(typing: Any, a: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            x = _at_least(builder, arguments[0], -126.0)
            shifted = builder.fadd(x, _number(_SHIFT))
            fraction = builder.fsub(x, builder.fsub(shifted, _number(_SHIFT)))
            return _power_of_two(builder, shifted, fraction, coefficients)

        return vector(vector), generate

    declare.__doc__ = doc
    return _intrinsic(declare)


# Of the polynomials of their degrees, those that stray least from 2^x, relatively, between -1/2 and 1/2.
_PRECISE = (1.326472695e-3, 9.671512898e-3, 5.550733746e-2, 2.402224208e-1, 6.931469776e-1, 1.0)
_ROUGH = (5.517166954e-2, 2.426111254e-1, 6.932609857e-1, 9.999280733e-1)
_SHIFT = 1.5 * 2.0**23
"""Added to a small number, it leaves the nearest whole one, in the lowest bits."""
power_of_two = _raised(
    _PRECISE,
    "2 to the power of each lane, for lanes of at most 127; relative error below 3e-7. Below -126 about 1e-38.",
)
power_of_two_roughly = _raised(_ROUGH, "The same with a relative error below 8e-5: a 25th of what bfloat16 rounds off.")
_LOG2_E = 1.4426950408889634


def _number(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)


def _at_least(builder: Any, x: Any, least: float) -> Any:
    return builder.select(builder.fcmp_ordered(">", x, _number(least)), x, _number(least))


def _power_of_two(builder: Any, shifted: Any, fraction: Any, coefficients: tuple[float, ...]) -> Any:
    """2^(n + fraction), with whole numbers n from -126 on as n + _SHIFT, and fractions of at most a half either way."""
    fma = _declared(builder, "fma", VECTOR, VECTOR, VECTOR)
    p = _number(coefficients[0])
    for coefficient in coefficients[1:]:
        p = builder.call(fma, [p, fraction, _number(coefficient)])
    exponent = builder.shl(builder.bitcast(shifted, _WORDS), _constant(23))
    return builder.bitcast(builder.add(builder.bitcast(p, _WORDS), exponent), VECTOR)
