"""Stems as tensors: rows filled with whole stems, in which a token sees only its own stem and branch.

Comes in: a tokenizer and a stream of stems. Goes out: batches of a few fixed shapes. A branch has the positions and
the view that it would have alone after its stem: one row is many documents, and a picture is read once for all of its
questions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

import torch
from transformers import PreTrainedTokenizerFast

from runtime.model.demo.document import Document, Stem
from runtime.model.demo.network import IMAGE_TOKENS
from runtime.model.demo.scenes import Scene
from runtime.model.demo.tokenizer import IMAGE

BATCH_TOKENS = 3072
WIDTHS = (256, 512, 1024)  # tokens of a row; the longest stem that the script draws fits the last
ENCODED_AT_ONCE = 64
MOST_WAITING = 12
HIDDEN = -1e4  # added to the score of a token that is not to be seen


@dataclass(frozen=True, slots=True)
class EncodedStem:
    """Token ids of a stem; of each branch its ids and how many of them are its prompt."""

    stem: Stem
    prompt: list[int]
    branches: list[tuple[list[int], int]]

    @property
    def length(self) -> int:
        return len(self.prompt) + sum(len(ids) for ids, _ in self.branches)

    @property
    def longest(self) -> int:
        """Tokens of the longest document, its stem with it."""
        return len(self.prompt) + max(len(ids) for ids, _ in self.branches)

    def fitted(self, width: int) -> EncodedStem:
        """The stem with as many of its branches as fit a row of `width`, one at least: so rows are full."""
        kept, length = 0, len(self.prompt)
        while kept < len(self.branches) and (not kept or length + len(self.branches[kept][0]) <= width):
            length += len(self.branches[kept][0])
            kept += 1
        return EncodedStem(replace(self.stem, branches=self.stem.branches[:kept]), self.prompt, self.branches[:kept])


@dataclass(slots=True)
class Batch:
    """Rows of stems. All tensors but `scenes` int64 [B, T]; padding has stem -1.

    `branch` counts the branches of the whole batch from 1, and is 0 in the shared prompts; `documents[branch - 1]`
    is its document. `is_answer` is true where a token is to be learned. `scenes` are in the order of their tokens.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    stem: torch.Tensor
    branch: torch.Tensor
    is_answer: torch.Tensor
    documents: list[Document] = field(default_factory=list)
    scenes: list[Scene] = field(default_factory=list)

    def to(self, device: torch.device) -> Batch:
        names = ("ids", "positions", "stem", "branch", "is_answer")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the scores of attention, [B, 1, T, T]."""
        earlier = torch.ones(self.ids.shape[1:] * 2, dtype=torch.bool, device=self.ids.device).tril()
        same_stem = self.stem[:, :, None] == self.stem[:, None, :]
        on_path = (self.branch[:, None, :] == 0) | (self.branch[:, :, None] == self.branch[:, None, :])
        hidden = torch.zeros(same_stem.shape, dtype=dtype, device=self.ids.device)
        return hidden.masked_fill_(~(earlier & same_stem & on_path), HIDDEN)[:, None]


def encode(tokenizer: PreTrainedTokenizerFast, stems: list[Stem]) -> list[EncodedStem]:
    """Prompts and answers are encoded apart, as they are when a model answers: no token spans the two."""
    texts = []
    for stem in stems:
        texts.append(stem.prompt.replace(IMAGE, IMAGE * IMAGE_TOKENS))
        for document in stem.branches:
            texts += [document.prompt, document.answer]
    ids = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    encoded = []
    for stem in stems:
        prompt = [tokenizer.bos_token_id, *next(ids)]
        branches = []
        for _ in stem.branches:
            asked, answer = next(ids), next(ids)
            branches.append((asked + answer + [tokenizer.eos_token_id], len(asked)))
        encoded.append(EncodedStem(stem, prompt, branches))
    return encoded


def batches(tokenizer: PreTrainedTokenizerFast, stems: Iterable[Stem], longest: int = WIDTHS[-1]) -> Iterator[Batch]:
    """Batches of about `BATCH_TOKENS` tokens; stems with a document of more than `longest` tokens are left out.

    A stem that does not fit waits for the next batch of its width; a batch is given when some are waiting.
    """
    rows = {width: _empty_rows(width) for width in WIDTHS}
    waiting: dict[int, list[EncodedStem]] = {width: [] for width in WIDTHS}
    source = iter(stems)
    while drawn := list(islice(source, ENCODED_AT_ONCE)):
        for stem in (each.fitted(WIDTHS[0]) for each in encode(tokenizer, drawn)):
            if stem.longest > longest or stem.length > WIDTHS[-1]:
                continue
            width = next(width for width in WIDTHS if stem.length <= width)
            if not _placed(stem, rows[width], width):
                waiting[width].append(stem)
            if len(waiting[width]) > MOST_WAITING:
                yield _batch(rows[width], width, tokenizer.pad_token_id)
                rows[width] = _empty_rows(width)
                waiting[width] = [late for late in waiting[width] if not _placed(late, rows[width], width)]
    for width in WIDTHS:
        while any(rows[width]):
            yield _batch(rows[width], width, tokenizer.pad_token_id)
            rows[width] = _empty_rows(width)
            waiting[width] = [late for late in waiting[width] if not _placed(late, rows[width], width)]


def _empty_rows(width: int) -> list[list[EncodedStem]]:
    return [[] for _ in range(BATCH_TOKENS // width)]


def _placed(stem: EncodedStem, rows: list[list[EncodedStem]], width: int) -> bool:
    """Puts the stem into the fullest row that has room for it, if there is one."""
    filled = [sum(each.length for each in row) for row in rows]
    fitting = [index for index, length in enumerate(filled) if length + stem.length <= width]
    if fitting:
        rows[max(fitting, key=filled.__getitem__)].append(stem)
    return bool(fitting)


def _batch(rows: list[list[EncodedStem]], width: int, pad: int) -> Batch:
    rows = [row for row in rows if row]
    shape = (len(rows), width)
    ids, positions, stem_of, branch_of = (torch.full(shape, fill) for fill in (pad, 0, -1, 0))
    batch = Batch(ids, positions, stem_of, branch_of, torch.zeros(shape, dtype=torch.bool))
    for index, row in enumerate(rows):
        at = 0
        for number, stem in enumerate(row):
            stem_of[index, at : at + stem.length] = number
            shared = len(stem.prompt)
            ids[index, at : at + shared] = torch.tensor(stem.prompt)
            positions[index, at : at + shared] = torch.arange(shared)
            at += shared
            for document, (tokens, asked) in zip(stem.stem.branches, stem.branches, strict=True):
                end = at + len(tokens)
                batch.documents.append(document)
                ids[index, at:end] = torch.tensor(tokens)
                positions[index, at:end] = torch.arange(shared, shared + len(tokens))
                branch_of[index, at:end] = len(batch.documents)
                batch.is_answer[index, at + asked : end] = True
                at = end
            if stem.stem.scene:
                batch.scenes.append(stem.stem.scene)
    return batch
