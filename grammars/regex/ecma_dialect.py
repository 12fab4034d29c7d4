"""Regular expressions as ECMA-262 has them and JSON Schema means them: over code points, as with the `u` flag.

In: a pattern. Out: a term. Tolerant where the `u` flag is strict and the meaning is plain (`\\-`, `[\\w-.]`, a lone
`{`), because schemas in use are; also reads `(?i)` at the start, `(?i:...)` and `(?P<name>...)`, as others do.
"""

from __future__ import annotations

import re

from grammars.regex import unicode
from grammars.regex.charset import NO_CHAR, CharSet, Range
from grammars.regex.nodes import EPSILON, Node, chars, look
from grammars.regex.syntax import Parser

_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_FLAGS = {"i": re.I, "m": re.M, "s": re.S}


class EcmaParser(Parser):
    """See the module docstring."""

    newlines = unicode.ECMA_LINE_END

    def parse(self) -> Node:
        match = re.compile(r"\(\?([ims]+)\)").match(self.pattern)
        if match is not None:
            self.position = match.end()
            for letter in match[1]:
                self.flags |= _FLAGS[letter]
        return super().parse()

    def end_anchor(self) -> Node:
        return look(EPSILON)

    def bounds(self) -> tuple[int, int | None] | None:
        match = re.compile(r"([0-9]+)(,?)([0-9]*)\}").match(self.pattern, self.position)
        if match is None:
            return None
        self.position = match.end()
        least = int(match[1])
        if not match[2]:
            return least, least
        return least, int(match[3]) if match[3] else None

    def extension(self) -> Node | None:
        start = self.position - 2
        assertion = self.look_around()
        if assertion is not None:
            return assertion
        if self.take(":"):
            return self.alternation()
        if self.take("<") or self.take("P<"):
            self.until(">", "group name")
            return self.alternation()
        for opening, construct in ((">", "an atomic group"), ("(", "a conditional group"), ("P=", "a back-reference")):
            if self.take(opening):
                self.refuse(construct, start)
        match = re.compile(r"([ims]*)(?:-([ims]*))?:").match(self.pattern, self.position)
        if match is None:
            self.fail("invalid group", start)
        self.position = match.end()
        for letter in match[1]:
            self.flags |= _FLAGS[letter]
        for letter in match[2] or "":
            self.flags &= ~_FLAGS[letter]
        return self.alternation()

    # Escapes

    def escape(self) -> Node:
        start = self.position - 1
        char = self.next()
        if char == "b":
            return self.boundary(unicode.ASCII_WORD)
        if char == "B":
            return self.no_boundary(unicode.ASCII_WORD)
        if char == "k" or char in "123456789":
            self.refuse("a back-reference", start)
        found = self.class_escape(char)
        if found is not None:
            return chars(self.fold([], found))
        return self.literal(self.character_escape(char, start))

    def character_escape(self, char: str, start: int) -> int:
        """The code point of an escape that stands for one character; `char` follows the backslash."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char == "0" and self.peek() not in set("0123456789"):
            return 0
        if char == "x":
            return self.hex_digits(2, "\\x")
        if char == "u":
            return self.unicode_escape(start)
        if char == "c":
            letter = self.next()
            if not (letter.isascii() and letter.isalpha()):
                self.fail("invalid control escape", start)
            return ord(letter) % 32
        if char.isascii() and char.isalnum():
            self.fail(f"invalid escape \\{char}", start)
        return ord(char)

    def unicode_escape(self, start: int) -> int:
        r"""`\u{1F600}`, `\u00e9`, or a surrogate pair of two of the latter."""
        if self.take("{"):
            digits = self.until("}", "escape")
            if not re.fullmatch("[0-9a-fA-F]+", digits) or int(digits, 16) > 0x10FFFF:
                self.fail(f"invalid Unicode escape \\u{{{digits}}}", start)
            return int(digits, 16)
        high = self.hex_digits(4, "\\u")
        match = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})").match(self.pattern, self.position)
        if 0xD800 <= high <= 0xDBFF and match is not None:
            self.position = match.end()
            return 0x10000 + ((high - 0xD800) << 10) + int(match[1], 16) - 0xDC00
        return high

    def class_escape(self, char: str) -> CharSet | None:
        r"""The set that `\d`, `\w`, `\s`, `\p{...}` or their opposites stand for; None for other escapes."""
        if char in "wW":
            found = unicode.ASCII_WORD
        elif char in "dD":
            found = unicode.ASCII_DIGIT
        elif char in "sS":
            found = unicode.ECMA_SPACE
        elif char in "pP":
            start = self.position - 2
            if not self.take("{"):
                self.fail("invalid property name", start)
            name = self.until("}", "property")
            known = unicode.property_set(name)
            if known is None:
                self.refuse(f"the character property {name!r}", start)
            found = known
        else:
            return None
        return ~found if char.isupper() else found

    # Classes

    def character_class(self) -> CharSet:
        start = self.position - 1
        negated = self.take("^")
        ranges: list[Range] = []
        classes = NO_CHAR
        while not self.take("]"):
            if self.position >= len(self.pattern):
                self.fail("unterminated character class", start)
            low = self.class_member()
            if isinstance(low, CharSet):
                classes |= low
                continue
            high: int | CharSet = low
            if self.peek() == "-" and self.peek(2) != "-]":
                self.position += 1
                high = self.class_member()
            if isinstance(high, CharSet):  # `[a-\d]`: the hyphen stands for itself
                ranges += [(low, low), (0x2D, 0x2D)]
                classes |= high
                continue
            if high < low:
                self.fail("range out of order in character class")
            ranges.append((low, high))
        found = self.fold(ranges, classes)
        return ~found if negated else found

    def class_member(self) -> int | CharSet:
        """A character or a class in a class."""
        start = self.position
        char = self.next()
        if char != "\\":
            return ord(char)
        char = self.next()
        if char == "b":
            return 8
        found = self.class_escape(char)
        return found if found is not None else self.character_escape(char, start)
