"""What the dialects of regular expressions have in common: a recursive-descent parser into terms.

In: a pattern and its flags. Out: a term, with anchors and look-arounds as LOOK and BEHIND. A dialect says what an
escape, a class and a group extension mean.

    alternation := branch ("|" branch)*
    branch      := (atom quantifier?)*
    atom        := character | "." | class | escape | "^" | "$" | group
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import NoReturn

from grammars.errors import ConstraintLimitError, ConstraintSyntaxError, UnsupportedConstraintError
from grammars.regex.algebra import alt
from grammars.regex.casing import ignore_case, same_letter
from grammars.regex.charset import NO_CHAR, CharSet, Range
from grammars.regex.nodes import ALL, EPSILON, Node, behind, cat, chain, chars, look, negate, repeat, words

MAX_NESTING = 100
_PLAIN_RUN = re.compile(r"[^\\.\[\]^$()*+?{}|]{2,}(?![*+?{]|\(\?#)")
MAX_REPEAT = 4_294_967_294


class Parser(ABC):
    """One pattern being parsed. `position` is the next character."""

    newlines: CharSet
    """Characters that `.` does not match and that `^` and `$` heed in multi-line mode."""

    def __init__(self, pattern: str, flags: int) -> None:
        self.pattern = pattern
        self.flags = flags
        self.position = 0
        self._depth = 0

    def parse(self) -> Node:
        """The whole pattern."""
        node = self.alternation()
        if self.position < len(self.pattern):
            self.fail("unbalanced parenthesis")
        return node

    # What a dialect decides

    @abstractmethod
    def escape(self) -> Node:
        """An escape outside a class; `position` is after the backslash."""

    @abstractmethod
    def character_class(self) -> CharSet:
        """A class; `position` is after the opening bracket."""

    @abstractmethod
    def extension(self) -> Node | None:
        """A group that begins with `(?`, `position` being after that, up to its `)`; None if it was only flags."""

    @abstractmethod
    def end_anchor(self) -> Node:
        """`$`"""

    @abstractmethod
    def bounds(self) -> tuple[int, int | None] | None:
        """The bounds in braces, `position` being after the `{`; None, nothing read, if it is no quantifier."""

    # The grammar

    def alternation(self) -> Node:
        """Up to the end or an unmatched `)`."""
        if self._depth > MAX_NESTING:
            raise ConstraintLimitError(f"the regular expression nests groups deeper than {MAX_NESTING}")
        self._depth += 1
        branches = [self.branch()]
        while self.take("|"):
            branches.append(self.branch())
        self._depth -= 1
        return alt(branches)

    def branch(self) -> Node:
        """Atoms with their quantifiers. Runs of plain characters become one word."""
        parts: list[Node] = []
        run: list[str] = []
        self.skip_trivia()
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)":
            start = self.position
            plain = _PLAIN_RUN.match(self.pattern, start)
            if plain is not None and not self.flags & (re.IGNORECASE | re.VERBOSE):
                run.append(plain[0])
                self.position = plain.end()
                continue
            atom = self.atom()
            self.skip_trivia()
            if atom is None:
                continue
            node = self.quantified(atom, start)
            text = next(iter(node.texts())) if node.words and len(node.words) == 1 else None
            if text is None:
                parts += [words(["".join(run)]), node] if run else [node]
                run.clear()
            else:
                run.append(text)
            self.skip_trivia()
        return chain([*parts, words(["".join(run)])])

    def atom(self) -> Node | None:
        """One atom; None for a group that only sets flags."""
        char = self.next()
        if char == "\\":
            return self.escape()
        if char == ".":
            return chars(~self.newlines) if not self.flags & re.DOTALL else chars(~NO_CHAR)
        if char == "[":
            return chars(self.character_class())
        if char == "^":
            return self.line_start() if self.flags & re.MULTILINE else behind(EPSILON)
        if char == "$":
            return self.line_end() if self.flags & re.MULTILINE else self.end_anchor()
        if char == "(":
            return self.group()
        if char in "*+?" or (char == "{" and self.bounds() is not None):
            self.fail("nothing to repeat", self.position - 1)
        return self.literal(ord(char))

    def group(self) -> Node | None:
        """`position` is after the `(`."""
        start = self.position - 1
        flags = self.flags
        node = self.extension() if self.take("?") else self.alternation()
        if node is None:
            return None
        self.flags = flags
        if not self.take(")"):
            self.fail("missing ), unterminated subpattern", start)
        return node

    def quantified(self, atom: Node, start: int) -> Node:
        """`atom`, which began at `start`, with the quantifier that follows it, if any."""
        bounds = self.quantifier()
        if bounds is None:
            return atom
        if self.pattern[start] in "^$" or self.pattern[start : start + 2] in ("\\A", "\\Z", "\\b", "\\B"):
            self.fail("nothing to repeat")
        least, most = bounds
        if most is not None and most < least:
            self.fail(f"min repeat {least} greater than max repeat {most}")
        if max(least, most or 0) > MAX_REPEAT:
            self.fail("the repetition number is too large")
        if self.take("?"):
            pass  # A lazy quantifier has the same language.
        elif self.peek() == "+":
            self.possessive()
        place = self.position
        self.skip_trivia()
        if self.quantifier() is not None:
            self.fail("multiple repeat", place)
        return repeat(atom, least, most)

    def possessive(self) -> None:
        """A `+` after a quantifier."""
        self.fail("multiple repeat")

    def quantifier(self) -> tuple[int, int | None] | None:
        """The quantifier at `position`, read; None, nothing read, if there is none."""
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        char = self.peek()
        if char in simple:
            self.position += 1
            return simple[char]
        if char == "{":
            self.position += 1
            bounds = self.bounds()
            if bounds is None:
                self.position -= 1
            return bounds
        return None

    def look_around(self) -> Node | None:
        """A look-around, `position` being after `(?`; None, nothing read, if it is none."""
        for opening, backward, negative in (("=", 0, 0), ("!", 0, 1), ("<=", 1, 0), ("<!", 1, 1)):
            if self.take(opening):
                body = self.alternation()
                condition = cat(ALL, body) if backward else cat(body, ALL)
                condition = negate(condition) if negative else condition
                return behind(condition) if backward else look(condition)
        return None

    # Common pieces

    def line_start(self) -> Node:
        """`^` in multi-line mode."""
        return behind(alt([EPSILON, cat(ALL, chars(self.newlines))]))

    def line_end(self) -> Node:
        """`$` in multi-line mode."""
        return look(alt([EPSILON, cat(chars(self.newlines), ALL)]))

    def boundary(self, word: CharSet) -> Node:
        r"""`\b` for this set of word characters."""
        after_word, before_word = cat(ALL, chars(word)), cat(chars(word), ALL)
        return alt(
            [
                cat(behind(after_word), look(negate(before_word))),
                cat(behind(negate(after_word)), look(before_word)),
            ]
        )

    def no_boundary(self, word: CharSet) -> Node:
        r"""`\B` for this set of word characters."""
        after_word, before_word = cat(ALL, chars(word)), cat(chars(word), ALL)
        return alt(
            [
                cat(behind(after_word), look(before_word)),
                cat(behind(negate(after_word)), look(negate(before_word))),
            ]
        )

    def literal(self, code_point: int) -> Node:
        """One character, in either case if the flags say so."""
        if self.flags & re.IGNORECASE:
            return chars(same_letter(code_point, bool(self.flags & re.ASCII)))
        return words([chr(code_point)])

    def fold(self, ranges: list[Range], classes: CharSet = NO_CHAR) -> CharSet:
        """The set of these ranges and classes under the flags."""
        if self.flags & re.IGNORECASE:
            return ignore_case(ranges, classes, bool(self.flags & re.ASCII))
        return CharSet.of(ranges) | classes

    # Reading

    def peek(self, count: int = 1) -> str:
        """The next characters, fewer at the end."""
        return self.pattern[self.position : self.position + count]

    def next(self) -> str:
        """The next character, read."""
        if self.position >= len(self.pattern):
            self.fail("unexpected end of pattern")
        self.position += 1
        return self.pattern[self.position - 1]

    def take(self, text: str) -> bool:
        """Read `text` if it comes next."""
        if self.pattern.startswith(text, self.position):
            self.position += len(text)
            return True
        return False

    def until(self, end: str, what: str) -> str:
        """Everything before `end`, which is read too."""
        place = self.pattern.find(end, self.position)
        if place < 0:
            self.fail(f"missing {end}, unterminated {what}")
        text = self.pattern[self.position : place]
        self.position = place + len(end)
        return text

    def hex_digits(self, count: int, escape: str) -> int:
        """Exactly `count` hexadecimal digits."""
        digits = self.peek(count)
        if not re.fullmatch(f"[0-9a-fA-F]{{{count}}}", digits):
            self.fail(f"incomplete escape {escape}{digits}")
        self.position += count
        return int(digits, 16)

    def skip_trivia(self) -> None:  # noqa: B027
        """Skip what means nothing here: comments, and white space in verbose mode."""

    def fail(self, message: str, position: int | None = None) -> NoReturn:
        """Raise `ConstraintSyntaxError`."""
        place = self.position if position is None else position
        raise ConstraintSyntaxError(f"{message} at position {place} of the pattern {shortened(self.pattern)}")

    def refuse(self, construct: str, position: int) -> NoReturn:
        """Raise `UnsupportedConstraintError`: the construct is not regular, or not known."""
        raise UnsupportedConstraintError(
            f"{construct} in the pattern {shortened(self.pattern)} is not supported", f"position {position}"
        )


def shortened(pattern: str) -> str:
    """The pattern as an error message shows it."""
    return repr(pattern if len(pattern) <= 80 else pattern[:77] + "...")
