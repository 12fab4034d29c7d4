"""Regular expressions as Python's `re` has them.

In: a pattern, flags of `re`. Out: a term. Where versions of `re` differ, the running one counts. Also
`\\p{...}` and `(?<name>...)`, which `re` refuses and `regex` has.
"""

from __future__ import annotations

import re
import sys
import unicodedata

from grammars.regex import unicode
from grammars.regex.algebra import alt
from grammars.regex.charset import NO_CHAR, CharSet, Range
from grammars.regex.nodes import ALL, ANY, EPSILON, Node, behind, cat, chars, look
from grammars.regex.syntax import Parser

_CONTROLS = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_FLAGS = {"a": re.A, "i": re.I, "m": re.M, "s": re.S, "x": re.X, "u": re.U}
_OPTIONAL_FLAGS = "imsx"
_SINCE_3_14 = sys.version_info >= (3, 14)
# Before 3.14, `re` finds no boundary, and no absence of one, in the empty text.
_NOT_EMPTY = alt([behind(cat(ALL, ANY)), look(cat(ANY, ALL))])


class PythonParser(Parser):
    """See the module docstring."""

    newlines = CharSet.of_text("\n")

    def parse(self) -> Node:
        self.global_flags()
        return super().parse()

    def global_flags(self) -> None:
        """`(?i)` and the like, which may only stand at the very beginning."""
        while match := re.compile(r"\(\?([a-zA-Z]+)\)").match(self.pattern, self.position):
            for letter in match[1]:
                if letter not in _FLAGS:
                    self.fail(f"unknown flag {letter}")
                self.flags |= _FLAGS[letter]
            self.position = match.end()
            self.skip_trivia()

    def end_anchor(self) -> Node:
        return look(alt([EPSILON, chars(self.newlines)]))

    def bounds(self) -> tuple[int, int | None] | None:
        match = re.compile(r"([0-9]*)(,?)([0-9]*)\}").match(self.pattern, self.position)
        if match is None or match[0] == "}":
            return None
        self.position = match.end()
        least = int(match[1] or 0)
        if not match[2]:
            return least, least
        return least, int(match[3]) if match[3] else None

    def possessive(self) -> None:
        self.refuse("a possessive quantifier", self.position)

    def skip_trivia(self) -> None:
        while True:
            if self.take("(?#"):
                self.until(")", "comment")
            elif self.flags & re.VERBOSE and self.peek() in set(" \t\n\r\f\v"):
                self.position += 1
            elif self.flags & re.VERBOSE and self.peek() == "#":
                end = self.pattern.find("\n", self.position)
                self.position = len(self.pattern) if end < 0 else end + 1
            else:
                return

    def extension(self) -> Node | None:
        start = self.position - 2
        assertion = self.look_around()
        if assertion is not None:
            return assertion
        if self.take(":"):
            return self.alternation()
        if self.take("P<") or self.take("<"):
            name = self.until(">", "name")
            if not name.isidentifier():
                self.fail(f"bad character in group name {name!r}", start)
            return self.alternation()
        for opening, construct in (
            ("P=", "a back-reference"),
            ("P>", "a recursive pattern"),
            ("&", "a recursive pattern"),
            ("R", "a recursive pattern"),
            ("(", "a conditional group"),
            (">", "an atomic group"),
            ("|", "a branch reset group"),
        ):
            if self.take(opening):
                self.refuse(construct, start)
        return self.scoped_flags(start)

    def scoped_flags(self, start: int) -> Node:
        """`(?i-s:...)`"""
        added, removed, char = 0, 0, self.next()
        while char in _FLAGS:
            added |= _FLAGS[char]
            char = self.next()
        if char == "-":
            char = self.next()
            while char in _OPTIONAL_FLAGS:
                removed |= _FLAGS[char]
                char = self.next()
        if char == ")" and added and not removed:
            self.fail("global flags not at the start of the expression", start)
        if char != ":" or not added | removed or added & removed or (added & re.A and added & re.U):
            self.fail("unknown extension or flags", start)
        if added & (re.A | re.U):
            self.flags &= ~(re.A | re.U)
        self.flags = (self.flags | added) & ~removed
        return self.alternation()

    # Escapes

    def escape(self) -> Node:
        start = self.position - 1
        char = self.next()
        if char == "A":
            return behind(EPSILON)
        if char == "Z" or (char == "z" and _SINCE_3_14):
            return look(EPSILON)
        if char == "b":
            return self.boundary(self.word())
        if char == "B":
            return cat(self.no_boundary(self.word()), EPSILON if _SINCE_3_14 else _NOT_EMPTY)
        found = self.class_escape(char)
        if found is not None:
            return chars(self.fold([], found))
        if char in "123456789":
            return self.literal(self.octal_or_reference(start))
        return self.literal(self.character_escape(char, start))

    def octal_or_reference(self, start: int) -> int:
        r"""`\123` is octal; any other number refers back to a group."""
        digits = self.pattern[start + 1 : start + 4]
        if not re.fullmatch("[0-3][0-7]{2}", digits):
            self.refuse("a back-reference", start)
        self.position = start + 4
        return int(digits, 8)

    def character_escape(self, char: str, start: int) -> int:
        """The code point of an escape that stands for one character; `char` follows the backslash."""
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char in _HEX_ESCAPES:
            code_point = self.hex_digits(_HEX_ESCAPES[char], f"\\{char}")
            if code_point > 0x10FFFF:
                self.fail("bad escape: no such code point", start)
            return code_point
        if char == "N" and self.take("{"):
            name = self.until("}", "character name")
            try:
                return ord(unicodedata.lookup(name))
            except (KeyError, TypeError):
                self.fail(f"undefined character name {name!r}", start)
        if char == "0":
            match = re.compile("[0-7]{0,2}").match(self.pattern, self.position)
            self.position += len(match[0]) if match else 0
            return int("0" + (match[0] if match else ""), 8)
        if char.isascii() and char.isalnum():
            self.fail(f"bad escape \\{char}", start)
        return ord(char)

    def word(self) -> CharSet:
        r"""The characters of `\w`."""
        return unicode.ASCII_WORD if self.flags & re.ASCII else unicode.word()

    def class_escape(self, char: str) -> CharSet | None:
        r"""The set that `\d`, `\w`, `\s`, `\p{...}` or their opposites stand for; None for other escapes."""
        ascii_only = bool(self.flags & re.ASCII)
        if char in "wW":
            found = self.word()
        elif char in "dD":
            found = unicode.ASCII_DIGIT if ascii_only else unicode.digit()
        elif char in "sS":
            found = unicode.ASCII_SPACE if ascii_only else unicode.space()
        elif char in "pP":
            found = self.named_property()
        else:
            return None
        return ~found if char.isupper() else found

    def named_property(self) -> CharSet:
        r"""`\p{...}` or `\pL`; `position` is after the `p`."""
        start = self.position - 2
        name = self.until("}", "property") if self.take("{") else self.next()
        negated = name.startswith("^")
        found = unicode.property_set(name[1:] if negated else name)
        if found is None:
            self.refuse(f"the character property {name!r}", start)
        return ~found if negated else found

    # Classes

    def character_class(self) -> CharSet:
        start = self.position - 1
        negated = self.take("^")
        ranges: list[Range] = []
        classes = NO_CHAR
        first = self.position
        while self.position == first or self.peek() != "]":
            if self.position >= len(self.pattern):
                self.fail("unterminated character set", start)
            low = self.class_member()
            if self.peek() == "-" and self.peek(2) != "-]" and len(self.peek(2)) == 2:
                self.position += 1
                high = self.class_member()
                if isinstance(low, CharSet) or isinstance(high, CharSet) or high < low:
                    self.fail("bad character range")
                ranges.append((low, high))
            elif isinstance(low, CharSet):
                classes |= low
            else:
                ranges.append((low, low))
        self.position += 1
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
        if found is not None:
            return found
        if char in "1234567":
            digits = self.pattern[start + 1 : start + 4]
            if not re.fullmatch("[0-3][0-7]{2}", digits):
                self.fail(f"bad escape \\{char}", start)
            self.position = start + 4
            return int(digits, 8)
        return self.character_escape(char, start)
