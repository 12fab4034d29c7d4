"""Number sets and their texts, against brute force, `decimal`, `json` and `jsonschema`."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grammars.automaton import DEAD
from grammars.errors import ConstraintSyntaxError, UnsupportedConstraintError
from grammars.json_schema.float_safety import as_floats
from grammars.json_schema.number_text import CHARACTERS, NumberText
from grammars.json_schema.numbers import NumberSet

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TOO_LARGE = re.compile(r"[eE][+-]?0*[1-9][0-9]{3}")
"""What `Fraction` cannot hold."""
EVERY = NumberSet.all()

decimals = st.one_of(
    st.integers(-130, 130).map(Decimal),
    st.integers(-2500, 2500).map(lambda n: Decimal(n).scaleb(-1)),
    st.integers(-2500, 2500).map(lambda n: Decimal(n).scaleb(-2)),
    st.integers(-3, 3).map(Decimal),
    st.sampled_from(["1e15", "9007199254740993", "123456789.5", "1e-10", "-1e-10", "1e308", "0.1", "-0"]).map(Decimal),
)
steps = st.sampled_from(["1", "2", "3", "7", "10", "25", "60", "0.5", "0.1", "0.01", "0.3", "1000", "1e-8"]).map(
    Decimal
)
bases = st.one_of(
    st.builds(lambda a: NumberSet.interval(low=a), decimals),
    st.builds(lambda a: NumberSet.interval(high=a), decimals),
    st.builds(lambda a: NumberSet.interval(low=a, low_open=True), decimals),
    st.builds(lambda a, b: NumberSet.interval(min(a, b), max(a, b), high_open=True), decimals, decimals),
    st.builds(NumberSet.multiples, steps),
    st.just(NumberSet.integers()),
    st.lists(decimals, max_size=4).map(NumberSet.of),
)
sets = st.recursive(
    bases,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a, b: a | b, inner, inner),
        inner.map(lambda a: ~a),
    ),
    max_leaves=4,
)
texts = st.one_of(
    st.integers(-200, 200).map(str),
    decimals.map(lambda d: format(d, "f")),
    st.from_regex(r"-?(0|[1-9][0-9]{0,3})(\.[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"-?[0-9](\.[0-9]{1,3})?[eE][+-]?[0-9]{1,2}", fullmatch=True),
    st.from_regex(NUMBER, fullmatch=True),
    st.text(CHARACTERS, max_size=8),
)


def walk(language: NumberText, rng: random.Random, longest: int = 12) -> bytes:
    """A random text: any step for a while, then the witness."""
    state, text = language.start, b""
    for _ in range(rng.randrange(longest)):
        choices = [b for b in range(256) if language.row(state)[b] != DEAD]
        if not choices:
            break
        byte = rng.choice(choices)
        state, text = language.step(state, byte), text + bytes([byte])
    return text + language.witness(state)


@settings(max_examples=300, deadline=None)
@given(sets, sets, st.lists(decimals, min_size=1, max_size=5))
def test_the_algebra_is_pointwise(a: NumberSet, b: NumberSet, values: list[Decimal]) -> None:
    near = [v + d for v in values for d in (0, Decimal("0.001"), Decimal(-1), Decimal("0.5"))]
    for x in (*near, *(c for s in (a, b) for c in s.cuts)):
        assert (a & b).contains(x) == (a.contains(x) and b.contains(x))
        assert (a | b).contains(x) == (a.contains(x) or b.contains(x))
        assert (~a).contains(x) == (not a.contains(x))
        assert (a - b).contains(x) == (a.contains(x) and not b.contains(x))
    assert (a & ~a).is_empty()
    assert (~~a).key == a.key
    assert (a | ~a).key == EVERY.key
    assert ((a - b) | (a & b)).key == a.key


@settings(max_examples=400, deadline=None)
@given(sets, st.lists(texts, min_size=1, max_size=8))
def test_texts_are_exactly_sound_and_plain_ones_complete(numbers: NumberSet, samples: list[str]) -> None:
    try:
        language, floats = numbers.language(), as_floats(numbers)
    except UnsupportedConstraintError:
        return
    for text in samples:
        accepted = language.accepts(text)
        if not NUMBER.fullmatch(text):
            assert not accepted
            continue
        if TOO_LARGE.search(text):
            continue
        value = Fraction(text)
        if accepted:
            assert numbers.contains(value), text
        elif "e" not in text.lower():
            held = floats.holds(value) if "." in text else numbers.contains(value)
            assert not held or (len(text) > 15 and "." in text), text


@settings(max_examples=200, deadline=None)
@given(sets, st.integers(0, 2**32))
def test_walks_end_inside_and_read_as_floats_inside(numbers: NumberSet, seed: int) -> None:
    try:
        language, floats = numbers.language(), as_floats(numbers)
    except UnsupportedConstraintError:
        assert not numbers.is_empty()
        return
    assert language.is_empty() == numbers.is_empty()
    if language.is_empty():
        return
    rng = random.Random(seed)
    for _ in range(5):
        text = walk(language, rng)
        if TOO_LARGE.search(text.decode()):
            continue
        assert numbers.contains(Fraction(text.decode())), text
        value = json.loads(text)
        if not floats.holds(Fraction(text.decode())):
            continue  # no double is a member
        lattices_are_binary = all(step.denominator == 1 for step in numbers.lattices)
        if lattices_are_binary and abs(Fraction(text.decode())) < 10**300:
            assert numbers.contains(value), (text, value)
    for cut in floats.cuts:
        assert floats.holds(cut) <= numbers.contains(cut)


@settings(max_examples=100, deadline=None)
@given(sets)
def test_shortest_completions_are_shortest(numbers: NumberSet) -> None:
    try:
        language = numbers.language()
    except UnsupportedConstraintError:
        return
    if language.is_empty():
        return
    short = [
        a + b for a in ("", "-") for b in (*map(str, range(120)), *(f"{n}.{d}" for n in range(12) for d in range(10)))
    ]
    best = min((len(t) for t in short if language.accepts(t)), default=10**9)
    assert language.min_bytes(language.start) <= best
    state, left = language.start, language.min_bytes(language.start)
    witness = language.witness(state)
    assert len(witness) == left and language.accepts(witness)
    for byte in witness:
        row = language.row(state)
        lengths = [language.min_bytes(int(t)) for t in set(row.tolist()) if t != DEAD]
        assert min(lengths) == left - 1
        state, left = int(row[byte]), left - 1
    assert language.is_accepting(state)


SCHEMAS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": "integer", "minimum": 0, "maximum": 100},
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "number", "minimum": -90, "maximum": 90},
    {"type": "integer", "exclusiveMinimum": -1, "multipleOf": 3},
    {"type": "integer", "multipleOf": 1000000},
    {"type": "integer", "multipleOf": 86400, "maximum": 0},
    {"type": "number", "minimum": 0.1, "maximum": 0.3},
    {"type": "number", "maximum": -1e-10},
    {"type": "number", "minimum": 1e308},
    {"type": "integer", "minimum": 9007199254740993},
    {"type": "integer", "exclusiveMinimum": 9007199254740992, "maximum": 9007199254740995},
    {"type": "number", "enum": [1, 2.5, -3e20, 0]},
    {"type": "integer", "maximum": 4294967295, "minimum": -2147483648},
]
NEGATIONS: list[dict[str, Any]] = [
    {"type": "number", "not": {"type": "integer"}},
    {"type": "number", "not": {"multipleOf": 4}},
    {"type": "number", "not": {"enum": [0, 1, 10]}},
    {"type": "integer", "not": {"minimum": -5, "maximum": 5}},
]


@pytest.mark.parametrize("schema", SCHEMAS + NEGATIONS, ids=json.dumps)
def test_every_walk_validates_with_jsonschema(schema: dict[str, Any]) -> None:
    numbers = NumberSet.from_schema(schema)
    if "not" in schema:
        numbers &= ~NumberSet.from_schema(schema["not"])
    language, rng = numbers.language(), random.Random(1)
    validator = jsonschema.Draft202012Validator(schema)
    for _ in range(150):
        text = walk(language, rng, 30)
        assert validator.is_valid(json.loads(text)), text


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_what_json_dumps_writes_is_accepted(schema: dict[str, Any]) -> None:
    language, validator = NumberSet.from_schema(schema).language(), jsonschema.Draft202012Validator(schema)
    values = [0, 1, -1, 0.5, 1e-7, 2.5e-12, 1e16, 1e21, -3e20, 12345.678, 3.0, 0.25, 99.99, 1000000, 86400, -86400.0]
    values += [9007199254740993, 2**40, 1e308, -1e-10, -2e-9, 1.5e300, 9007199254740994, 2147483647, 0.2]
    for value in values:
        text = json.dumps(value)
        if "e" in text and schema.get("type") == "integer" and "maximum" in schema:
            assert not language.accepts(text)
        elif ("multipleOf" in schema and ("e" in text or value == -86400)) or value == schema.get("minimum") == 1e308:
            assert not language.accepts(text) or validator.is_valid(value)
        else:
            assert language.accepts(text) == validator.is_valid(value), value


def test_integers_are_told_by_value() -> None:
    language = NumberSet.integers().language()
    for text in ("0", "-0", "-0.0", "1.0", "12.00", "1e3", "1.5e1", "1E+05", "2.50e2", "0e-7", "1e308"):
        assert language.accepts(text), text
    for text in ("1.5", "01", "1.", ".5", "+1", "1e-1", "1.25e1", "1e309", "--1", "1e", "1.0000000000000000001"):
        assert not language.accepts(text), text


def test_draft_4_writes_integers_plainly() -> None:
    assert not NumberSet.integers().language(plain_integers=True).accepts("1.0")
    assert NumberSet.integers().language(plain_integers=True).accepts("1")
    assert NumberSet.interval(0, 10).language(plain_integers=True).accepts("1.0")
    assert not (NumberSet.integers() & NumberSet.multiples(3)).language(plain_integers=True).accepts("3.0")
    assert not (NumberSet.integers() & NumberSet.of([3])).language(plain_integers=True).accepts("3.0")


def test_draft_4_exclusive_bounds() -> None:
    numbers = NumberSet.from_schema({"minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": False})
    assert [n for n in range(5) if n in numbers] == [2, 3]


def test_multiples_of_decimals_are_exact() -> None:
    language = NumberSet.multiples(0.01).language()
    assert all(language.accepts(f"{n / 100}") for n in range(1000))
    assert not language.accepts("0.075") and language.accepts("0.070") and language.accepts("7e-2")
    assert NumberSet.multiples(0.0001).contains(0.0075) and not NumberSet.multiples(0.0001).contains(0.00751)
    assert (NumberSet.multiples(1e-8) & NumberSet.integers()).contains(12391239123)
    assert not NumberSet.multiples(0.123456789).contains(1e308)
    assert (NumberSet.multiples(0.5) & NumberSet.integers()).language().accepts("1e308")


def test_emptiness_looks_into_bounded_cells() -> None:
    integers = NumberSet.integers()
    assert (integers & NumberSet.interval(0, 1, low_open=True, high_open=True)).is_empty()
    assert not (integers & NumberSet.interval(0, 2, low_open=True, high_open=True)).is_empty()
    assert (NumberSet.multiples(7) & NumberSet.interval(15, 20)).is_empty()
    assert (NumberSet.multiples(4) - NumberSet.multiples(2)).is_empty()
    assert not (NumberSet.multiples(2) - NumberSet.multiples(4)).is_empty()
    assert (integers & NumberSet.interval(0, 9)).is_finite() and not integers.is_finite()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConstraintSyntaxError, match="greater than 0"):
        NumberSet.multiples(0)
    with pytest.raises(UnsupportedConstraintError, match="999983"):
        NumberSet.multiples(999983).language()
    with pytest.raises(UnsupportedConstraintError, match="digits"):
        NumberSet.interval(low=Decimal("1e1000000000"))
    with pytest.raises(UnsupportedConstraintError, match="inf"):
        NumberSet.interval(low=float("inf"))
    with pytest.raises(ValueError, match="no number"):
        NumberSet.none().shortest()


def test_large_enums_stay_quick() -> None:
    values = [n * 37 + 11 for n in range(2000)]
    language = NumberSet.of(values).language()
    assert language.accepts(str(values[777])) and not language.accepts(str(values[777] + 1))


def test_a_set_without_doubles_keeps_its_decimals() -> None:
    numbers = NumberSet.interval(1, Decimal("1.00000000000000000003"), low_open=True, high_open=True)
    assert numbers.language().accepts("1.00000000000000000001")
    with pytest.raises(UnsupportedConstraintError, match="digits"):
        (NumberSet.interval(low=10**15) - NumberSet.multiples(1e-8)).language()
