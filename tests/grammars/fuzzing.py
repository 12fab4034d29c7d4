"""Random constraints of all front ends: every walk over the masks ends valid, every mask is what trying gives.

    python -m tests.grammars.fuzzing            # 21,000 walks and 5,120 states; --seed for others

A walk takes tokens drawn uniformly from the masks, at a budget from the least one up; an oracle that shares no code
with the engine judges the text. Half of the walks take the forced tokens wherever there are some. At some states every
token is tried byte by byte, and random continuations are compared with the text that is forced.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter

import numpy as np

from grammars import (
    CompiledGrammar,
    ConstraintLimitError,
    Matcher,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
    Vocabulary,
)
from grammars.automaton import DEAD
from grammars.compiler import Compiler
from grammars.masks.transitions import Transitions
from tests.grammars.random_specs import FAMILIES, Case
from tests.grammars.schemas import small_vocabulary
from tests.grammars.walks import allowed_tokens

WALKS = {"regex": 3000, "rich schema": 5000, "plain schema": 3000, "lark": 1000, "ebnf": 1000, "format": 3000}
WALKS |= {"composition": 3000, "up to": 2000}
"""Of the whole run, by family; random grammars are slow to read"""
STATES = 640
"""Of the whole run, in each family"""
COLUMNS = ("walks", "states", "grammars", "unsatisfiable", "refused", "over a limit")
SPARE = (0, 0, 1, 2, 5, 20, 60)
"""Tokens of a budget beyond the least one"""
SPARE_OF_GRAMMARS = (0, 0, 1, 2, 4, 8, 12)
"""The same for random grammars: most are so ambiguous that the ways to read a longer text are many"""
STEPS_TO_A_STATE = 12
_ESCAPE = re.compile(
    r"""  \\u (?P<high> [dD][89abAB][0-9a-fA-F]{2} ) \\u (?P<low> [dD][c-fC-F][0-9a-fA-F]{2} )
        | (?P<cut> (?: \\u [dD][89abAB][0-9a-fA-F]{2} )? (?: \\ (?: u [0-9a-fA-F]{0,3} )? )? \Z )
        | \\u (?P<code> [0-9a-fA-F]{4} )
        | \\ (?P<slash> / )
        | \\ .
    """,
    re.VERBOSE,
)
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", '"': '\\"', "\\": "\\\\"}


def few_bytes() -> Vocabulary:
    """A vocabulary that lacks most bytes, and has characters only whole."""
    texts = ["a", "b", "é", "日", "[", "]", "{", "}", '"', '"a"', ", ", ": ", ": 1", "0", "1", "true", "null", "(", ")"]
    texts += ["<", ">", "ab", ",", " ", "x", "-", ".5", "\n", "if", "'"]
    return Vocabulary([*(text.encode() for text in texts), b""], [len(texts)])


def compiled(compiler: Compiler, case: Case, vocabulary: Vocabulary) -> CompiledGrammar | str:
    """The grammar, or why there is none."""
    try:
        return compiler.compile(case.spec, vocabulary)
    except UnsatisfiableConstraintError:
        return "unsatisfiable"
    except ConstraintLimitError:
        return "over a limit"
    except UnsupportedConstraintError:
        return "refused"


def walk(grammar: CompiledGrammar, rng: random.Random, budget: int, forced: bool) -> bytes:
    """A random text of the grammar."""
    matcher, vocabulary = grammar.matcher(budget), grammar.vocabulary
    row = np.empty(vocabulary.mask_width, np.int32)
    while not matcher.is_complete() and matcher.remaining:
        tokens = matcher.forced_tokens() if forced else []
        if not tokens:
            matcher.fill_mask(row)
            tokens = [int(rng.choice(allowed_tokens(row, vocabulary.size)))]
        if tokens[0] in vocabulary.eos_ids:
            break
        for token in tokens:
            assert matcher.advance(token), f"{token} after {matcher.tokens}"
    assert matcher.is_accepting(), f"not complete: {text_of(matcher, vocabulary)!r}"
    return text_of(matcher, vocabulary)


def text_of(matcher: Matcher, vocabulary: Vocabulary) -> bytes:
    """What has been written."""
    return b"".join(vocabulary.tokens[token] for token in matcher.tokens)


def check_mask(grammar: CompiledGrammar, matcher: Matcher, transitions: Transitions) -> np.ndarray:
    """The mask of a state is what trying every token byte by byte gives; gives the ids allowed."""
    vocabulary = grammar.vocabulary
    row = np.empty(vocabulary.mask_width, np.int32)
    matcher.fill_mask(row)
    allowed = allowed_tokens(row, vocabulary.size)
    expected = set(vocabulary.eos_ids) if transitions.is_accepting(matcher._state) else set()
    for token, text in enumerate(vocabulary.text_tokens):
        if text and transitions.advance_text(matcher._state, text) != DEAD:
            expected.add(token)
    if vocabulary.missing_bytes:  # what has no completion in tokens is left out
        assert set(allowed.tolist()) <= expected
    else:
        assert set(allowed.tolist()) == expected, f"behind {text_of(matcher, vocabulary)!r}"
    return allowed


def plainly(text: bytes) -> str:
    """JSON text with every escape in its plain spelling; an escape or a pair cut off at the end is left out."""

    def spelled(match: re.Match[str]) -> str:
        if match["cut"] is not None:
            return ""
        if match["high"]:
            return chr(0x10000 + (int(match["high"], 16) - 0xD800 << 10) + int(match["low"], 16) - 0xDC00)
        character = match["slash"] or (chr(int(match["code"], 16)) if match["code"] else "")
        if not character or "\ud800" <= character <= "\udfff":
            return match[0].lower()
        return _SHORT.get(character, character if character >= " " else match[0].lower())

    return _ESCAPE.sub(spelled, text.decode("utf-8", "replace").rstrip("\ufffd"))


def check_forced(grammar: CompiledGrammar, matcher: Matcher, rng: random.Random, json: bool) -> None:
    """A random continuation begins with the text that is forced."""
    forced, vocabulary = matcher.forced_tokens(), grammar.vocabulary
    if not forced:
        return
    written = text_of(matcher, vocabulary)
    text = written + b"".join(vocabulary.tokens[token] for token in forced)
    other = matcher.fork()
    row = np.empty(vocabulary.mask_width, np.int32)
    for _ in range(40):
        if other.is_complete():
            break
        other.fill_mask(row)
        token = int(rng.choice(allowed_tokens(row, vocabulary.size)))
        if not other.advance(token) or token in vocabulary.eos_ids:
            break
    found = text_of(other, vocabulary)
    assert not matcher.is_accepting(), f"{text!r} is forced behind {written!r}, which may end"
    if json:
        a, b = plainly(text), plainly(found)
        assert a.startswith(b) or b.startswith(a), f"{a!r} is forced, {b!r} is allowed"
    else:
        assert text.startswith(found) or found.startswith(text), f"{text!r} is forced, {found!r} is allowed"


def look_at_a_state(grammar: CompiledGrammar, rng: random.Random, json: bool) -> int:
    """Walk some steps without a budget, and check mask and forced text; gives the states looked at."""
    matcher = grammar.matcher()
    transitions = Transitions(grammar._automaton)  # after `matcher`, which may have renewed the automaton
    for step in range(rng.randint(1, STEPS_TO_A_STATE)):
        allowed = check_mask(grammar, matcher, transitions)
        check_forced(grammar, matcher, rng, json)
        going_on = [token for token in allowed.tolist() if token not in grammar.vocabulary.eos_ids]
        if not going_on:
            return step + 1
        assert matcher.advance(rng.choice(going_on))
    return step + 1


def fuzz(family: str, seed: str, walks: int, per_grammar: int, states: int) -> Counter[str]:
    """Walks of random constraints until there are enough; what was seen, counted."""
    rng, seen, compiler = random.Random(f"{family} {seed}"), Counter[str](), Compiler()
    whole, partial = small_vocabulary(), few_bytes()
    cases = FAMILIES[family](rng)
    while seen["walks"] < walks:
        case = next(cases)
        vocabulary = partial if rng.random() < 0.15 else whole
        grammar = compiled(compiler, case, vocabulary)
        if isinstance(grammar, str):
            seen[grammar] += 1
            continue
        seen["grammars"] += 1
        least, spare = grammar.min_tokens(), SPARE_OF_GRAMMARS if family in ("lark", "ebnf") else SPARE
        json = "schema" in family or "JsonSchema" in repr(case.spec)
        try:
            for number in range(per_grammar):
                text = walk(grammar, rng, least + rng.choice(spare), forced=number % 2 == 1)
                assert case.check(text.decode()), f"{case.spec}: {text!r}"
                seen["walks"] += 1
            wanted = states * seen["walks"] // walks
            while seen["states"] < wanted:
                seen["states"] += look_at_a_state(grammar, rng, json)
        except ConstraintLimitError:  # such as a grammar that can read a text in very many ways
            seen["over a limit"] += 1
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", default="whole")
    parser.add_argument("--families", default=",".join(FAMILIES))
    arguments = parser.parse_args()
    whole = Counter[str]()
    print(
        f"{'family':14}{'walks':>8}{'states':>8}{'grammars':>10}{'unsatisfiable':>15}{'refused':>9}{'over a limit':>14}"
    )
    for family in arguments.families.split(","):
        start = time.process_time()
        seen = fuzz(family, arguments.seed, WALKS[family], per_grammar=16, states=STATES)
        whole += seen
        print(_line(family, seen) + f"{time.process_time() - start:8.0f} s", flush=True)
    print(_line("together", whole))
    return 0


def _line(name: str, seen: Counter[str]) -> str:
    return f"{name:14}" + "".join(f"{seen[column]:15}" for column in COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
