"""Matching without regard to case, as `re.IGNORECASE` does it.

In: the characters and classes of a set. Out: the characters that match it. `re` lowers the character of the text (one
character to one) and looks it up among the lowered characters of the set, to which it adds the lower-case letters that
share their upper-case letter (`ſ` with `s`); classes such as `\\w` see the lowered character.
"""

from __future__ import annotations

from functools import cache

from grammars.regex.charset import NO_CHAR, CharSet, Range

# Scripts without case take most of Unicode: ideographs, Hangul, cuneiform, hieroglyphs.
_CASED = tuple(
    point
    for first, end in ((0, 0x3000), (0xA000, 0xAC00), (0xFB00, 0x12000), (0x16E00, 0x16F00), (0x1E000, 0x1F000))
    for point in range(first, end)
)
_DOTTED_CAPITAL_I = 0x130  # its lower case is two characters in full, `i` one to one


def _lower(code_point: int) -> int:
    if code_point == _DOTTED_CAPITAL_I:
        return ord("i")
    lowered = chr(code_point).lower()
    return ord(lowered) if len(lowered) == 1 else code_point


@cache
def _lowered(ascii_only: bool) -> tuple[tuple[int, int], ...]:
    """(character, its lower case) for every character that has another one."""
    points = range(0x80) if ascii_only else _CASED
    return tuple((point, lower) for point in points if (lower := _lower(point)) != point)


@cache
def _siblings() -> dict[int, tuple[int, ...]]:
    """For a lower-case character the other ones of the same upper case."""
    groups: dict[str, set[int]] = {}
    for point in _CASED:
        groups.setdefault(chr(point).upper(), set()).add(_lower(point))
    table: dict[int, set[int]] = {}
    for group in groups.values():
        for point in group if len(group) > 1 else ():
            table.setdefault(point, set()).update(group - {point})
    return {point: tuple(others) for point, others in table.items()}


def ignore_case(ranges: list[Range], classes: CharSet = NO_CHAR, ascii_only: bool = False) -> CharSet:
    """The characters that match a set of these ranges and classes without regard to case."""
    plain = CharSet.of(ranges)
    moved = _lowered(ascii_only)
    cased = CharSet.of((point, point) for point, _ in moved)
    targets = [lower for point, lower in moved if point in plain]
    base = (plain - cased) | CharSet.of((lower, lower) for lower in targets)
    if not ascii_only:
        base |= CharSet.of((other, other) for point, others in _siblings().items() if point in base for other in others)
    base |= classes
    back = [(point, point) for point, lower in moved if lower in base]
    return (base - cased) | CharSet.of(back)
