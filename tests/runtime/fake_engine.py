"""An engine around the fake model: everything of the runtime but the neural network, with a real tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

import grammars
from runtime.config import EngineConfig
from runtime.engine import Engine
from tests.runtime.fake_model import FakeRunner, FakeSampler

CORPUS = [
    'Generate a person profile: {"name": "Ada", "age": 36, "tags": ["math", "engine"], "ok": true, "none": null}',
    "The quick brown fox jumps over the lazy dog. Ünïcödé 你好 🙂 and some more words, again and again the words.",
]


@cache
def byte_level_tokenizer(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE, every byte a token, `<s>`, `</s>` and `<|turn|>` special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<s>", "</s>", "<|turn|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", additional_special_tokens=["<|turn|>"]
    )


@dataclass
class FakeModel:
    """What the engine asks of a `LoadedModel`."""

    tokenizer: Any = field(default_factory=byte_level_tokenizer)
    context_length: int = 512
    vocab_size: int = 400
    eos_token_ids: frozenset[int] = frozenset({1})
    default_sampling: Mapping[str, Any] = field(default_factory=dict)
    name: str = "fake"
    vision: None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def vocabulary(self) -> grammars.Vocabulary:
        return grammars.Vocabulary.from_tokenizer(self.tokenizer, size=self.vocab_size)


def fake_engine(num_pages: int = 200, model: FakeModel | None = None, **settings: Any) -> Engine:
    config = EngineConfig(**{"page_size": 4, "max_num_batched_tokens": 64, "max_num_seqs": 8, **settings})
    model = model or FakeModel()
    runner = FakeRunner(num_pages, config.page_size)
    return Engine.from_parts(config, model, runner, FakeSampler(model.vocab_size))
