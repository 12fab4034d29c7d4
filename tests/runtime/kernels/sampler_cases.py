"""The device's sampler against the CPU's, for the interpreter and for a GPU."""

from __future__ import annotations

import random

import numpy as np
import torch

from runtime.api import SamplingParams
from runtime.execution.device_sampler import DeviceSampler
from runtime.execution.sampler import Sampler
from runtime.scheduler.batch import ScheduledBatch, ScheduledRequest, TokenHistory

EOS = 2


def random_request(rng: random.Random, vocab: int, greedy: bool) -> ScheduledRequest:
    def some(usual: float, *others: float) -> float:
        return rng.choice([usual, usual, *others])

    sampling = SamplingParams(
        temperature=0.0 if greedy or rng.random() < 0.2 else rng.choice([0.3, 1.0, 1.7]),
        top_k=int(some(-1, 1, 5, 40, vocab - 1)),
        top_p=some(1.0, 0.5, 0.9, 0.99),
        min_p=some(0.0, 0.1),
        repetition_penalty=some(1.0, 1.3),
        presence_penalty=some(0.0, 0.7),
        frequency_penalty=some(0.0, 0.2),
        min_tokens=int(some(0, 9)),
        max_tokens=64,
        logit_bias=rng.choice([None, None, {3: 2.5, 7: -100.0, vocab - 1: 1.0}]),
        logprobs=rng.choice([None, None, 2]),
    )
    tokens = np.array([rng.randrange(vocab) for _ in range(rng.randrange(2, 12))])
    history = TokenHistory(tokens, rng.randrange(1, len(tokens) + 1), rng.randrange(1 << 40))
    last = len(tokens) - 1
    return ScheduledRequest("r", tokens[last:], last, np.zeros(1, np.int32), 0, True, sampling, history)


def check_against_the_cpu(seed: int, rows: int, vocab: int, device: str, greedy: bool = False) -> None:
    """Of random requests: the same tokens, with and without masks, and the same log-probabilities."""
    rng = random.Random(seed)
    requests = tuple(random_request(rng, vocab, greedy) for _ in range(rows))
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, vocab, generator=generator) * 3
    logits[:, 5] = logits[:, 6]  # ties
    masks = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, (rows, -(-vocab // 32))).astype(np.int32)
    masks[:, 0] |= 1 << 9  # never empty
    masks[rng.randrange(rows)] = -1
    for mask in (None, masks):
        batch = ScheduledBatch(requests)
        expected = Sampler(vocab, [EOS]).sample(logits.clone(), batch, mask)
        found = DeviceSampler(vocab, [EOS]).sample(logits.clone().to(device), batch, mask)
        np.testing.assert_array_equal(found.token_ids, expected.token_ids)
        for one, other in zip(found.logprobs, expected.logprobs, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.token_id == other.token_id and abs(one.logprob - other.logprob) < 1e-4
