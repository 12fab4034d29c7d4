"""A submitted request on the loop's side: its completions, its clock, and the outputs made of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from runtime.api import RequestOutput, Timing, TokenLogprob, Usage
from runtime.completion import Completion
from runtime.request import Request


class ActiveRequest:
    """Owned by the caller until it is handed to the loop, by the loop's thread from then on."""

    def __init__(
        self,
        request: Request,
        prompt_ids: tuple[int, ...],
        completions: Sequence[Completion],
        submitted: float,
        num_image_tokens: int = 0,
    ) -> None:
        self.request = request
        self.prompt_ids = prompt_ids
        self.completions = tuple(completions)
        self.submitted = submitted
        self.num_image_tokens = num_image_tokens
        self.scheduled: float | None = None
        """When its first step began."""
        self.first_token: float | None = None
        timeout = request.generate.timeout
        self.deadline = None if timeout is None else self.submitted + timeout

    @property
    def need(self) -> int:
        """Tokens that one of its completions may come to."""
        return len(self.prompt_ids) + max(completion.max_tokens for completion in self.completions)

    @property
    def is_done(self) -> bool:
        return all(completion.is_done for completion in self.completions)

    @property
    def error(self) -> Exception | None:
        return next((one.error for one in self.completions if one.error is not None), None)

    def output(self, finished: bool) -> RequestOutput:
        """All there is so far; of `best_of` answers, the `n` best."""
        sampling = self.request.generate.sampling
        chosen = self.completions
        if sampling.best_of is not None:
            chosen = tuple(sorted(chosen, key=lambda one: one.mean_logprob, reverse=True)[: sampling.n])
        with_logprobs = sampling.logprobs is not None
        return RequestOutput(
            request_id=self.request.request_id,
            prompt_token_ids=self.prompt_ids,
            outputs=tuple(one.output(index, with_logprobs) for index, one in enumerate(chosen)),
            finished=finished,
            usage=self.usage(),
            timing=self.timing(),
            prompt_logprobs=self._prompt_logprobs(),
        )

    def usage(self) -> Usage:
        """Cached tokens are the first completion's: the others always find the prompt that it computed."""
        return Usage(
            prompt_tokens=len(self.prompt_ids),
            cached_tokens=self.completions[0].branch.num_cached or 0,
            completion_tokens=sum(completion.branch.num_output for completion in self.completions),
            forced_tokens=sum(completion.num_forced for completion in self.completions),
            image_tokens=self.num_image_tokens,
        )

    def timing(self) -> Timing:
        now = time.monotonic()
        return Timing(
            queued=(self.scheduled or now) - self.submitted,
            first_token=None if self.first_token is None else self.first_token - self.submitted,
            total=now - self.submitted,
        )

    def _prompt_logprobs(self) -> tuple[TokenLogprob | None, ...] | None:
        sampling = self.request.generate.sampling
        if sampling.prompt_logprobs is None:
            return None
        first: tuple[TokenLogprob | None, ...] = (None,) if sampling.prompt_logprobs_start == 0 else ()
        return first + tuple(self.completions[0].prompt_logprobs)
