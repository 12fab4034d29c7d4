"""Regular expressions that ECMA 262 parses, with its flag `u`, and Python's `re` as well: a regular subset.

Left out: groups nested deeper than `DEPTH`, names, look-behind, back-references, `[]`, `[^]`, `\\p{...}`, and
quantifiers with numbers of more than four digits.
"""

from __future__ import annotations

from grammars.regex import Language

DEPTH = 4


def ecma_regex() -> Language:
    """See the module docstring."""
    escape = _parse(
        r"\\(?:[dDwWsStnvfr]|x[0-9A-Fa-f]{2}|u(?:[0-9A-Ca-cEFef][0-9A-Fa-f]{3}|[Dd][0-7][0-9A-Fa-f]{2})|[\^$.*+?()\[\]{}|/\\])"
    )
    single = _parse(r"[^\x00-\x1f\x7f\\^$.*+?()\[\]{}|]") | escape | _parse(r"\.") | _class(escape)
    assertion = _parse(r"[\^$]|\\[bB]")
    quantifier = _quantifier()
    expression = (single + quantifier | assertion).repeat(0, None)
    for _ in range(DEPTH):
        branches = expression + (Language.literal("|") + expression).repeat(0, None)
        close = Language.literal(")")
        group = _parse(r"\((?:\?:)?") + branches + close
        look = _parse(r"\(\?[=!]") + branches + close
        expression = (single + quantifier | assertion | group + quantifier | look).repeat(0, None)
    return expression + (Language.literal("|") + expression).repeat(0, None)


def _class(escape: Language) -> Language:
    """A character class that is not empty. Ranges are of digits, or of letters of one case, in order."""
    ranges = "|".join(
        f"{first}-[{first}-{last}]"
        for letters, last in (
            ("0123456789", "9"),
            ("abcdefghijklmnopqrstuvwxyz", "z"),
            ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "Z"),
        )
        for first in letters
    )
    # no two of & - | ~ in a row: newer engines read them as set operators
    plain = _parse(rf"[^\x00-\x1f\x7f\\\]\[\^&|~-]|\\-|{ranges}") | escape
    items = plain.repeat(1, None)
    return (
        _parse(r"\[\^?") + (items + _parse("-?") | Language.literal("-") + items.repeat(0, 1)) + Language.literal("]")
    )


def _quantifier() -> Language:
    """None, or one with its bounds in order; lazy ones too."""
    pairs = [f"{n},[{n}-9]" for n in range(10)]
    pairs += [f"{a}[0-9],[{a + 1}-9][0-9]" for a in range(1, 9)]
    pairs += [f"{a}{b},{a}[{b}-9]" for a in range(1, 10) for b in range(10)]
    pairs += ["[0-9],[1-9][0-9]{1,3}", "[1-9][0-9],[1-9][0-9]{2,3}", "[1-9][0-9]{2},[1-9][0-9]{3}"]
    number = "(?:0|[1-9][0-9]{0,3})"
    return _parse(rf"(?:(?:[*+?]|\{{(?:{number},?|{'|'.join(pairs)})\}})\??)?")


def _parse(pattern: str) -> Language:
    return Language.parse(pattern, dialect="python")
