"""Constraints and vocabularies that would break things: each ends in a clear error within the limits, or works."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import numpy as np
import pytest

from grammars import (
    Choice,
    ConformError,
    ConstraintLimitError,
    ConstraintSyntaxError,
    Ebnf,
    GrammarError,
    JsonSchema,
    Lark,
    Limits,
    Literal,
    Regex,
    Repeat,
    Sequence,
    Spec,
    Tag,
    Tagged,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
    UpTo,
    Vocabulary,
)
from grammars.compiled_grammar import CompiledGrammar
from grammars.compiler import Compiler
from grammars.masks.token_mask import TokenMasks
from tests.grammars.rich_schemas import checker
from tests.grammars.schemas import small_vocabulary
from tests.grammars.walks import allowed_tokens, random_walk

VOCABULARY = small_vocabulary()
SECONDS = 6.0
"""Of one case: compile, masks and walks"""
SOON = Limits(compile_seconds=1.5)


def compiled(spec: Spec, vocabulary: Vocabulary = VOCABULARY, limits: Limits | None = None) -> CompiledGrammar:
    """Never from the cache."""
    return Compiler().compile(spec, vocabulary, limits or Limits())


def texts(grammar: CompiledGrammar, walks: int = 6, spare: int = 30) -> list[str]:
    """Random texts at budgets from the least one up."""
    rng, least = random.Random(0), grammar.min_tokens()
    return [random_walk(grammar, rng, least + number * spare // walks).decode() for number in range(walks)]


def works_or_is_refused(spec: Spec) -> list[str]:
    """Random texts, none if the constraint is refused; either way soon."""
    start = time.process_time()
    try:
        found = texts(compiled(spec, limits=SOON))
    except GrammarError as error:
        assert str(error)
        found = []
    assert time.process_time() - start < SECONDS
    return found


def accepts(grammar: CompiledGrammar, text: str | bytes) -> bool:
    try:
        return grammar.matcher(prefix=text).is_accepting()
    except ConformError:
        return False


# JSON Schema ----------------------------------------------------------------------------------------------------------


def nested(keyword: str, depth: int) -> Any:
    schema: Any = {"type": "integer"}
    for level in range(depth):
        schema = {keyword: [schema, {"minimum": level, "maximum": 10 * level}]}
    return schema


def deep(levels: int) -> Any:
    schema: Any = {"type": "null"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema, "minItems": 1, "maxItems": 1}
    return schema


def two_ways(count: int, keyword: str) -> Any:
    """Every property in one of two ways, apart from all others: 2 ** count ways in all."""
    ways = [
        {keyword: [{"properties": {f"p{n}": {"const": 0}}}, {"properties": {f"p{n}": {"const": 1}}, "required": ["q"]}]}
        for n in range(count)
    ]
    return {"type": "object", "allOf": ways}


EXPLODING: dict[str, Any] = {
    "nested allOf": nested("allOf", 60),
    "nested oneOf": nested("oneOf", 12),
    "nested anyOf": nested("anyOf", 60),
    "many anyOf": two_ways(24, "anyOf"),
    "many oneOf": two_ways(24, "oneOf"),
    "not not not": {"not": {"not": {"not": two_ways(10, "anyOf")}}},
    "oneOf of a hundred": {"oneOf": [{"type": "integer", "multipleOf": n} for n in range(1, 100)]},
    "overlapping names": {
        "type": "object",
        "patternProperties": {f"[a-z]*{n}[a-z]*": {"minimum": n} for n in range(40)},
    },
    "many contains": {"type": "array", "allOf": [{"contains": {"const": n}} for n in range(30)]},
    "contains that overlap": {
        "type": "array",
        "allOf": [{"contains": {"multipleOf": n}, "minContains": 3, "maxContains": 5} for n in range(2, 9)],
    },
    "unique": {"type": "array", "uniqueItems": True, "minItems": 12, "items": {"type": "integer"}},
    "few for many": {"type": "array", "uniqueItems": True, "minItems": 60, "items": {"enum": list(range(59))}},
    "unique objects": {
        "type": "array",
        "uniqueItems": True,
        "minItems": 9,
        "items": {"properties": {"a": {"maximum": 3}}},
    },
    "many items": {"type": "array", "minItems": 10_000, "items": {"type": "array", "minItems": 10_000}},
    "many names": {"type": "object", "minProperties": 10_000},
    "long strings": {"type": "string", "minLength": 1_000_000},
    "very long strings": {"type": "string", "maxLength": 10**12, "pattern": "^(a{0,10000}b{0,10000}){0,10000}$"},
    "patterns that meet": {"allOf": [{"type": "string", "pattern": f"^(.*{c}){{3}}"} for c in "abcdefgh"]},
    "many multiples": {"allOf": [{"type": "integer", "multipleOf": n} for n in (7, 11, 13, 17, 19, 23, 29, 31, 37)]},
    "tiny multiples": {"type": "number", "multipleOf": 1e-300, "minimum": 1},
    "huge bounds": '{"type": "number", "minimum": 1e1000000000}',
    "if in if": {"if": {"if": two_ways(6, "oneOf"), "then": {"minProperties": 1}}, "then": {"maxProperties": 3}},
    "chain of dependencies": {
        "type": "object",
        "dependentRequired": {f"p{n}": [f"p{n + 1}"] for n in range(12)},
        "required": ["p0"],
    },
    "unevaluated over many": {**two_ways(10, "anyOf"), "unevaluatedProperties": False},
    "deep": deep(80),
}


@pytest.mark.parametrize("name", EXPLODING)
def test_schemas_that_explode(name: str) -> None:
    schema = EXPLODING[name]
    found = works_or_is_refused(JsonSchema(schema))
    if found:
        check = checker(json.loads(schema) if isinstance(schema, str) else schema)
        assert all(check(text) for text in found)


@pytest.mark.parametrize(
    ("schema", "error"),
    [
        ({"$ref": "#"}, ConstraintSyntaxError),
        ({"allOf": [{"$ref": "#"}]}, ConstraintSyntaxError),
        ({"not": {"$ref": "#"}}, ConstraintSyntaxError),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
            ConstraintSyntaxError,
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, UnsatisfiableConstraintError),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, UnsatisfiableConstraintError),
        (False, UnsatisfiableConstraintError),
        ({"not": {}}, UnsatisfiableConstraintError),
        ({"enum": []}, UnsatisfiableConstraintError),
        ({"type": "integer", "minimum": 1, "maximum": 0}, UnsatisfiableConstraintError),
        ({"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2}, UnsatisfiableConstraintError),
        ({"type": "integer", "multipleOf": 7, "minimum": 8, "maximum": 13}, UnsatisfiableConstraintError),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, UnsatisfiableConstraintError),
        ({"oneOf": [{"const": 1}, {"const": 1.0}]}, UnsatisfiableConstraintError),
        ({"type": "object", "required": ["a"], "propertyNames": {"pattern": "^b"}}, UnsatisfiableConstraintError),
        ({"type": "string", "pattern": "^a{5}$", "maxLength": 4}, UnsatisfiableConstraintError),
        ({"type": "array", "contains": {"type": "null"}, "items": {"type": "integer"}}, UnsatisfiableConstraintError),
        ({"const": 1, "type": "string"}, UnsatisfiableConstraintError),
        ({"type": "strnig"}, ConstraintSyntaxError),
        ({"properties": []}, ConstraintSyntaxError),
        ({"properties": 5}, ConstraintSyntaxError),
        ({"items": {"$defs": "x", "properties": None}}, ConstraintSyntaxError),
        ('{"type": "string"', ConstraintSyntaxError),
        ("[" * 100_000, ConstraintSyntaxError),
        ({"$ref": "#/$defs/missing"}, UnsupportedConstraintError),
        ({"$ref": "https://example.com/schema"}, UnsupportedConstraintError),
        ({"type": "string", "pattern": r"(a)\1"}, UnsupportedConstraintError),
        ({"type": "array", "not": {"uniqueItems": True}}, UnsupportedConstraintError),
    ],
)
def test_schemas_that_are_refused(schema: Any, error: type[GrammarError]) -> None:
    start = time.process_time()
    with pytest.raises(error):
        compiled(JsonSchema(schema))
    assert time.process_time() - start < 2


def test_schemas_too_deep_for_python() -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(100_000):
        inner["not"] = {}
        inner = inner["not"]
    with pytest.raises(ConstraintLimitError, match="nests too deeply"):
        JsonSchema(deep)
    with pytest.raises(ConstraintSyntaxError, match="is not JSON"):
        JsonSchema({"enum": [object()]})


def test_what_a_partial_format_may_mean_is_refused_under_not() -> None:
    """The language of host names leaves some out; they are no less host names."""
    for name in ("a.b.c.d.e.f.g.h.i.j", "xn--abc", "a.b"):
        assert not accepts(compiled(JsonSchema({"type": "string", "not": {"format": "hostname"}})), f'"{name}"')
    assert accepts(compiled(JsonSchema({"type": "string", "not": {"format": "hostname"}})), '"a b"')
    assert accepts(compiled(JsonSchema({"type": "string", "not": {"not": {"format": "hostname"}}})), '"a.b"')


def test_patterns_that_meet_late() -> None:
    """Sixty characters, and what must be among them, behind two negations each."""
    sixty = {"pattern": "^.{60}$"}
    parts = [{"not": {"allOf": [sixty, {"pattern": a}, {"pattern": b}]}} for a, b in (("ab1", "b12"), ("ca", "a2"))]
    schema = {"type": "string", "allOf": [{"not": {"anyOf": parts}}, {"pattern": "[aA][12].*z"}, {"maxLength": 99}]}
    assert all(map(checker(schema), texts(compiled(JsonSchema(schema)))))


def test_a_mask_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    vocabulary = Vocabulary([*(b"a" * size for size in range(1, 60)), b"b", b""], [60])
    grammar = compiled(Regex("a{30,59}b"), vocabulary, Limits(compile_seconds=0.3))
    state = grammar.matcher(prefix="a" * 3)
    fill = type(grammar._automaton).fill
    monkeypatch.setattr(type(grammar._automaton), "fill", lambda self, local: (time.sleep(0.05), fill(self, local)))
    grammar._masks = TokenMasks(grammar._renew(), vocabulary, grammar.limits)  # type: ignore[misc]
    start = time.monotonic()
    with pytest.raises(ConstraintLimitError, match="a mask takes longer"):
        grammar._masks.row(grammar._masks.transitions.automaton.start)
    assert time.monotonic() - start < 2
    assert state.advance(0)


def test_values_that_are_nearly_equal_are_kept_apart() -> None:
    """Neither floats nor what stands for fractions inside may mix them up."""
    schema = '{"prefixItems": [{"const": 0.1}, {"const": 0.1000000000000000000000001}], "items": false, "minItems": 2}'
    grammar = compiled(JsonSchema(schema))
    assert accepts(grammar, "[0.1, 0.1000000000000000000000001]") and not accepts(grammar, "[0.1, 0.1]")
    assert not accepts(compiled(JsonSchema({"const": {"fraction": "1/2"}})), "0.5")


def test_a_large_enum() -> None:
    """One of 1 MB here; one of 10 MB takes ten times as long."""
    rng = random.Random(0)
    values = ["".join(rng.choices("abcdefgh \u00e9", k=rng.randint(5, 60))) for _ in range(28_000)]
    assert len(json.dumps(values, ensure_ascii=False).encode()) > 1_000_000
    start = time.process_time()
    grammar = compiled(JsonSchema({"enum": values}))
    known = set(values)
    assert all(json.loads(text) in known for text in texts(grammar))
    assert accepts(grammar, json.dumps(values[-1], ensure_ascii=False))
    assert not accepts(grammar, json.dumps(values[-1] + "x", ensure_ascii=False))
    assert time.process_time() - start < SECONDS


def test_references_that_recurse_end_at_every_budget() -> None:
    tree = {"type": "object", "properties": {"l": {"$ref": "#"}, "r": {"$ref": "#"}}, "additionalProperties": False}
    grammar = compiled(
        JsonSchema(
            {
                **tree,
                "required": ["l"],
                "properties": {**tree["properties"], "l": {"type": "array", "items": {"$ref": "#"}}},
            }
        )
    )
    check = checker(json.loads(grammar.spec.schema))  # type: ignore[union-attr]
    assert all(check(text) for text in texts(grammar, walks=30, spare=200))


def test_memory_and_states_are_bounded() -> None:
    schema = {"type": "array", "uniqueItems": True, "items": {"type": "string"}}
    grammar = compiled(JsonSchema(schema), limits=Limits(memory_bytes=64 << 20))
    for text in texts(grammar, walks=4, spare=300):
        assert len(set(json.loads(text))) == len(json.loads(text))
    assert grammar.nbytes < 64 << 20
    with pytest.raises(ConstraintLimitError):
        texts(compiled(Regex("(?:a|b)*a(?:a|b){400}"), limits=Limits(states=100)), spare=900)


# Regular expressions and grammars -------------------------------------------------------------------------------------

BLOWN_UP: list[Spec] = [
    Regex("((a{0,10000}){0,10000}){0,10000}"),
    Regex("(([ab]{0,10000}c){0,10000}d?){0,10000}"),
    Regex("(?=(?:.*a){9})(?=(?:.*b){9})(?=(?:.*c){9}).{30,10000}"),
    Regex("(a|b)*a(a|b){60}"),
    Regex("(" * 2_000 + "a" + ")" * 2_000),
    Regex("|".join("abcdefghij"[n % 10] * (n % 37) + str(n) for n in range(3_000))),
    Repeat(Regex("a{0,10000}b?"), 0, 10_000, separator=","),
    Repeat(Repeat(Repeat("a", 0, 10_000), 0, 10_000, ","), 0, 10_000, ";"),
    Sequence(*[Regex("a*")] * 60),
    Sequence(*[Choice(["a", JsonSchema(True)])] * 20),
    Choice([Sequence(Regex("[ab]*"), JsonSchema(True), Regex("[ab]*")) for _ in range(20)]),
    Choice([str(n) for n in range(50_000)]),
    Tagged(tuple(Tag("a" * n, Regex("a*")) for n in range(1, 40))),
    UpTo(Regex("(a|b)*a(a|b){30}"), "ab"),
    UpTo(JsonSchema(True), "}}}}}}}}}}"),
    Lark('start: start start | "a" |'),
    Lark('start: start start start start | "a" | start "b" start'),
    Lark('start: x x x x x x x x\nx: y*\ny: "a"? "b"?'),
    Lark('start: "a"~0..1000'),
    Lark("start: A B C\nA: /(a|b)*a(a|b){12}/\nB: /[ab]{0,5000}/\nC: /(?:[ab]+c?)+/"),
    Lark("start: (A | B | C)+\nA: /a+/\nB: /a{2,500}b/\nC: /(?:ab)+/\n%ignore /a{3}/"),
    Lark("start: " + "(" * 150 + '"a"' + ")" * 150),
    Ebnf('root ::= root root | "a" | ""'),
    Ebnf('root ::= (("a"{0,10000}){0,10000}){0,10000}'),
    Ebnf('root ::= ("a" "b"?){0,2000} "c"'),
    Ebnf('root ::= x\nx ::= y | "a"\ny ::= x | "b" y'),
    Ebnf("root ::= " + "(" * 400 + '"a"' + ")" * 400),
]


@pytest.mark.parametrize("number", range(len(BLOWN_UP)))
def test_patterns_and_grammars_that_blow_up(number: int) -> None:
    works_or_is_refused(BLOWN_UP[number])


@pytest.mark.parametrize(
    "spec",
    [
        Lark("start: start"),
        Lark('start: "a" start'),
        Lark("start: x\nx: y\ny: x"),
        Lark('start: x "b"\nx: "a" x | x x'),
        Ebnf("root ::= root"),
        Ebnf('root ::= "a" root | root root'),
        Ebnf("root ::= x\nx ::= [a-c] x"),
        Regex("a(?!)"),
        Choice([Regex("(?!)")]),
        UpTo(Regex("a*"), "b"),
    ],
)
def test_what_derives_only_itself_is_refused(spec: Spec) -> None:
    with pytest.raises(UnsatisfiableConstraintError):
        compiled(spec)


# Vocabularies ---------------------------------------------------------------------------------------------------------


def test_tokens_of_no_characters_and_of_several() -> None:
    """Invalid UTF-8 is never allowed, halves of characters only where the character is."""
    odd = [
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\xf8\x88\x80\x80\x80",
        "日本".encode(),
        "日".encode()[:1],
        "日".encode()[1:],
    ]
    odd += [
        "日".encode()[1:] + "本".encode()[:2],
        "本".encode()[2:],
        b"\xc0\xaf",
        "日".encode() + b'"',
        b'a"',
        "\U0001f600".encode()[1:],
    ]
    vocabulary = Vocabulary([*(bytes((byte,)) for byte in range(256)), *odd, b""], [256 + len(odd)])
    specs: list[Spec] = [
        Regex(".*"),
        Regex("[日本]*"),
        JsonSchema({"type": "string"}),
        Lark("start: /[日本]+/"),
        Ebnf("root ::= .*"),
    ]
    specs += [Tagged((Tag("日", Literal("本")),)), Repeat("日本", 1), Choice(["日", "本日"])]
    for spec in specs:
        for text in texts(compiled(spec, vocabulary), walks=20, spare=40):
            assert text.encode().decode() == text
    row = np.empty(vocabulary.mask_width, np.int32)
    compiled(Regex("[日本]*"), vocabulary).matcher(prefix="日".encode()[:1]).fill_mask(row)
    allowed = {vocabulary.tokens[token] for token in allowed_tokens(row, vocabulary.size)}
    assert allowed == {b"\x97", b"\x9c", "日".encode()[1:], "日".encode()[1:] + "本".encode()[:2]}


def test_vocabularies_that_lack_bytes() -> None:
    pieces = [b"{", b"}", b'"', b'"a"', b": ", b"1", b"12", b"true", b", ", b"[", b"]", "é".encode(), b'b"']
    vocabulary = Vocabulary([*pieces, b""], [len(pieces)])
    check = checker({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}})
    grammar = compiled(
        JsonSchema({"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}), vocabulary
    )
    assert all(check(text) for text in texts(grammar, walks=30, spare=40))
    for spec in (
        JsonSchema({"const": "x"}),
        JsonSchema({"type": "null"}),
        Regex("[a-z]"),
        Literal("zz"),
        Lark('start: "x"'),
    ):
        with pytest.raises(UnsatisfiableConstraintError, match="lacks some bytes"):
            compiled(spec, vocabulary)
    assert set(texts(compiled(Choice(["x", "é1", "12é"]), vocabulary), walks=30, spare=4)) <= {"é1", "12é"}


def test_repeated_empty_and_special_tokens() -> None:
    vocabulary = Vocabulary([b"a", b"a", b"", b"b", b"a", b""], eos_ids=[5], special_ids=[4])
    row = np.empty(1, np.int32)
    compiled(Regex("a"), vocabulary).matcher().fill_mask(row)
    assert allowed_tokens(row, 6).tolist() == [0, 1]
    with pytest.raises(UnsatisfiableConstraintError):
        compiled(Regex("a"), Vocabulary([b"", b""], eos_ids=[1]))


# Escapes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "accepted", "refused"),
    [
        ({"const": "a"}, [r'"a"', r'"\u0061"'], [r'"\u0062"', r'"\u006"', '"\x61\x00"', r'"A"']),
        ({"const": "\u0000"}, [r'"\u0000"'], ['"\x00"', r'"\0"', r'""', r'"\u0001"']),
        (
            {"const": "\U0001f600"},
            ['"\U0001f600"', r'"\ud83d\ude00"', r'"\uD83D\uDE00"'],
            [r'"\ud83d"', r'"\ude00\ud83d"'],
        ),
        ({"const": 'a"b\\/'}, [r'"a\"b\\/"', r'"a\u0022b\u005c\/"'], [r'"a"b\/"', r'"a\"b\/"']),
        ({"const": "\n\t"}, [r'"\n\t"', r'"\u000a\u0009"'], ['"\n\t"']),
        (
            {"enum": ["\u2028", "é"]},
            ['"\u2028"', r'"\u2028"', '"é"', r'"\u00e9"', r'"\u00E9"'],
            [r'"e\u0301"', '"e\u0301"'],
        ),
        (
            {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "additionalProperties": False},
            ['{"a": 1}', r'{"\u0061": 1}'],
            [r'{"\u0062": 1}', r'{"a": 1, "\u0061": 1}', r'{"\u0061": 2}'],
        ),
        (
            {"type": "object", "properties": {"\u0000": {"const": 1}}, "additionalProperties": {"const": 2}},
            [r'{"\u0000": 1}', r'{"0": 2}', "{}"],
            [r'{"\u0000": 2}', '{"\x00": 1}', r'{"0": 1}'],
        ),
        ({"type": "string", "maxLength": 1}, ['"\U0001f600"', r'"\ud83d\ude00"', r'"\u0041"'], [r'"\u0041b"', '"ab"']),
        ({"type": "string", "pattern": "^a$"}, ['"a"', r'"\u0061"'], [r'"a\n"', r'"\u0041"']),
    ],
)
def test_escapes_mean_what_json_means(schema: Any, accepted: list[str], refused: list[str]) -> None:
    grammar = compiled(JsonSchema(schema))
    for text in accepted:
        assert accepts(grammar, text), text
    for text in refused:
        assert not accepts(grammar, text), text
    check = checker(schema)
    assert all(check(text) for text in texts(grammar, walks=30, spare=40))


@pytest.mark.parametrize("text", [r'"\ud800"', r'"a\udc00b"', r'["\ud800", 1]', r'{"\ud800": 1}'])
def test_half_of_a_pair_is_matched_or_refused(text: str) -> None:
    """A lone surrogate is no character; JSON can write it all the same."""
    schema = '{"const": ' + text + "}"
    try:
        grammar = compiled(JsonSchema(schema))
    except GrammarError as error:
        assert str(error).encode(errors="strict")
        return
    assert accepts(grammar, text)
    assert all(json.loads(found) == json.loads(text) for found in texts(grammar, walks=10))
