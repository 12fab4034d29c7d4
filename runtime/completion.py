"""One of the `n` answers to a request: its tokens as text, its constraint, and when it ends. Runs in the loop's thread.

A drawn token goes this way: the branch gets it; if it ends the text, that is all; else the constraint advances, the
text grows, and a stop, the limit of tokens or a complete constraint may end it. Forced tokens go the same way,
without being drawn.

With a constraint, the text always satisfies it. So a stop string, pattern or token ends the text only where what is
before satisfies the constraint by itself; elsewhere it is a part of the answer like any other.
"""

from __future__ import annotations

from collections.abc import Sequence, Set

from runtime.api import CompletionOutput, FinishReason, TokenLogprob
from runtime.constraint.grammar_runner import OutputConstraint
from runtime.detokenizer import Detokenizer
from runtime.scheduler.branch import Branch
from runtime.stopping import StoppingText


class Completion:
    """end_ids: tokens that end the text without a reason to name. stop_ids: those the caller named.

    max_tokens: the caller's, or less where context or pool hold less.
    finish_reason: "stop" at an end token, a stop, or where the constraint lets nothing follow; "length" where
    max_tokens cut what might have gone on (with a constraint, the text satisfies it all the same).
    """

    def __init__(
        self,
        branch: Branch,
        *,
        max_tokens: int,
        end_ids: Set[int],
        stop_ids: Set[int],
        detokenizer: Detokenizer,
        text: StoppingText,
        constraint: OutputConstraint | None,
        jump_forward: bool,
    ) -> None:
        self.branch = branch
        self.max_tokens = max_tokens
        self.constraint = constraint
        self.finish_reason: FinishReason | None = None
        self.stop_reason: str | int | None = None
        self.num_forced = 0
        self.logprobs: list[TokenLogprob] = []
        self.prompt_logprobs: list[TokenLogprob] = []
        self.error: Exception | None = None
        """What ended it instead of a finish reason, if something did."""
        self._end_ids = end_ids
        self._stop_ids = stop_ids
        self._detokenizer = detokenizer
        self._text = text
        self._jump_forward = jump_forward
        self._token_ids: tuple[int, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is drawn. Known tokens may still have to be scored: see `is_done`."""
        return self.finish_reason is not None or self.error is not None

    @property
    def is_done(self) -> bool:
        if self.branch.finished or self.error is not None or self.finish_reason == "abort":
            return True
        if self.finish_reason is None:
            return False
        return self.branch.backlog <= 0 if self.max_tokens == 0 else self.branch.scored >= self.branch.num_tokens

    def start(self) -> None:
        """Take what is forced before the first token is drawn, and see whether there is anything to draw at all."""
        if self.max_tokens == 0:
            self._end("length")
        elif self.constraint is not None and self.constraint.is_complete():
            self._end("stop")
        else:
            self._jump()

    def take(self, token_id: int, logprob: TokenLogprob | None) -> None:
        """A token was drawn."""
        if logprob is not None:
            self.logprobs.append(logprob)
        forced = self.constraint is not None and self.constraint.next_forced == token_id
        self._append(token_id, forced)
        if not self.is_over:
            self._jump()

    def score(self, scored: Sequence[TokenLogprob], first: int) -> None:
        """Log-probabilities of known tokens from index `first` on."""
        in_prompt = max(0, min(len(scored), self.branch.num_prompt - first))
        self.prompt_logprobs += scored[:in_prompt]
        self.logprobs += scored[in_prompt:]

    def abort(self) -> None:
        if not self.is_over:
            self._end("abort")

    def fail(self, error: Exception) -> None:
        """End with an error; `RequestOutput` tells "abort", `Request.result` raises it."""
        if not self.is_over:
            self._end("abort")
            self.error = error

    @property
    def jumps(self) -> bool:
        """Whether there were forced tokens that the model was not asked for, so that there may be more of them."""
        return self._jump_forward and self.num_forced > 0

    @property
    def mean_logprob(self) -> float:
        """Of the tokens so far; what `best_of` compares."""
        return sum(one.logprob for one in self.logprobs) / max(len(self.logprobs), 1)

    def output(self, index: int, with_logprobs: bool) -> CompletionOutput:
        """What there is so far, as answer number `index`."""
        new = self.branch.output_ids[len(self._token_ids) :].tolist()
        self._token_ids += tuple(new)
        return CompletionOutput(
            index=index,
            text=self._text.shown,
            token_ids=self._token_ids,
            finish_reason=self.finish_reason,
            stop_reason=self.stop_reason,
            logprobs=tuple(self.logprobs) if with_logprobs else None,
        )

    def _jump(self) -> None:
        """Take all forced tokens, if they are not to go through the model one by one."""
        while self._jump_forward and not self.is_over and self.constraint is not None:
            token_id = self.constraint.next_forced
            if token_id is None:
                break
            self._append(token_id, True)

    def _append(self, token_id: int, forced: bool) -> None:
        self.branch.append(token_id)
        self.num_forced += forced
        if self._ends_here(token_id):
            return
        if self.constraint is not None:
            self.constraint.advance(token_id)
        active = self.branch.num_output >= self.branch.sampling.min_tokens
        stop = self._text.feed(self._detokenizer.append(token_id), active)
        if stop is not None:
            self._end("stop", stop)
        elif self.constraint is not None and self.constraint.is_complete():
            self._end("stop")
        elif self.branch.num_output >= self.max_tokens:
            self._end("length")

    def _ends_here(self, token_id: int) -> bool:
        """Whether this token ends the text. It has no text of its own then."""
        named = token_id in self._stop_ids
        if not named and token_id not in self._end_ids:
            return False
        if self.constraint is not None and not self.constraint.is_accepting():
            return False
        self._end("stop", token_id if named else None)
        return True

    def _end(self, reason: FinishReason, stop_reason: str | int | None = None) -> None:
        self.finish_reason, self.stop_reason = reason, stop_reason
        self.branch.wants_sample = False
        if not isinstance(stop_reason, str):
            self._text.feed(self._detokenizer.finish(), active=False)
            self._text.finish()
