"""Programs in SGLang's style whose point is what the model's runtime does: run on the embedded model."""

from __future__ import annotations

import json
import math
import re

import pytest

import sgl_lite as sgl

pytestmark = pytest.mark.usefixtures("embedded_engine")


@sgl.function
def story(s):
    s += "Once upon a time" + sgl.gen("x", max_tokens=24, temperature=0)


def test_a_pattern_ends_an_answer() -> None:
    whole = story()["x"]
    letter = next(c for c in whole[3:] if c.isalpha())
    cut = story(stop_regex=f"[{letter}]")
    assert cut["x"] == whole[: whole.index(letter)]
    assert cut.get_meta_info("x")["finish_reason"]["type"] == "stop"
    assert story(stop=letter)["x"] == cut["x"]


def test_log_probabilities_of_the_answer() -> None:
    state = story(return_logprob=True, top_logprobs_num=3, return_text_in_logprobs=True)
    meta = state.get_meta_info("x")
    logprobs, tops = meta["output_token_logprobs"], meta["output_top_logprobs"]
    assert len(logprobs) == meta["output_token_logprobs_length"] == meta["completion_tokens"]
    assert all(logprob <= 0 and isinstance(token, int) and isinstance(text, str) for logprob, token, text in logprobs)
    assert all(len(top) >= 3 and top[0][0] >= chosen[0] - 1e-4 for top, chosen in zip(tops, logprobs, strict=True))
    assert "".join(text for _, _, text in logprobs) == state["x"]


def test_log_probabilities_of_the_prompt() -> None:
    meta = story(return_logprob=True, logprob_start_len=0).get_meta_info("x")
    first, *rest = meta["input_token_logprobs"]
    assert first[0] is None and len(rest) == meta["prompt_tokens"] - 1 and all(r[0] <= 0 for r in rest)


def test_several_answers_are_a_list_and_the_first_goes_on() -> None:
    @sgl.function
    def program(s):
        s += "Generate a person:" + sgl.gen("x", n=4, max_tokens=6, temperature=1.0, seed=1) + "|"

    state = program()
    assert len(state["x"]) == 4 and len(set(state["x"])) > 1
    assert state.text() == "Generate a person:" + state["x"][0] + "|"


def test_the_same_seed_draws_the_same() -> None:
    @sgl.function
    def program(s, seed):
        s += "Generate a person:" + sgl.gen("x", max_tokens=12, seed=seed)

    answers = [program(seed)["x"] for seed in (1, 1, 2, 3)]
    assert answers[0] == answers[1] and len(set(answers)) > 1


def test_a_least_and_a_greatest_length() -> None:
    @sgl.function
    def program(s):
        s += "Hi" + sgl.gen("x", min_tokens=9, max_tokens=11)

    meta = program(temperature=0).get_meta_info("x")
    assert 9 <= meta["completion_tokens"] <= 11
    assert program(ignore_eos=True).get_meta_info("x")["finish_reason"]["type"] == "length"


@pytest.mark.parametrize("tokens", [10, 24, 60])
def test_a_schema_is_kept_at_any_length(tokens: int) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "t": {"type": "string"}}, "required": ["n"]}

    @sgl.function
    def program(s):
        s += "JSON: " + sgl.gen("x", json_schema=json.dumps(schema), max_tokens=tokens, temperature=1.0)

    assert isinstance(json.loads(program()["x"])["n"], int)


def test_types_of_answers() -> None:
    @sgl.function
    def program(s):
        s += "Age: " + sgl.gen("i", dtype=int, max_tokens=4) + "\nWeight: " + sgl.gen("f", dtype="float", max_tokens=6)
        s += "\nTrue or False? " + sgl.gen("b", dtype=bool) + "\nName: " + sgl.gen("s", dtype=str, max_tokens=9)

    state = program()
    kinds = {name: type(state.parsed(name)) for name in "ifbs"}
    assert kinds == {"i": int, "f": float, "b": bool, "s": str}
    assert re.fullmatch(r"-?(0|[1-9]\d*)", state["i"])


def test_probabilities_of_choices_sum_to_one() -> None:
    @sgl.function
    def program(s):
        s += "The capital of France is" + sgl.select("x", [" Paris", " London", " Rome"], choices_method="probability")

    state = program()
    meta = state.get_meta_info("x")
    assert sum(meta["probabilities"]) == pytest.approx(1)
    assert state["x"] == meta["choices"][max(range(3), key=meta["probabilities"].__getitem__)]
    assert all(math.isfinite(score) for score in meta["scores"])


def test_forks_find_what_their_parent_computed() -> None:
    @sgl.function
    def program(s):
        s += "A long beginning of a text that is shared by all. " * 6 + sgl.gen("first", max_tokens=1)
        forks = s.fork(3)
        forks += lambda i: f"Part {i}:"
        forks += sgl.gen("x", max_tokens=2)
        forks.join()

    state = program()
    parent = state.get_meta_info("first")["prompt_tokens"]
    for meta in state.get_meta_info("x")["forks"]:
        assert meta["cached_tokens"] > 0.8 * parent


def test_a_stream_joins_to_the_answer_of_a_constrained_gen() -> None:
    @sgl.function
    def program(s):
        s += "Q" + sgl.gen("x", regex=r"[a-zé]{3,8}( [a-zé]{2,5}){2}", max_tokens=30) + "." + sgl.gen("y", max_tokens=5)

    state = program.stream(temperature=1.0)
    assert "".join(state.text_iter()) == state.text() == f"Q{state['x']}.{state['y']}"
