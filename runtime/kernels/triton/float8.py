"""Eight-bit floats (e4m3fn: 1 sign, 4 exponent, 3 mantissa bits, no infinities) as bytes, in integer arithmetic.

Done by hand because sm_80 has no instructions for them; a few operations each, hidden behind memory. Same bits as
torch's `float8_e4m3fn`, but values beyond its range become its largest, 448, instead of NaN.
"""

from __future__ import annotations

import triton
import triton.language as tl

_FLOAT32_TO_E4M3 = tl.constexpr((127 - 7) << 23)
"""What the exponents of the two formats are apart, as bits of a float32."""


@triton.jit
def decode_e4m3(byte):
    """uint8 -> float16, exact. As a float16's bits the number is 2^8 too small: exponents are biased by 15, not 7."""
    wide = byte.to(tl.int16)
    bits = ((wide & 0x80) << 8) | ((wide & 0x7F) << 7)
    return bits.to(tl.float16, bitcast=True) * 256.0


@triton.jit
def encode_e4m3(number):
    """float32 -> uint8, to nearest, ties to even."""
    bits = number.to(tl.int32, bitcast=True)
    sign = (bits >> 24) & 0x80
    size = tl.minimum(tl.abs(number), 448.0)
    # Below 2^-6 all have the quantum 2^-9, which is the quantum of float32 at 2^14: an addition rounds to it.
    small = (size + 16384.0).to(tl.int32, bitcast=True) - 0x46800000
    bits = size.to(tl.int32, bitcast=True) - _FLOAT32_TO_E4M3
    normal = (bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20
    return (sign | tl.where(size < 0.015625, small, normal)).to(tl.uint8)
