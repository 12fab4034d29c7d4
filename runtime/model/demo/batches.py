"""The documents of one training step, as tensors: short documents first, rows of like lengths together.

Comes in: a tokenizer and the step's seed. Goes out: padded ids, and which of them the model learns to say.
"""

from __future__ import annotations

from itertools import accumulate, islice

import torch
from transformers import PreTrainedTokenizerFast

from runtime.model.demo.data import documents
from runtime.model.demo.tokenizer import encode

STEP_TOKENS = 3072
BATCH_TOKENS = 1536  # of one forward pass, padding with them
FIRST_LENGTH = 48  # tokens of the longest document at first
LAST_LENGTH = 1024  # and at last; the longest that the script draws
ALL_LENGTHS_FROM = 0.7  # share of the training after which documents of all lengths have been seen


def longest_document(progress: float) -> int:
    """Tokens of the longest document to learn from: short ones first, from which copying is learned soonest."""
    growing = min(1.0, progress / ALL_LENGTHS_FROM)
    return int(FIRST_LENGTH * (LAST_LENGTH / FIRST_LENGTH) ** growing)


def batches(tokenizer: PreTrainedTokenizerFast, seed: str, longest: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The documents of one step, of at most `longest` tokens, as batches of like lengths.

    A batch is ids, int64 [B, T], padded on the right, and bool [B, T], true in the answers.
    """
    drawn = encode(tokenizer, list(islice(documents(seed), STEP_TOKENS // 8)))
    kept = [item for item in drawn if len(item[0]) <= longest]
    ends = accumulate(len(ids) for ids, _ in kept)
    encoded = sorted(
        (item for item, end in zip(kept, ends, strict=True) if end <= STEP_TOKENS), key=lambda item: -len(item[0])
    )
    made = []
    while encoded:
        width = len(encoded[0][0])
        size = max(1, BATCH_TOKENS // width)
        rows, encoded = encoded[:size], encoded[size:]
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        is_answer = torch.zeros(ids.shape, dtype=torch.bool)
        for row, (tokens, prompt_length) in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            is_answer[row, prompt_length : len(tokens)] = True
        made.append((ids, is_answer))
    return made
