"""Masks onto logits."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_MINUS_INFINITY = int(np.array(-np.inf, dtype=np.float32).view(np.int32))


def apply_masks(logits: NDArray[np.float32], masks: NDArray[np.int32]) -> None:
    """Set the logits of tokens that are not allowed to -inf, in place. logits: [n, V], masks: [n, ceil(V / 32)]."""
    if logits.ndim != 2 or masks.shape != (logits.shape[0], (logits.shape[1] + 31) // 32):
        raise ValueError(
            f"logits {logits.shape} need masks {(len(logits), -(-logits.shape[-1] // 32))}, not {masks.shape}"
        )
    _apply(logits.view(np.int32), masks)


@njit("void(int32[:, ::1], int32[:, ::1])", cache=True)
def _apply(logits, masks):  # type: ignore[no-untyped-def]
    """On the bits of the logits. Of 32 logits, none are written where all are allowed, none read where none is."""
    rows, tokens = logits.shape
    full = tokens // 32
    for r in range(rows):
        row = logits[r]
        for w in range(full):
            word = masks[r, w]
            if word == 0:
                for token in range(32 * w, 32 * w + 32):
                    row[token] = _MINUS_INFINITY
            elif word != -1:
                for bit in range(32):  # without a branch, so that it is vectorised
                    allowed = -((word >> np.int32(bit)) & np.int32(1))
                    row[32 * w + bit] = (row[32 * w + bit] & allowed) | (np.int32(_MINUS_INFINITY) & ~allowed)
        for token in range(32 * full, tokens):
            if not (masks[r, full] >> (token & 31)) & 1:
                row[token] = _MINUS_INFINITY
