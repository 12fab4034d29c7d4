"""Masks onto logits."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


def apply_masks(logits: NDArray[np.float32], masks: NDArray[np.int32]) -> None:
    """Set the logits of tokens that are not allowed to -inf, in place. logits: [n, V], masks: [n, ceil(V / 32)]."""
    if logits.ndim != 2 or masks.shape != (logits.shape[0], (logits.shape[1] + 31) // 32):
        raise ValueError(
            f"logits {logits.shape} need masks {(len(logits), -(-logits.shape[-1] // 32))}, not {masks.shape}"
        )
    _apply(logits, masks)


@njit("void(float32[:, ::1], int32[:, ::1])", cache=True)
def _apply(logits, masks):  # type: ignore[no-untyped-def]
    rows, tokens = logits.shape
    full = tokens // 32
    for r in range(rows):
        row = logits[r]
        for w in range(full):
            word = masks[r, w]
            if word == 0:
                row[32 * w : 32 * w + 32] = -np.inf
            elif word != -1:
                for bit in range(32):
                    if not (word >> bit) & 1:
                        row[32 * w + bit] = -np.inf
        for token in range(32 * full, tokens):
            if not (masks[r, full] >> (token & 31)) & 1:
                row[token] = -np.inf
