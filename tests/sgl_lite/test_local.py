"""The language on the real engine, with a tiny random model: against transformers and its tokenizer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import BaseModel, Field
from transformers import AutoModelForCausalLM

import sgl_lite as sgl
from sgl_lite import LLM, SamplingParams
from tests.sgl_lite.tiny_model import write_tiny_model


class Person(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=150)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[sgl.Engine]:
    with sgl.Engine(str(folder), dtype="float32", num_threads=1) as engine:
        sgl.set_default_backend(engine)
        yield engine
        engine.check_invariants()
        sgl.set_default_backend(None)


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_greedy_text_is_that_of_transformers(engine: sgl.Engine, reference: Any) -> None:
    prompt = "the name of"
    state = sgl.function(lambda s: s.__iadd__(prompt + sgl.gen("x", max_tokens=12, temperature=0, ignore_eos=True)))()
    ids = torch.tensor([engine.encode(prompt)])
    expected = reference.generate(ids, max_new_tokens=12, min_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    assert state.get_meta_info("x")["output_ids"] == expected.tolist()


@pytest.mark.parametrize(
    "choices", [["yes", "no", "maybe"], [" true", " truest", " the name", "x"], ["a", "ab", "abc"]]
)
def test_select_gives_true_probabilities(engine: sgl.Engine, reference: Any, choices: list[str]) -> None:
    prompt = "the name of the person is yes"
    state = sgl.function(lambda s: s.__iadd__(prompt + sgl.select("x", choices, choices_method="probability")))()
    base = engine.encode(prompt)
    rows = [engine.encode(prompt + choice) for choice in choices]
    start = min(next((i for i, (a, b) in enumerate(zip(base, row)) if a != b), len(base)) for row in rows)  # noqa: B905
    logprobs = []
    with torch.no_grad():
        for row in rows:
            scores = reference(torch.tensor([row])).logits[0].log_softmax(-1)
            logprobs.append(sum(scores[i - 1, row[i]].item() for i in range(start, len(row))))
    total = sum(math.exp(x) for x in logprobs)
    meta = state.get_meta_info("x")
    assert meta["probabilities"] == pytest.approx([math.exp(x) / total for x in logprobs], rel=1e-3)
    assert sum(meta["probabilities"]) == pytest.approx(1.0)
    assert state["x"] == choices[max(range(len(choices)), key=logprobs.__getitem__)]


def test_many_choices_compute_the_prompt_once(engine: sgl.Engine) -> None:
    sgl.flush_cache()
    prompt = "the name of the person is " * 40
    state = sgl.function(lambda s: s.__iadd__(prompt + sgl.select("x", [f"choice {i}" for i in range(50)])))()
    meta = state.get_meta_info("x")
    assert meta["computed_tokens"] < 3 * meta["prompt_tokens"]


def test_chat_tokens_are_those_of_apply_chat_template(engine: sgl.Engine) -> None:
    prompts = []
    backend = sgl.LocalBackend.of(engine)

    @sgl.function
    def program(s):
        s += sgl.system("Be kind.") + sgl.user("  Hello ") + sgl.assistant(sgl.gen("a", max_tokens=4))
        prompts.append((s.messages(), s.get_meta_info("a")))
        s += sgl.user("Again") + sgl.assistant(sgl.gen("b", max_tokens=4))
        prompts.append((s.messages(), s.get_meta_info("b")))

    program()
    for messages, meta in prompts:
        ids = engine.tokenizer.apply_chat_template(messages[:-1], add_generation_prompt=True, return_dict=False)
        assert meta["prompt_tokens"] == len(ids)
        text = backend.chat_template().render(messages[:-1], add_generation_prompt=True)
        assert list(backend.encode(text, special_tokens=False)) == ids


@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_constrain_blocks(engine: sgl.Engine, temperature: float) -> None:
    @sgl.function
    def program(s, budget, seed):
        s += "Profile: "
        with s.constrain(type=Person, name="person"):
            s += '{"name": "'
            s += sgl.gen("name", max_tokens=budget, seed=seed)
            s += '", "age": '
            s += sgl.gen("age", max_tokens=budget, seed=seed)
            s += "}"
        s += " List: ["
        s += "["
        with s.constrain(format="json"):
            s += sgl.gen("items", max_tokens=budget, seed=seed)
        s += "]."

    states = program.run_batch([(b, seed) for b in (1, 2, 4, 9, 30) for seed in range(6)], temperature=temperature)
    for state in states:
        assert isinstance(state.parsed("person"), Person)
        assert state["person"] == f'{{"name": "{state["name"]}", "age": {state["age"]}}}'
        assert isinstance(json.loads(state.text().partition("List: [")[2].removesuffix(".")), list)


def test_forks_share_what_was_computed(engine: sgl.Engine) -> None:
    @sgl.function
    def program(s):
        s += "the name of the person is " * 30
        s += sgl.gen("first", max_tokens=1)
        forks = s.fork(20)
        forks += lambda i: f"{i}: " + sgl.gen("x", max_tokens=2)
        forks.join()

    sgl.flush_cache()
    state = program()
    metas = state.get_meta_info("x")["forks"]
    shared = state.get_meta_info("first")["prompt_tokens"] // 16 * 16
    assert all(meta["cached_tokens"] >= shared - 16 for meta in metas)


def test_streamed_pieces_join(engine: sgl.Engine) -> None:
    @sgl.function
    def program(s):
        s += (
            "ü " + sgl.gen("a", max_tokens=20, temperature=1.5, seed=3) + sgl.gen("b", max_tokens=9, stop=["e"], seed=1)
        )

    state = program.stream()
    whole = "".join(state.text_iter())
    assert whole == state.text() and "".join(state.text_iter("b")) == state["b"]
    state = program.stream()
    assert "".join(state.text_iter("a")) == state.sync()["a"]


def test_cancel_leaves_nothing_behind(engine: sgl.Engine) -> None:
    states = [
        sgl.function(lambda s: s.__iadd__("x" + sgl.gen("a", max_tokens=900, ignore_eos=True)))() for _ in range(5)
    ]
    for state in states:
        state.cancel()
        with pytest.raises(sgl.ProgramCancelled):
            state.text()
    engine.check_invariants()  # in the engine's thread: what was aborted before is gone
    stats = sgl.get_server_info()
    assert (stats["running"], stats["waiting"]) == (0, 0)


def test_errors_of_the_engine(engine: sgl.Engine) -> None:
    with pytest.raises(sgl.PromptTooLongError):
        sgl.function(lambda s: s.__iadd__("x" * 9000 + sgl.gen("a")))()
    with pytest.raises(sgl.BudgetError, match="raise max_tokens to at least"):
        sgl.function(lambda s: s.__iadd__(sgl.gen("a", type=Person, max_tokens=2)))()
    with pytest.raises(sgl.ModelLoadError):
        sgl.Engine("no/such/model")


@pytest.fixture(scope="module")
def llm(folder: Path) -> Iterator[LLM]:
    with LLM(str(folder), max_num_seqs=4, dtype="float32", num_threads=1) as llm:
        yield llm


class TestLLM:
    def test_order_and_fields(self, llm: LLM) -> None:
        ids = llm.get_tokenizer().encode("yes no")
        prompts = ["the name", {"prompt_token_ids": ids}, {"prompt": "maybe"}, ids]
        outputs = llm.generate(prompts, SamplingParams(temperature=0, max_tokens=5, logprobs=1), use_tqdm=False)
        assert [o.prompt for o in outputs] == ["the name", None, "maybe", None]
        assert outputs[1].prompt_token_ids == tuple(ids) and outputs[1].outputs == outputs[3].outputs
        answer = outputs[0].outputs[0]
        assert outputs[0].finished and answer.finish_reason in ("stop", "length") and len(answer.token_ids) <= 5
        assert answer.cumulative_logprob == pytest.approx(sum(t.logprob for t in answer.logprobs or ()))

    def test_constraints(self, llm: LLM) -> None:
        (output,) = llm.generate("Ada:", SamplingParams(max_tokens=60), use_tqdm=False, type=Person)
        assert isinstance(output.outputs[0].parsed(), Person)
        (output,) = llm.generate("Ada:", SamplingParams(max_tokens=9), use_tqdm=False, choices=["yes", "no"])
        assert output.outputs[0].text in ("yes", "no")

    def test_one_params_each(self, llm: LLM) -> None:
        params = [SamplingParams(max_tokens=n, ignore_eos=True) for n in (1, 3)]
        assert [len(o.outputs[0].token_ids) for o in llm.generate(["a", "b"], params, use_tqdm=False)] == [1, 3]
        with pytest.raises(sgl.ArgumentError, match="2 sampling_params for 1 prompts"):
            llm.generate(["a"], params)

    def test_chat(self, llm: LLM) -> None:
        message = {"role": "user", "content": "Hello"}
        outputs = llm.chat([[message], [message]], SamplingParams(temperature=0, max_tokens=3), use_tqdm=False)
        assert len(outputs) == 2 and outputs[0].outputs == outputs[1].outputs
        ids = llm.get_tokenizer().apply_chat_template([message], add_generation_prompt=True, return_dict=False)
        assert list(outputs[0].prompt_token_ids) == ids

    def test_bad_prompts(self, llm: LLM) -> None:
        with pytest.raises(sgl.ArgumentError, match="a prompt is a text"):
            llm.generate([3.5], use_tqdm=False)  # type: ignore[list-item]
        with pytest.raises(sgl.ArgumentError, match="one device"):
            LLM(tensor_parallel_size=2)
