"""Regular languages over text, with set algebra and a byte automaton that is made as it is walked.

In: patterns, texts, character sets, other languages. Out: languages, and their states, rows, shortest texts. Texts are
read as UTF-8; a complement is taken within well-formed UTF-8. Knows no vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD
from grammars.errors import ConstraintSyntaxError
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.regex import anchors
from grammars.regex.algebra import alt, both, closed, complement
from grammars.regex.charset import CharSet, Range
from grammars.regex.dfa import Dfa
from grammars.regex.nodes import ALL, ANY, EMPTY, EPSILON, Kind, Node, cat, chars, furthest, repeat, words
from grammars.regex.parser import Dialect, parse


class Language:
    """A set of texts. Immutable, but for the states that have been reached, which only grow. Not safe for threads.

    States are integers of this object: they mean nothing to another `Language`, even an equal one.
    """

    def __init__(self, node: Node, limits: Limits = DEFAULT_LIMITS) -> None:
        self._node = node
        self._limits = limits

    # Making

    @staticmethod
    def parse(pattern: str, flags: int = 0, dialect: Dialect = "python", search: bool = False) -> Language:
        """The texts that match `pattern` from start to end, or with `search` those that hold a match.

        flags: of `re`: ASCII, IGNORECASE, MULTILINE, DOTALL, VERBOSE. dialect: "python" (as `re` has it) or "ecma" (as
        JSON Schema's `pattern` means it). Raises `ConstraintSyntaxError` for what does not parse,
        `UnsupportedConstraintError` for what is not regular (back-references, conditional and atomic groups).
        """
        node = parse(pattern, int(flags), dialect)
        return Language(anchors.somewhere(node) if search else anchors.whole_text(node))

    @staticmethod
    def literal(text: str | bytes) -> Language:
        """Exactly this text. Bytes must be UTF-8."""
        if isinstance(text, bytes):
            try:
                text = text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ConstraintSyntaxError(f"literal {text!r} is not UTF-8: {error}") from error
        return Language(words([text]))

    @staticmethod
    def any_text() -> Language:
        """Every text."""
        return Language(ALL)

    @staticmethod
    def empty() -> Language:
        """No text at all."""
        return Language(EMPTY)

    @staticmethod
    def epsilon() -> Language:
        """The empty text only."""
        return Language(EPSILON)

    @staticmethod
    def length(least: int, most: int | None) -> Language:
        """Every text of `least` to `most` characters (code points); None: no upper bound."""
        return Language(ANY).repeat(least, most)

    @staticmethod
    def char_class(ranges: Iterable[Range]) -> Language:
        """One character out of these ranges of code points, both ends included."""
        return Language(chars(CharSet.of(ranges)))

    @staticmethod
    def union(members: Iterable[Language | str]) -> Language:
        """Every text of any of the members; a `str` is a literal."""
        literals: list[str] = []
        nodes: list[Node] = []
        for member in members:
            if isinstance(member, str):
                literals.append(member)
            else:
                nodes.append(member._node)
        return Language(alt([words(literals), *nodes]) if literals else alt(nodes))

    # Algebra

    def __and__(self, other: Language) -> Language:
        return self._with(both((self._node, other._node)))

    def __or__(self, other: Language) -> Language:
        return self._with(alt((self._node, other._node)))

    def __sub__(self, other: Language) -> Language:
        return self._with(both((self._node, complement(other._node))))

    def __invert__(self) -> Language:
        return self._with(complement(self._node))

    def __add__(self, other: Language) -> Language:
        return self._with(cat(closed(self._node), closed(other._node)))

    def repeat(self, least: int, most: int | None) -> Language:
        """`least` to `most` texts of this language, one after the other; None: no upper bound."""
        if least < 0 or (most is not None and most < least):
            raise ConstraintSyntaxError(f"a repetition of {least} to {most} is not possible")
        return self._with(repeat(closed(self._node), least, most))

    def within(self, limits: Limits) -> Language:
        """The same language under other limits."""
        return Language(self._node, limits)

    def _with(self, node: Node) -> Language:
        return Language(node, self._limits)

    # Facts

    @property
    def key(self) -> bytes:
        """Equal for structurally equal languages, in every process; different keys may still mean equal languages."""
        return self._node.key

    @property
    def length_bounds(self) -> tuple[int, int | None] | None:
        """(least, most) characters, if the language has been made as all texts of so many; None if not."""
        node = self._node
        if node is ALL:
            return 0, None
        if node.kind is Kind.REPEAT and node.parts[0] == ANY:
            return node.least, node.most
        return (1, 1) if node == ANY else None

    @property
    def counted(self) -> tuple[Language, int, int | None] | None:
        """(language, least, most), if it has been made as the texts of another one of so many characters."""
        node = self._node
        bounds = [part for part in node.parts if part.kind is Kind.REPEAT and part.parts[0] == ANY]
        if node.kind is not Kind.BOTH or len(bounds) != 1:
            return None
        rest = both(part for part in node.parts if part is not bounds[0])
        return self._with(rest), bounds[0].least, bounds[0].most

    @cached_property
    def furthest(self) -> int | None:
        """No text that begins a text of it is further from one of its texts, in characters; None: not known."""
        return furthest(self._node) if self._node.plain else None

    @property
    def words(self) -> tuple[str, ...] | None:
        """The texts, if the language has been made as a list of some; None if not."""
        node = self._node
        whole = node.kind is Kind.WORDS and (node.low_word, node.high_word, node.depth) == (0, len(node.words), 0)
        return node.words if whole else None

    def is_empty(self) -> bool:
        """Whether no text belongs to it. Raises `ConstraintLimitError` if that takes too long to find out."""
        if self._node.plain:
            return self._node.kind is Kind.EMPTY
        return not self.dfa.has_text

    @property
    def lacks_few(self) -> bool:
        """Whether it has been made as all texts but finitely many: then every text begins infinitely many of it."""
        return _lacks_few(self._node)

    def is_finite(self) -> bool:
        """Whether it has finitely many texts."""
        if self._node.longest is not None:
            return True
        if self._node.plain:
            return False
        return self.dfa.distances.is_finite(self._node)

    def accepts(self, text: str | bytes) -> bool:
        """Whether the text belongs to it. Ill-formed UTF-8 and lone surrogates belong to no language."""
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        state = self.start
        if self.is_empty():
            return False
        for byte in content:
            state = self.step(state, byte)
            if state == DEAD:
                return False
        return self.is_accepting(state)

    def subset_of(self, other: Language) -> bool:
        """Whether every text of it belongs to `other`. May raise `ConstraintLimitError`."""
        return self.key == other.key or (self - other).is_empty()

    def equivalent(self, other: Language) -> bool:
        """Whether both have the same texts. May raise `ConstraintLimitError`."""
        return self.subset_of(other) and other.subset_of(self)

    # States

    @cached_property
    def dfa(self) -> Dfa:
        """The automaton as far as it has been walked."""
        return Dfa(self._node, self._limits)

    @property
    def start(self) -> int:
        """The state before the first byte."""
        return self.dfa.start

    def step(self, state: int, byte: int) -> int:
        """The state after the byte, or DEAD if no text of the language goes on like this."""
        return int(self.dfa.row(state)[byte])

    def row(self, state: int) -> NDArray[np.int32]:
        """int32[256]: `step` for every byte. Do not write to it."""
        return self.dfa.row(state)

    def is_accepting(self, state: int) -> bool:
        """Whether the text so far belongs to the language."""
        return self.dfa.is_accepting(state)

    def pending(self, state: int) -> int:
        """Bytes to come of the character that has begun; 0 between two characters."""
        return self.dfa.pending(state)

    def shortest(self, state: int) -> int | None:
        """Characters of a completion that has the fewest, that which has begun not counted; None if not known."""
        return self.dfa.shortest(state)

    def goes_on(self, state: int, least: int, most: int | None) -> bool:
        """Whether some completion has `least` to `most` characters, that which has begun not counted."""
        return self.dfa.goes_on(state, least, most)

    def behaviour(self, state: int, size: int) -> Hashable | None:
        """See `Dfa.behaviour`."""
        return self.dfa.behaviour(state, size)

    def takes_any(self, state: int) -> bool:
        """Whether every text can follow."""
        return self.dfa.behaviour(state, 0) == ALL.key

    def min_bytes(self, state: int) -> int:
        """Length of a shortest completion, in bytes."""
        return self.dfa.min_bytes(state)

    def witness(self, state: int) -> bytes:
        """A shortest completion, always the same one."""
        return self.dfa.witness(state)

    def __repr__(self) -> str:
        return f"Language({self.key.hex()[:12]})"


def _lacks_few(node: Node) -> bool:
    if node.kind is Kind.BOTH:
        return all(map(_lacks_few, node.parts))
    if node.kind is Kind.NOT:
        return node.parts[0].longest is not None
    return node.kind is Kind.REPEAT and node.parts[0] == ANY and node.most is None
