"""A small tokenizer for the tests of the training, learned in a second."""

from __future__ import annotations

from functools import cache
from itertools import islice

from transformers import PreTrainedTokenizerFast

from runtime.model.demo.data import stems
from runtime.model.demo.tokenizer import learn_tokenizer


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    drawn = islice(stems("tiny"), 400)
    return learn_tokenizer(f"{stem.prompt}{each.prompt}{each.answer}" for stem in drawn for each in stem.branches)
