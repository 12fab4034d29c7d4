"""One line of tokens that the scheduler carries forward: a prompt and one of its `n` continuations.

A branch has no phases, only a counter that catches up:

    0 ........ num_computed ........ target ........ num_tokens
    |  in the pool  |  backlog: to compute  |

Prefill, a chunk of it, the rest after a prefix hit, forced tokens, and decode (a backlog of one) are all "compute
some of the backlog". Once there is none, a token is drawn and the text grows by one, unless no token is wanted
(max_tokens=0). Knows no text, no constraint and no threads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.api import SamplingParams
from runtime.cache.prefix_cache import PageTable
from runtime.cache.radix_tree import Match
from runtime.prompt_layout import PromptLayout, Spans
from runtime.scheduler.batch import TokenHistory

NEVER = 1 << 62


class Branch:
    """Changed by the scheduler (counter, pages) and by its owner (`append`, `extend`).

    keys:       int64 [num_tokens], what the cache knows the tokens by: their ids, and numbers of images' rows.
    layout:     of a prompt for a vision-language model; else None.
    scored:     tokens before this index have the log-probabilities that were asked for; NEVER when none were.
    rank:       arrival in seconds, plus the priority's share: smaller goes first.
    """

    __slots__ = (
        "_keys",
        "_tokens",
        "arrival",
        "branch_id",
        "finished",
        "layout",
        "match",
        "num_cached",
        "num_computed",
        "num_preemptions",
        "num_prompt",
        "num_tokens",
        "priority",
        "rank",
        "salt",
        "sampling",
        "scored",
        "seed",
        "table",
        "wants_sample",
    )

    def __init__(
        self,
        branch_id: str,
        prompt_ids: Sequence[int] | NDArray[np.int64],
        sampling: SamplingParams,
        *,
        seed: int = 0,
        salt: str = "",
        priority: int = 0,
        arrival: float = 0.0,
        layout: PromptLayout | None = None,
        prompt_keys: NDArray[np.int64] | None = None,
    ) -> None:
        """prompt_keys: where they differ from the prompt's ids."""
        self.branch_id = branch_id
        self.sampling = sampling
        self.seed = seed
        self.salt = salt
        self.priority = priority
        self.arrival = arrival
        self.rank = arrival
        self._tokens = np.array(prompt_ids, dtype=np.int64)
        self._keys = self._tokens if prompt_keys is None else np.array(prompt_keys, dtype=np.int64)
        self.layout = layout
        self.num_prompt = self.num_tokens = len(self._tokens)
        self.num_computed = 0
        self.num_cached: int | None = None
        """Prompt tokens found in the cache when it was first admitted; None before."""
        self.num_preemptions = 0
        self.table: PageTable | None = None
        """Its pages while it runs; None while it waits and when it has ended."""
        self.match: Match | None = None
        """What the cache held of it when it was last looked at, while it waits."""
        self.finished = False
        self.wants_sample = sampling.max_tokens > 0
        """Whether a token is drawn when the backlog is done. Its owner ends that; the known tokens are still scored."""
        self.scored = NEVER
        if sampling.prompt_logprobs is not None:
            self.scored = min(max(sampling.prompt_logprobs_start, 1), self.num_prompt)
            self.mark_scored(0)
        elif sampling.logprobs is not None:
            self.scored = self.num_prompt

    @property
    def token_ids(self) -> NDArray[np.int64]:
        """int64 [num_tokens], a view: its entries never change."""
        return self._tokens[: self.num_tokens]

    @property
    def keys(self) -> NDArray[np.int64]:
        return self._keys[: self.num_tokens]

    @property
    def output_ids(self) -> NDArray[np.int64]:
        return self._tokens[self.num_prompt : self.num_tokens]

    @property
    def num_output(self) -> int:
        return self.num_tokens - self.num_prompt

    @property
    def target(self) -> int:
        """Tokens to compute. Only to score known tokens, the last of them need not be."""
        if self.layout is not None and self.layout.whole_prompt and self.num_tokens == self.num_prompt:
            return self.num_tokens
        if self.wants_sample or (self.sampling.prompt_logprobs is None and self.sampling.logprobs is None):
            return self.num_tokens
        return max(self.num_tokens - 1, 1)

    @property
    def backlog(self) -> int:
        return self.target - self.num_computed

    @property
    def reusable(self) -> int:
        """How many tokens may come from the cache. What is to be drawn or scored needs the token before it computed."""
        return max(min(self.target, self.scored) - 1, 0)

    def end_of_step(self, end: int) -> int:
        """How far a step may compute that would compute up to `end`: not into a span that it does not finish.

        `num_computed` if nothing before that span is left to compute.
        """
        for first, last in self.layout.spans if self.layout is not None else ():
            if first < end < last:
                return max(first, self.num_computed)
        return end

    def end_of_span(self) -> int:
        """Where the span ends that the next token is in, or that token."""
        spans: Spans = self.layout.spans if self.layout is not None else ()
        inside = (last for first, last in spans if first <= self.num_computed < last)
        return min(next(inside, self.num_computed + 1), self.target)

    def history(self) -> TokenHistory:
        return TokenHistory(self.token_ids, self.num_prompt, self.seed)

    def adopted(self, num_computed: int) -> None:
        """Others have computed the tokens up to `num_computed`."""
        if self.num_cached is not None and self.num_computed < self.num_prompt and not self.num_preemptions:
            self.num_cached += num_computed - self.num_computed
        self.num_computed = num_computed

    def mark_scored(self, count: int) -> None:
        """The next `count` tokens have got their log-probabilities."""
        if self.scored != NEVER:
            self.scored += count
            if self.scored >= self.num_prompt and self.sampling.logprobs is None:
                self.scored = NEVER

    def append(self, token_id: int) -> None:
        if self.num_tokens == len(self._tokens):
            self._grow(1)
        self._tokens[self.num_tokens] = token_id
        self._keys[self.num_tokens] = token_id
        self.num_tokens += 1

    def extend(self, token_ids: Sequence[int]) -> None:
        if self.num_tokens + len(token_ids) > len(self._tokens):
            self._grow(len(token_ids))
        self._tokens[self.num_tokens : self.num_tokens + len(token_ids)] = token_ids
        self._keys[self.num_tokens : self.num_tokens + len(token_ids)] = token_ids
        self.num_tokens += len(token_ids)

    def _grow(self, count: int) -> None:
        length = max(self.num_tokens + count, 2 * self.num_tokens, 16)
        tokens, keys = _grown(self.token_ids, length), None
        if self._keys is not self._tokens:
            keys = _grown(self.keys, length)
        self._tokens, self._keys = tokens, tokens if keys is None else keys


def _grown(values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    grown = np.empty(length, dtype=np.int64)
    grown[: len(values)] = values
    return grown
