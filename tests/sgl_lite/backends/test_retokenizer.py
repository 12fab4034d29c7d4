"""Tokens of growing texts, against the tokenizer's own of the whole text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import runtime.model.demo
import sgl_lite as sgl
from sgl_lite.backends.base import TokenizedText
from sgl_lite.backends.retokenizer import MARGIN, Retokenizer

LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CORPUS = [
    "the name of the person is Ada's",
    '{"name": "Ada", "age": 36}',
    "don't  stop\n\n  here 1234",
    "Übung naïve",
] * 6
PIPELINES: dict[str, tuple[Any, Any, bool]] = {
    "gpt-2": (None, pre_tokenizers.ByteLevel(add_prefix_space=False), True),
    "llama-3": (
        None,
        pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(LLAMA_3), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        ),
        True,
    ),
    "composed": (normalizers.NFC(), pre_tokenizers.ByteLevel(add_prefix_space=False), True),
    "metaspace": (None, pre_tokenizers.Metaspace(), True),
    "llama-2": (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, False),
    "looks behind": (None, pre_tokenizers.Split(Regex(r"(?<=a) |\S+|\s"), "isolated"), False),
    "spans words": (None, None, False),
}


def make(name: str) -> tuple[PreTrainedTokenizerFast, bool]:
    normalizer, splitter, local = PIPELINES[name]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    if splitter is not None:
        tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<|end|>"]
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<|end|>"), local


@pytest.fixture(scope="module", params=[*PIPELINES, "embedded"])
def made(request: pytest.FixtureRequest) -> tuple[Any, Retokenizer]:
    if request.param == "embedded":
        tokenizer, local = AutoTokenizer.from_pretrained(Path(runtime.model.demo.__file__).parent / "weights"), True
    else:
        tokenizer, local = make(request.param)
    retokenizer = Retokenizer(tokenizer, lambda text, special: tokenizer.encode(text, add_special_tokens=special))
    assert retokenizer.is_local is local, request.param
    return tokenizer, retokenizer


PIECES = st.one_of(
    st.sampled_from(
        [*CORPUS, " ", "\n", "  \n ", "<|end|>", "<s>", "'s", " e\u0301", "\u0301", "word " * 60, "漢字", "🙂"]
    ),
    st.text(max_size=12),
    st.text(alphabet="ab A.'\n1é", min_size=1, max_size=40),
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(pieces=st.lists(PIECES, max_size=25), special=st.booleans(), repeats=st.integers(1, 12))
def test_tokens_are_those_of_the_whole_text(
    made: tuple[Any, Retokenizer], pieces: list[str], special: bool, repeats: int
) -> None:
    tokenizer, retokenizer = made
    text, before = "some words to begin with " * repeats, None
    for piece in pieces:
        text += piece
        before = retokenizer.tokenized(text, special, before)
        assert list(before.ids) == tokenizer.encode(text, add_special_tokens=special)
        assert before.known <= max(0, len(text) - MARGIN)


def test_texts_that_went_another_way(made: tuple[Any, Retokenizer]) -> None:
    tokenizer, retokenizer = made
    long = "words of a long text, and more of them. " * 50
    before = retokenizer.tokenized(long + "this way", True, None)
    for text in (long + "that way", long[:700] + "elsewhere", "nothing alike", ""):
        for special in (True, False):
            ids = retokenizer.tokenized(text, special, before).ids
            assert list(ids) == tokenizer.encode(text, add_special_tokens=special)


class Counting:
    """Counts the characters that are tokenised."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.seen = tokenizer, 0

    def __call__(self, text: str, special: bool) -> list[int]:
        self.seen += len(text)
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=special)
        return ids


def test_only_what_is_new_is_tokenised() -> None:
    tokenizer, _ = make("llama-3")
    counting = Counting(tokenizer)
    retokenizer = Retokenizer(tokenizer, counting)
    text = "words of a long text " * 5000
    before: TokenizedText | None = retokenizer.tokenized(text, True, None)
    counting.seen = 0
    for step in range(50):
        text += f" and answer {step}"
        before = retokenizer.tokenized(text, True, before)
    assert counting.seen < 50 * 6 * MARGIN


def test_what_the_engine_gets() -> None:
    """A growing program, its forks, a chat and choices: every prompt is the tokenizer's own."""
    texts: list[str] = []

    @sgl.function
    def program(s: sgl.ProgramState) -> None:
        s += "Some words of a text that grows. " * 20
        for name in "abc":
            s += f"\nQ {name}: " + sgl.gen(name, max_tokens=5, temperature=2, seed=1, stop="\n")
            texts.append(s.text()[: len(s.text()) - len(s[name])])
        forks = s.fork(2)
        forks += lambda i: f" fork {i} " + sgl.gen("f", max_tokens=3, seed=i)
        forks.join()
        s += " choose " + sgl.select("x", ["yes", "no way"])

    with sgl.Engine() as engine:
        backend = sgl.LocalBackend.of(engine)
        sent: list[tuple[int, ...]] = []
        submit = engine.submit

        def watched(request: Any, on_output: Any = None) -> Any:
            sent.append(request.prompt)
            return submit(request, on_output)

        engine.submit = watched  # type: ignore[method-assign]
        state = program(backend=backend)
        state.sync()
    assert [list(ids) for ids in sent[:3]] == [engine.encode(text) for text in texts]
    assert sent[3] != sent[4] and all(ids[: len(sent[2])] for ids in sent)
    whole = state.text()
    chosen = [list(ids) for ids in sent[5:]]
    head = whole[: len(whole) - len(state["x"])]
    assert sorted(chosen) == sorted(engine.encode(head + choice) for choice in ("yes", "no way"))
