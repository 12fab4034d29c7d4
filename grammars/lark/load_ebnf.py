"""EBNF as llama.cpp (GBNF), XGrammar and SGLang users write it, into a `Cfg`.

    root   ::= "[" ws item ("," ws item)* "]"      # comments run to the end of the line
    item   ::= [a-z]+ | "\\"" [^"\\n]{1,20} "\\"" | .
    ws     ::= [ \\t\\n]*

`::=` begins a rule, `|` separates alternatives, juxtaposition follows, `( )` groups, `* + ? {n} {n,} {n,m}` repeat,
`"..."` and `'...'` are literals, `[...]` and `[^...]` character classes, `.` any character. Escapes: `\\n \\r \\t \\\\
\\" \\' \\] \\[ \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH`. There is no lexer: a repetition may end wherever the rest of the
text fits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from grammars.errors import ConstraintSyntaxError
from grammars.lark.cfg import Cfg, Rule, Terminal
from grammars.regex import Language

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\#[^\n]*)+)
      | (?P<head>[A-Za-z_][\w.-]*(?=(?:\s|\#[^\n]*\n)*::=))
      | (?P<name>[A-Za-z_][\w.-]*)
      | (?P<define>::=)
      | (?P<literal>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<class>\[(?:[^\]\\]|\\.)*\])
      | (?P<bounds>\{\s*\d+\s*(?:,\s*\d*\s*)?\})
      | (?P<sign>[|()*+?.])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_PLAIN = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ANY_CHARACTER = Language.char_class([(0, 0x10FFFF)])
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def read_ebnf(text: str, root: str) -> Cfg:
    """Errors: `ConstraintSyntaxError` with line and column."""
    return _Reader(text).read(root)


class _Reader:
    """A recursive descent over the tokens; every group and repetition becomes a nonterminal of its own."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._split()
        self.at = 0
        self.names: dict[str, int] = {}
        self.defined: set[int] = set()
        self.used: dict[int, int] = {}
        self.rules: list[Rule] = []
        self.terminals: dict[str, Terminal] = {}

    def read(self, root: str) -> Cfg:
        while self._kind() != "end":
            name = self._take("head", "a rule, `name ::= ...`")
            head = self._nonterminal(name)
            if head in self.defined:
                self._fail(f"the rule {name!r} is defined twice", self.at - 1)
            self.defined.add(head)
            self._take("define", "`::=`")
            self._alternatives(head)
        for head, token in self.used.items():
            if head not in self.defined:
                self._fail(f"the rule {list(self.names)[head]!r} is not defined", token)
        if self.names.get(root) not in self.defined:
            raise ConstraintSyntaxError(f"the EBNF grammar has no rule {root!r}; it has {sorted(self.names)}")
        return Cfg(
            tuple(self.terminals.values()), tuple(self.names), tuple(dict.fromkeys(self.rules)), self.names[root]
        )

    def _alternatives(self, head: int) -> None:
        self.rules.append(Rule(head, self._items()))
        while self._accept("|"):
            self.rules.append(Rule(head, self._items()))

    def _items(self) -> tuple[int, ...]:
        items: list[int] = []
        while self._kind() in ("name", "literal", "class") or self._peek() in ("(", "."):
            item = self._item()
            while self._peek() in _REPEATS or self._kind() == "bounds":
                item = (self._repeat(item, *self._bounds()),)
            items += item
        return tuple(items)

    def _item(self) -> tuple[int, ...]:
        kind, value = self._kind(), self._peek()
        self.at += 1
        if kind == "name":
            head = self._nonterminal(value)
            self.used.setdefault(head, self.at - 1)
            return (~head,)
        if kind == "literal":
            literal = self._unescape(value[1:-1])
            return (self._terminal(value, lambda: Language.literal(literal)),) if literal else ()
        if kind == "class":
            return (self._terminal(value, lambda: self._char_class(value[1:-1])),)
        if value == ".":
            return (self._terminal(value, lambda: _ANY_CHARACTER),)
        head = self._fresh("group")
        self._alternatives(head)
        if not self._accept(")"):
            self._fail("expected `)`")
        return (~head,)

    def _bounds(self) -> tuple[int, int | None]:
        value = self._peek()
        self.at += 1
        if value in _REPEATS:
            return _REPEATS[value]
        numbers = re.findall(r"\d+", value)
        least = int(numbers[0])
        most = int(numbers[-1]) if len(numbers) == 2 else (None if "," in value else least)
        if most is not None and most < least:
            self._fail(f"{value} repeats at least {least} and at most {most} times", self.at - 1)
        return least, most

    def _repeat(self, item: tuple[int, ...], least: int, most: int | None) -> int:
        """A nonterminal for `item` repeated. Left recursion keeps the number of parser states small."""
        if most == 0:
            item, most, least = (), 0, 0
        if len(item) == 1 and item[0] >= 0:
            terminal = list(self.terminals.values())[item[0]]
            some = max(least, 1)
            name = f"{terminal.name}{{{some},{'' if most is None else most}}}"
            repeated = self._terminal(name, lambda: terminal.language.repeat(some, most))
            if least:
                return repeated
            item, most = (repeated,), 1
        head = self._fresh("repeat")
        if most is None:
            self.rules += [Rule(head, item * least), Rule(head, (~head, *item))]
            return ~head
        self.rules.append(Rule(head, item * least))
        if most > least:
            self.rules.append(Rule(head, (*item * least, self._up_to(item, most - least))))
        return ~head

    def _up_to(self, item: tuple[int, ...], most: int) -> int:
        """A nonterminal for `item` 1 to `most` times; halving keeps the rules few."""
        head = self._fresh("repeat")
        self.rules.append(Rule(head, item))
        if most > 1:
            half = most // 2
            first, second = self._up_to(item, half), self._up_to(item, most - half)
            self.rules += [Rule(head, (first,)), Rule(head, (first, second)), Rule(head, (second,))]
        return ~head

    def _terminal(self, name: str, make: Callable[[], Language]) -> int:
        if name not in self.terminals:
            self.terminals[name] = Terminal(name, make(), "any")
        return list(self.terminals).index(name)

    def _char_class(self, body: str) -> Language:
        inverted = body.startswith("^")
        points: list[tuple[str, bool]] = []
        at = 1 if inverted else 0
        while at < len(body):
            escape = _ESCAPE.match(body, at)
            points.append((self._unescape(escape.group()), True) if escape else (body[at], False))
            at = escape.end() if escape else at + 1
        ranges: list[tuple[int, int]] = []
        i = 0
        while i < len(points):
            low = high = ord(points[i][0])
            if i + 2 < len(points) and points[i + 1] == ("-", False):
                high = ord(points[i + 2][0])
                i += 2
            if high < low:
                self._fail(f"the range {chr(low)!r}-{chr(high)!r} in [{body}] runs backwards", self.at - 1)
            ranges.append((low, high))
            i += 1
        if not ranges and not inverted:
            self._fail("an empty character class matches nothing", self.at - 1)
        chosen = Language.char_class(ranges)
        return _ANY_CHARACTER - chosen if inverted else chosen

    def _unescape(self, body: str) -> str:
        def one(match: re.Match[str]) -> str:
            name = match.group(1)
            return chr(int(name[1:], 16)) if len(name) > 1 else _PLAIN.get(name, name)

        return _ESCAPE.sub(one, body)

    def _nonterminal(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def _fresh(self, what: str) -> int:
        head = self._nonterminal(f"{what}#{len(self.names)}")
        self.defined.add(head)
        return head

    def _split(self) -> list[tuple[str, str, int]]:
        tokens, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                found = self.text[at : at + 20]
                raise ConstraintSyntaxError(
                    f"the EBNF grammar does not parse at {self._place(at)}: expected a symbol; found {found!r}"
                )
            if match.lastgroup != "space":
                tokens.append((str(match.lastgroup), match.group(), at))
            at = match.end()
        return [*tokens, ("end", "", at)]

    def _kind(self) -> str:
        return self.tokens[self.at][0]

    def _peek(self) -> str:
        return self.tokens[self.at][1]

    def _accept(self, sign: str) -> bool:
        found = self._kind() == "sign" and self._peek() == sign
        self.at += found
        return found

    def _take(self, kind: str, what: str) -> str:
        if self._kind() != kind:
            self._fail(f"expected {what}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def _fail(self, message: str, token: int | None = None) -> None:
        _, value, at = self.tokens[self.at if token is None else token]
        raise ConstraintSyntaxError(
            f"the EBNF grammar does not parse at {self._place(at)}: {message}; found {value or 'the end'!r}"
        )

    def _place(self, at: int) -> str:
        return f"line {self.text.count(chr(10), 0, at) + 1}, column {at - self.text.rfind(chr(10), 0, at)}"
