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


@cache
def _raised(ascii_only: bool) -> dict[int, tuple[int, ...]]:
    """For a lower-case character the other ones that have it as their lower case."""
    table: dict[int, tuple[int, ...]] = {}
    for point, lower in _lowered(ascii_only):
        table[lower] = (*table.get(lower, ()), point)
    return table


@cache
def _cased(ascii_only: bool) -> CharSet:
    return CharSet.of((point, point) for point, _ in _lowered(ascii_only))


def same_letter(code_point: int, ascii_only: bool = False) -> CharSet:
    """The characters that match this one without regard to case."""
    lower = code_point if ascii_only and code_point >= 0x80 else _lower(code_point)
    family = (lower,) if ascii_only else (lower, *_siblings().get(lower, ()))
    raised = _raised(ascii_only)
    return CharSet.of((point, point) for base in family for point in (base, *raised.get(base, ())))


def ignore_case(ranges: list[Range], classes: CharSet = NO_CHAR, ascii_only: bool = False) -> CharSet:
    """The characters that match a set of these ranges and classes without regard to case."""
    plain, moved, cased = CharSet.of(ranges), _lowered(ascii_only), _cased(ascii_only)
    base = (plain - cased) | CharSet.of((lower, lower) for point, lower in moved if point in plain)
    if not ascii_only:
        base |= CharSet.of((other, other) for point, others in _siblings().items() if point in base for other in others)
    base |= classes
    return (base - cased) | CharSet.of((point, point) for point, lower in moved if lower in base)
