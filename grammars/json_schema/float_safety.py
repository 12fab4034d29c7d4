"""The numbers that stay in a set when a reader rounds them to a double.

In: the cells of a set, exact. Out: cells of a subset whose members, written with a point or an exponent and read as
IEEE doubles by a validator (which reads the schema's own bounds so too), are judged in the set still. Example:
1.00000000000000000001 is greater than 1, but reads as 1, so `exclusiveMinimum: 1` starts here at 1.0000000000000002.

Where a double cannot decide, the subset is the smaller one; integers written plainly are read exactly and need none of
this. What stays different: validators that divide doubles for `multipleOf: 0.01` refuse some exact multiples (0.07).
"""

from __future__ import annotations

import math
import sys
from fractions import Fraction

from grammars.json_schema.cells import Cells, exact, membership, possible

LARGEST = Fraction(sys.float_info.max)
LARGEST_POWER = Fraction(10**308)
EXACT_DIGITS = 15
"""Two decimals of at most so many significant digits never read as the same double."""
EXACT_LIMIT = Fraction(10**EXACT_DIGITS)


def as_floats(cells: Cells, largest: Fraction | None = None) -> Cells:
    """See the module docstring. largest: where integers end (infinity is none), None where that cannot be reached."""
    cuts: list[Fraction] = []
    opens: list[int] = [cells.opens[0]]
    points: list[bool] = []
    full = possible(cells.lattices)
    around = [_neighbours(cut) for cut in cells.cuts]
    guarded = False  # whether the cell at the end of `opens` is the narrowed one above the last cut
    for i, cut in enumerate(cells.cuts):
        left, right, at = cells.opens[i], cells.opens[i + 1], full * cells.points[i]
        below, above = around[i]
        rounds = cut.denominator == 1 and not _is_double(cut)
        near_left = left & at & right if rounds else left & at
        near_right = left & at & right if rounds else right & at
        if near_left != left:
            if below is not None and not guarded and (not cuts or below > cuts[-1]):
                cuts.append(below)
                points.append(_at(cells, left, below))
                opens.append(near_left)
            else:
                opens[-1] &= near_left
        cuts.append(cut)
        points.append(_at(cells, left & at & right, cut) if rounds else cells.points[i])
        opens.append(near_right)
        limit = around[i + 1][0] if i + 1 < len(around) else None
        guarded = near_right != right
        if guarded and above is not None and (limit is None or above < limit):
            guarded = False
            cuts.append(above)
            points.append(_at(cells, right, above))
            opens.append(right)
    return _within_exact_range(Cells(tuple(cuts), tuple(opens), tuple(points), cells.lattices), largest)


def distinguishes(cells: Cells) -> bool:
    """Whether some members are there because they are *no* multiple: then only short decimals are told apart safely."""
    full = possible(cells.lattices)
    return any(table & 1 and table != full for table in cells.opens)


def _neighbours(cut: Fraction) -> tuple[Fraction | None, Fraction | None]:
    """Decimals that read as the doubles next to the cut, below and above both the cut and its own double."""
    try:
        near = float(cut)
    except OverflowError:
        edge = Fraction(sys.float_info.max)
        return (edge, None) if cut > 0 else (None, -edge)
    below = near if near < cut and cut.denominator == 1 else math.nextafter(near, -math.inf)
    above = near if near > cut and cut.denominator == 1 else math.nextafter(near, math.inf)
    return (exact(below) if math.isfinite(below) else None), (exact(above) if math.isfinite(above) else None)


def _is_double(value: Fraction) -> bool:
    return abs(value) <= LARGEST and Fraction(float(value)) == value


def _at(cells: Cells, table: int, x: Fraction) -> bool:
    return bool(table >> membership(cells.lattices, x) & 1)


def _within_exact_range(cells: Cells, largest: Fraction | None) -> Cells:
    """Cells that tell multiples apart, ended where doubles no longer can: at `largest` for integers, else at 10**15."""
    full = possible(cells.lattices)
    whole = cells.lattices == (Fraction(1),) and all(table in (0, 0b10, full) for table in cells.opens)
    limit = largest if whole else EXACT_LIMIT
    if limit is None or all(table in (0, full) for table in cells.opens):
        return cells
    cuts: list[Fraction] = []
    opens, points, i = [0 if cells.opens[0] != full else full], [], 0
    for cut in sorted({*cells.cuts, -limit, limit}):
        below = cells.opens[i]
        at = _at(cells, below, cut)
        if i < len(cells.cuts) and cells.cuts[i] == cut:
            at, i = cells.points[i], i + 1
        above = cells.opens[i] if -limit <= cut < limit or cells.opens[i] == full else 0
        if above == opens[-1] and at == _at(cells, above, cut):
            continue
        cuts.append(cut)
        opens.append(above)
        points.append(at)
    return Cells(tuple(cuts), tuple(opens), tuple(points), cells.lattices)
