"""Masks onto logits."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

_MINUS_INFINITY = int(np.array(-np.inf, dtype=np.float32).view(np.int32))
_LOWEST = -(1 << 31)


def apply_masks(logits: NDArray[np.float32], masks: NDArray[np.int32]) -> None:
    """Set the logits of tokens that are not allowed to -inf, in place. logits: [n, V], masks: [n, ceil(V / 32)]."""
    _check(logits, masks)
    _apply(logits.view(np.int32), masks)


def likeliest_allowed(
    logits: NDArray[np.float32], masks: NDArray[np.int32], likeliest: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The first allowed token with the largest logit in each row, where `likeliest` [n] are those of all tokens.

    What `apply_masks` and a search for the largest would find, but nothing is written, and rows whose likeliest token
    is allowed are not looked at. A row in which no token is allowed keeps its likeliest.
    """
    _check(logits, masks)
    found = likeliest.copy()
    _move_to_allowed(logits.view(np.int32), masks, found)
    return found


def _check(logits: NDArray[np.float32], masks: NDArray[np.int32]) -> None:
    if logits.ndim != 2 or masks.shape != (logits.shape[0], (logits.shape[1] + 31) // 32):
        raise ValueError(
            f"logits {logits.shape} need masks {(len(logits), -(-logits.shape[-1] // 32))}, not {masks.shape}"
        )


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


@njit("int32(int32)", cache=True, inline="always")
def _ordered(bits):  # type: ignore[no-untyped-def]
    """An integer for the bits of a float32: the larger the float, the larger it is."""
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@njit("void(int32[:, ::1], int32[:, ::1], int64[::1])", cache=True)
def _move_to_allowed(logits, masks, tokens):  # type: ignore[no-untyped-def]
    """On the bits of the logits, which are brought into an order of integers. Of 32 logits, none are read where none is
    allowed."""
    rows, width = logits.shape
    full = width // 32
    for r in range(rows):
        if (masks[r, tokens[r] >> 5] >> np.int32(tokens[r] & 31)) & 1:
            continue
        row = logits[r]
        best, where = np.int32(_LOWEST), -1
        for w in range(masks.shape[1]):
            word = masks[r, w]
            if word == 0:
                continue
            top = np.int32(_LOWEST)
            for bit in range(32 if w < full else width - 32 * full):  # without a branch, so that it is vectorised
                allowed = -((word >> np.int32(bit)) & np.int32(1))
                top = max(top, (_ordered(row[32 * w + bit]) & allowed) | (np.int32(_LOWEST) & ~allowed))
            if where < 0 or top > best:
                best, where = top, w
        if where < 0:
            continue
        for token in range(32 * where, min(32 * where + 32, width)):
            if (masks[r, where] >> np.int32(token & 31)) & 1 and _ordered(row[token]) == best:
                tokens[r] = token
                break
