"""Random constraints of every front end, each with an oracle that judges texts without our code. For tests only."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import lark
from hypothesis import HealthCheck, given, settings

from grammars import Choice, Ebnf, Format, JsonSchema, Lark, Literal, Regex, Repeat, Sequence, Spec, Tag, Tagged, UpTo
from grammars.automaton import DEAD
from grammars.front_ends import automaton_of
from grammars.masks.transitions import Transitions
from tests.grammars.library.test_formats import PARSERS
from tests.grammars.rich_schemas import as_draft_7, checker, rich_schema
from tests.grammars.schemas import documents

Check = Callable[[str], bool]


@dataclass(frozen=True)
class Case:
    """A constraint, and whether a text satisfies it."""

    spec: Spec
    check: Check


# Regular expressions --------------------------------------------------------------------------------------------------

_ATOMS = ["a", "b", "é", "日", "[ab]", "[^a]", "[a-z]", r"\w", r"\d", r"\s", ".", " ", r"\n", "x"]
_COUNTS = ["{2}", "{1,2}", "{0,3}", "{2,}", "*", "+", "?", "*?", "+?"]


def random_pattern(rng: random.Random, depth: int = 2) -> str:
    """Never a repetition without bound of one that is: `re` would take for ever to judge."""
    branches = ["".join(_piece(rng, depth) for _ in range(rng.randint(1, 3))) for _ in range(rng.choice([1, 1, 2]))]
    return "|".join(branches)


def _piece(rng: random.Random, depth: int) -> str:
    if depth and rng.random() < 0.35:
        opening = rng.choice(["(?:", "(", "(?i:", "(?s:", f"(?P<n{rng.randrange(10**9)}>"])
        return opening + random_pattern(rng, depth - 1) + ")" + rng.choice(["", "", "{2}", "{0,2}", "?"])
    if rng.random() < 0.12:
        return rng.choice([r"\b", "(?=[a-m])", "(?!a)", "(?<!b)", "(?<=[a-z])", r"(?=.*\d)", "(?!.*bb)"])
    return rng.choice(_ATOMS) + rng.choice(["", "", rng.choice(_COUNTS)])


def regexes(rng: random.Random) -> Iterator[Case]:
    while True:
        pattern = random_pattern(rng)
        flags = rng.choice([0, 0, re.I, re.S, re.A])
        yield Case(Regex(pattern, flags), lambda text, p=pattern, f=flags: re.fullmatch(p, text, f) is not None)


# JSON Schema ----------------------------------------------------------------------------------------------------------


def rich_schemas(rng: random.Random) -> Iterator[Case]:
    while True:
        schema, draft, deepest = rich_schema(rng), rng.choice([None, None, "draft7"]), rng.choice([None, None, 1])
        if draft is not None:
            schema = as_draft_7(schema)
        elif rng.random() < 0.2:
            items = {"type": "array", "items": {"$ref": "#/$defs/n"}, "maxItems": 2}
            schema = {"$defs": {"n": {"anyOf": [schema, items]}}, "$ref": "#/$defs/n"}
        spec = JsonSchema(
            schema,
            property_order=rng.choice(["schema", "any"]),
            whitespace=rng.choice(["model", "compact", "any"]),
            draft=draft,
            max_depth=deepest,
        )
        yield Case(spec, checker(schema, draft, deepest))


def plain_schemas(rng: random.Random) -> Iterator[Case]:
    """Those of `tests.grammars.schemas`."""
    found: list[object] = []

    @settings(max_examples=250, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(documents())
    def collect(document: tuple[object, object]) -> None:
        found.append(document[0])

    collect()
    rng.shuffle(found)
    for schema in found:
        yield Case(JsonSchema(schema, property_order=rng.choice(["schema", "any"])), checker(schema))  # type: ignore[arg-type]


# Lark -----------------------------------------------------------------------------------------------------------------

_LARK_SYMBOLS = ['"a"', '"b"', '"("', '")"', '","', '"if"', "NAME", "NUM", "QUOTED", "x", "y", "start"]
_LARK_TERMINALS = {
    "NAME": ["NAME: /[a-c]+/", "NAME: /[a-z]{1,3}/", 'NAME.2: "a" "b"?', "NAME: /é|日+/"],
    "NUM": ["NUM: /[0-9]+/", 'NUM: "0".."9"', "NUM: /[0-9]+(\\.[0-9]+)?/"],
    "QUOTED": ["QUOTED: /'[^']*?'/", "QUOTED: /'[^'\\n]*'/", 'QUOTED: "«" /[a-z]/* "»"'],
}


def _lark_item(rng: random.Random, depth: int = 1) -> str:
    count = rng.choice(["", "", "", "?", "*", "+", "~1..2"])
    if depth and rng.random() < 0.25:
        branches = [" ".join(_lark_item(rng, 0) for _ in range(rng.randint(1, 2))) for _ in range(rng.randint(1, 2))]
        return f"({' | '.join(branches)}){count}"
    return rng.choice(_LARK_SYMBOLS) + count


def random_lark(rng: random.Random) -> str:
    def body() -> str:
        return " ".join(_lark_item(rng) for _ in range(rng.randint(1, 3)))

    rules = [f"{name}: {' | '.join(body() for _ in range(rng.randint(1, 3)))} | {end}" for name, end in _LARK_RULES]
    terminals = [rng.choice(options) for options in _LARK_TERMINALS.values()]
    ignored = rng.choice([[], [], ['%ignore " "'], ["%ignore /[ \\n]+/", "%ignore /#[^\\n]*\\n/"]])
    return "\n".join([*rules, *terminals, *ignored])


_LARK_RULES = (("start", '"a"'), ("x", '"b" NAME'), ("y", '"(" x ")"'))


def lark_grammars(rng: random.Random) -> Iterator[Case]:
    while True:
        grammar = random_lark(rng)
        try:
            parser = lark.Lark(grammar)
        except lark.exceptions.LarkError:
            continue  # such as two equal alternatives
        yield Case(Lark(grammar), lambda text, p=parser: _parses(p, text))


def _parses(parser: lark.Lark, text: str) -> bool:
    try:
        parser.parse(text)
    except lark.exceptions.LarkError:
        return False
    return True


# EBNF -----------------------------------------------------------------------------------------------------------------

Node = tuple
"""("text", t), ("class", characters), ("rule", name), ("all", nodes), ("any", nodes) or ("repeat", node, n, m)"""
_EBNF_RULES = ("root", "x", "y")
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1), "{2}": (2, 2), "{1,3}": (1, 3), "{2,}": (2, None)}


def _ebnf_node(rng: random.Random, depth: int) -> tuple[str, Node]:
    """A piece of a grammar, as it is written and as it is meant."""
    kind = rng.choice(["text", "class", "rule", "rule", "group", "repeat"] if depth else ["text", "class", "rule"])
    if kind == "text":
        text = rng.choice(["a", "b", "ab", "é", "(", "\\n"])
        return f'"{text}"', ("text", text.replace("\\n", "\n"))
    if kind == "class":
        written, meant = rng.choice([("[a-c]", "abc"), ("[0-9]", "0123456789"), ("[)\\]]", ")]"), ("[日-本]", "日本")])
        return written, (
            "class",
            frozenset(chr(c) for c in range(ord("日"), ord("本") + 1)) if written[1] == "日" else meant,
        )
    if kind == "rule":
        name = rng.choice(_EBNF_RULES)
        return name, ("rule", name)
    if kind == "group":
        written, meant = _ebnf_body(rng, depth - 1)
        return f"({written})", meant
    written, meant = _ebnf_node(rng, 0)
    sign = rng.choice(list(_REPEATS))
    return written + sign, ("repeat", meant, *_REPEATS[sign])


def _ebnf_body(rng: random.Random, depth: int) -> tuple[str, Node]:
    branches = [[_ebnf_node(rng, depth) for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 3))]
    written = " | ".join(" ".join(node[0] for node in branch) for branch in branches)
    return written, ("any", [("all", [node[1] for node in branch]) for branch in branches])


def ebnf_grammars(rng: random.Random) -> Iterator[Case]:
    while True:
        lines, rules = [], {}
        for name in _EBNF_RULES:
            written, meant = _ebnf_body(rng, 2)
            end = rng.choice(["a", ")", "1"])
            lines.append(f'{name} ::= {written} | "{end}"  # a rule')
            rules[name] = ("any", [meant, ("text", end)])
        yield Case(Ebnf("\n".join(lines)), lambda text, rules=rules: len(text) in _ends_of_rules(rules, text))


def _ends_of_rules(rules: dict[str, Node], text: str) -> set[int]:
    """Where a text of `root` from the beginning of `text` can end: the least solution of the rules, by iteration."""
    known: dict[tuple[str, int], set[int]] = {("root", 0): set()}

    def ends(node: Node, start: int) -> set[int]:
        match node:
            case ("text", piece):
                return {start + len(piece)} if text.startswith(piece, start) else set()
            case ("class", characters):
                return {start + 1} if start < len(text) and text[start] in characters else set()
            case ("rule", name):
                return known.setdefault((name, start), set())
            case ("all", parts):
                reached = {start}
                for part in parts:
                    reached = {end for at in reached for end in ends(part, at)}
                return reached
            case ("any", parts):
                return {end for part in parts for end in ends(part, start)}
            case ("repeat", part, least, most):
                return _repeated_ends(lambda at: ends(part, at), start, least, most)
        raise AssertionError(node)

    while True:
        size = sum(map(len, known.values())), len(known)
        for name, start in list(known):
            known[name, start] |= ends(rules[name], start)
        if size == (sum(map(len, known.values())), len(known)):
            return known["root", 0]


def _repeated_ends(ends: Callable[[int], set[int]], start: int, least: int, most: int | None) -> set[int]:
    reached, found = {start}, {start} if least == 0 else set()
    seen: set[frozenset[int]] = set()
    count = 0
    while reached and (most is None or count < most):
        reached = {end for at in reached for end in ends(at)}
        count += 1
        if count >= least:
            found |= reached
            if frozenset(reached) in seen:
                break
            seen.add(frozenset(reached))
    return found


# Formats --------------------------------------------------------------------------------------------------------------


def _fails(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
        return True
    return False


_SHAPES = {
    "date-time": r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)",
    "time": r"\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)",
    "duration": r"P(?=.)(?:\d+W|(?:\d+Y)?(?:\d+M)?(?:\d+D)?(?:T(?=.)(?:\d+H)?(?:\d+M)?(?:\d+S)?)?)",
    "email": r'(?:"[^\n]*"|[^@\s"]+)@(?:\[.*\]|[A-Za-z0-9.-]+)',
    "hostname": r"(?=.{1,253}$)(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*",
    "uri": r"[A-Za-z][A-Za-z0-9+.-]*:(?:[!#$&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]|%[0-9A-Fa-f]{2})*",
    "uri-reference": r"(?:[!#$&'()*+,./0-9:;=?@A-Z\[\]_a-z~-]|%[0-9A-Fa-f]{2})*",
    "iri": r"[A-Za-z][A-Za-z0-9+.-]*:(?:[^\x00-\x20\x7f-\x9f<>\"{}|\\^`%]|%[0-9A-Fa-f]{2})*",
    "uri-template": r"(?:[^{}]|\{[+#./;?&]?[\w.%:,*]+\})*",
    "json-pointer": r"(?:/(?:[^~/]|~[01])*)*",
}
"""What texts of the formats without a parser at hand look like."""


def formats(rng: random.Random) -> Iterator[Case]:
    parsers: dict[str, Check] = {name: lambda t, p=parse: not _fails(p, t) for name, parse in PARSERS.items()}
    for name, shape in _SHAPES.items():
        parsers[name] = lambda text, s=shape: re.fullmatch(s, text, re.S) is not None
    parsers["regex"] = lambda text: not _fails(re.compile, text)
    while True:
        for name, check in parsers.items():
            yield Case(Format(name), check)


# Compositions ---------------------------------------------------------------------------------------------------------


def _leaf(rng: random.Random) -> tuple[Spec | str, Check]:
    kind = rng.choice(["text", "text", "regex", "choice", "schema", "ebnf"])
    if kind == "text":
        text = rng.choice(["a", "ab", "(", "é", " ", "[1]"])
        return rng.choice([text, Literal(text)]), lambda t: t == text
    if kind == "choice":
        options = rng.sample(["a", "ab", "b", "aa", "", "日", "x y"], 3)
        return Choice(options), lambda t: t in options
    if kind == "schema":
        schema = rng.choice(
            [{"type": "integer"}, {"enum": ["a", 1, [2]]}, {"type": "array", "items": {"type": "boolean"}}]
        )
        return JsonSchema(schema), checker(schema)
    if kind == "ebnf":
        return Ebnf(
            'root ::= "(" root ")" | "a"'
        ), lambda t: re.fullmatch(r"(\(*)a(\)*)", t) is not None and (t.count("(") == t.count(")"))
    pattern = random_pattern(rng, 1)
    return Regex(pattern), lambda t: re.fullmatch(pattern, t) is not None


Ends = Callable[[str, int], set[int]]
"""Where a text of the spec that begins at an offset can end."""


def _ends_of(check: Check) -> Ends:
    def ends(text: str, start: int) -> set[int]:
        return {end for end in range(start, len(text) + 1) if check(text[start:end])}

    return cache(ends)


def _composed(rng: random.Random, depth: int) -> tuple[Spec | str, Ends]:
    kind = rng.choice(["sequence", "choice", "repeat", "tagged"]) if depth else "leaf"
    if kind == "leaf":
        spec, check = _leaf(rng)
        return spec, _ends_of(check)
    parts = [_composed(rng, rng.randrange(depth)) for _ in range(rng.randint(1, 3))]
    if kind == "sequence":

        def sequence(text: str, start: int) -> set[int]:
            reached = {start}
            for _, ends in parts:
                reached = {end for at in reached for end in ends(text, at)}
            return reached

        return Sequence(*(spec for spec, _ in parts)), sequence
    if kind == "choice":
        return Choice(spec for spec, _ in parts), lambda t, s: {end for _, ends in parts for end in ends(t, s)}
    if kind == "repeat":
        return _repeat(rng, *parts[0])
    return _tagged(rng, parts)


def _repeat(rng: random.Random, spec: Spec | str, ends: Ends) -> tuple[Spec, Ends]:
    least = rng.randint(0, 2)
    most, separator = rng.choice([None, least, least + 2]), rng.choice(["", ",", "b"])

    def repeated(text: str, start: int) -> set[int]:
        if most == 0:
            return {start}

        def more(at: int) -> set[int]:
            return ends(text, at + len(separator)) if text.startswith(separator, at) else set()

        found = {start} if least == 0 else set()
        for first in ends(text, start):
            found |= _repeated_ends(more, first, max(least, 1) - 1, None if most is None else most - 1)
        return found

    return Repeat(spec, least, most, separator), repeated


def _tagged(rng: random.Random, parts: list[tuple[Spec | str, Ends]]) -> tuple[Spec, Ends]:
    begins = rng.sample(["<a>", "a", "<", "é"], len(parts))
    closers = [rng.choice(["", ">", "</a>"]) for _ in parts]
    tags = [
        Tag(begin, Literal(spec) if isinstance(spec, str) else spec, end)
        for begin, (spec, _), end in zip(begins, parts, closers, strict=True)
    ]
    must, once = rng.random() < 0.5, rng.random() < 0.5

    def tagged(text: str, start: int) -> set[int]:
        found, seen, work = set(), set(), [(start, False)]
        while work:
            at, after_tag = work.pop()
            if (at, after_tag) in seen:
                continue
            seen.add((at, after_tag))
            if once and after_tag:
                found.add(at)
                continue
            stops = [text.find(begin, at) + len(begin) for begin in begins if begin in text[at:]]
            stop = min(stops, default=len(text) + 1)
            if after_tag or not must:
                found |= set(range(at, stop))
            for begin, (_, ends), closer in zip(begins, parts, closers, strict=True):
                if text[at:].find(begin) + at + len(begin) == stop and begin in text[at:stop]:
                    ended = (end for end in ends(text, stop) if text.startswith(closer, end))
                    work += [(end + len(closer), True) for end in ended]
        return found

    return Tagged(tuple(tags), at_least_one=must, stop_after_first=once), tagged


def compositions(rng: random.Random) -> Iterator[Case]:
    while True:
        spec, ends = _composed(rng, rng.randint(1, 2))
        assert not isinstance(spec, str)
        yield Case(spec, lambda text, ends=ends: len(text) in ends(text, 0))


# UpTo -----------------------------------------------------------------------------------------------------------------


def up_tos(rng: random.Random) -> Iterator[Case]:
    while True:
        if rng.random() < 0.4:
            schema, after = rich_schema(rng, 1), rng.choice(["}", "]", '"', ", ", "0"])
            yield Case(UpTo(JsonSchema(schema), after), _goes_on(checker(schema), after))
            continue
        after = rng.choice(["a", "b", "ab", "é", "x", " "])
        pattern = rng.choice(["", "(?:{})*"]).format(random_pattern(rng, 0)) + random_pattern(rng, 1)
        pattern = rng.choice([pattern, f"(?:{pattern}){rng.choice([after, after[0] + '?', '[abx]'])}"])
        if rng.random() < 0.5:
            yield Case(
                UpTo(Regex(pattern), after), _goes_on(lambda t, p=pattern: re.fullmatch(p, t) is not None, after)
            )
        else:
            yield Case(UpTo(Regex(pattern), after, open=True), _goes_on(partial(_begins, pattern), after))


def _begins(pattern: str, text: str) -> bool:
    """Whether a text begins one that `re` matches. The one is our own witness, judged by `re`."""
    transitions = Transitions(automaton_of(Regex(pattern)))
    state = transitions.advance_text(transitions.automaton.start, text.encode())
    return state != DEAD and re.fullmatch(pattern, text + transitions.witness(state).decode()) is not None


def _goes_on(check: Check, after: str) -> Check:
    return lambda text: check(text + after) or (text.endswith(after) and check(text))


FAMILIES: dict[str, Callable[[random.Random], Iterator[Case]]] = {
    "regex": regexes,
    "rich schema": rich_schemas,
    "plain schema": plain_schemas,
    "lark": lark_grammars,
    "ebnf": ebnf_grammars,
    "format": formats,
    "composition": compositions,
    "up to": up_tos,
}
