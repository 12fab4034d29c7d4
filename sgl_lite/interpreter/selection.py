"""One `select` under way: scores every choice after the text, all at once, and decides.

The requests share the text and each other's beginnings in the radix tree, so the text is computed once.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

from runtime.api import GenerateRequest, PromptImage, RequestOutput, SamplingParams, TokenLogprob
from runtime.images import Image
from sgl_lite.backends.base import TokenizedText, tokenizes
from sgl_lite.choices import ChoicesDecision, ScoredChoice, probabilities
from sgl_lite.errors import ArgumentError, UnsupportedByBackendError
from sgl_lite.interpreter.meta import entries
from sgl_lite.interpreter.run import Run, advancing
from sgl_lite.marks import MARKS, placed
from sgl_lite.nodes import Select

Tokens = tuple[int, ...]
Row = tuple[str | Tokens, tuple[PromptImage, ...], int]
"""A prompt with a choice, its images, and its first token that is scored."""

_NEUTRAL = "\n"
"""What choices are scored after without the prompt: many models have no token that begins a text."""


def common_prefix(a: Sequence[int], b: Sequence[int], known: int = 0) -> int:
    """How many items the two have in common from the beginning; of the first `known` that is known."""
    for index, (x, y) in enumerate(zip(a[known:], b[known:], strict=False), known):
        if x != y:
            return index
    return min(len(a), len(b))


class Selection:
    """done(choice, meta) or failed(error) is called once, from any thread."""

    def __init__(
        self,
        run: Run,
        node: Select,
        text: str,
        images: Sequence[Image],
        in_chat: bool,
        known: TokenizedText | None,
        done: Callable[[str, dict[str, Any]], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._run, self._node, self._text, self._in_chat, self._known = run, node, text, in_chat, known
        self._images = images
        self._done, self._failed = done, failed
        self._lock = threading.Lock()
        self._outputs: dict[tuple[int, bool], RequestOutput] = {}
        self._expected = 0

    def start(self) -> None:
        """Send all requests. Errors: `UnsupportedByBackendError`, `ArgumentError`."""
        backend = self._run.backend
        if not backend.capabilities.scores:
            raise UnsupportedByBackendError(
                f"{backend.model_name} gives no log-probabilities of a prompt, which select needs; "
                "use the local engine, or let it write one of them: sgl.gen(name, type=Literal['yes', 'no'])"
            )
        if self._images:
            self._measure()
            return
        self._score([(tokens, (), start) for tokens, start in self._tokenized(self._text)])

    def _measure(self) -> None:
        """With images only the model knows how long the prompt is: compute it, and score what comes after the last."""
        prompt, images = placed(self._text, self._images)
        last = MARKS.split(self._text)[-1]
        tail = self._tokens(last, None, special=False).ids
        rows = [self._tokens(last + choice, None, special=False).ids for choice in self._node.choices]
        common = min(common_prefix(tail, row) for row in rows)

        def on_output(output: RequestOutput) -> None:
            if output.finished:
                start = output.usage.prompt_tokens - len(tail) + min(common, min(map(len, rows)) - 1)
                scored: list[Row] = [(prompt + choice, images, start) for choice in self._node.choices]
                advancing().submit(self._guarded, scored)

        request = GenerateRequest(
            prompt=prompt, sampling=SamplingParams(max_tokens=0), timeout=self._run.remaining(), images=images
        )
        self._run.send(request, on_output, self._failed)

    def _guarded(self, rows: list[Row]) -> None:
        try:
            self._score(rows)
        except Exception as error:
            self._failed(error)

    def _score(self, conditional: list[Row]) -> None:
        """Send a request for each choice."""
        alone = self._tokenized(_NEUTRAL) if self._node.method.requires_unconditional else []
        self._expected = len(conditional) + len(alone)
        for index, (prompt, images, start) in enumerate(conditional):
            self._send(index, True, prompt, images, start)
        for index, (tokens, start) in enumerate(alone):
            self._send(index, False, tokens, (), start)

    def _tokenized(self, text: str) -> list[tuple[Tokens, int]]:
        """Per choice: the tokens of `text` and choice, and the first that is scored (the same in all)."""
        base = self._tokens(text, self._known)
        rows = [self._tokens(text + choice, base).ids for choice in self._node.choices]
        start = min(common_prefix(base.ids, row, base.known_ids) for row in rows)
        start = max(1, min(start, min(map(len, rows)) - 1))
        for choice, row in zip(self._node.choices, rows, strict=True):
            if start >= len(row):
                raise ArgumentError(
                    f"choice {choice!r} is the first token of a text, which has no probability; add text before it"
                )
        return [(row, start) for row in rows]

    def _tokens(self, text: str, before: TokenizedText | None, special: bool | None = None) -> TokenizedText:
        backend = self._run.backend
        special = not self._in_chat if special is None else special
        if tokenizes(backend):
            return backend.tokenized(text, special, before)
        return TokenizedText(text, backend.encode(text, special), special)

    def _send(self, index: int, given: bool, prompt: str | Tokens, images: tuple[PromptImage, ...], start: int) -> None:
        sampling = SamplingParams(max_tokens=0, prompt_logprobs=0, prompt_logprobs_start=start)

        def on_output(output: RequestOutput) -> None:
            if output.finished:
                self._collect(index, given, output)

        request = GenerateRequest(prompt=prompt, sampling=sampling, timeout=self._run.remaining(), images=images)
        self._run.send(request, on_output, self._failed)

    def _collect(self, index: int, given: bool, output: RequestOutput) -> None:
        with self._lock:
            self._outputs[index, given] = output
            if len(self._outputs) < self._expected:
                return
        try:
            choice, meta = self._decide()
        except Exception as error:
            self._failed(error)
            return
        self._done(choice, meta)

    def _decide(self) -> tuple[str, dict[str, Any]]:
        node = self._node
        scored = [
            ScoredChoice(text, self._scores(index, True), self._scores(index, False))
            for index, text in enumerate(node.choices)
        ]
        decision = node.method(scored)
        shares = probabilities([choice.logprob for choice in scored])
        best = decision.best if node.temperature < 1e-6 else self._draw(decision)
        return node.choices[best], self._meta(scored, decision, shares)

    def _scores(self, index: int, given: bool) -> tuple[TokenLogprob, ...]:
        output = self._outputs.get((index, given))
        if output is None:
            return ()
        return tuple(token for token in output.prompt_logprobs or () if token is not None)

    def _draw(self, decision: ChoicesDecision) -> int:
        node = self._node
        weights = probabilities([score / node.temperature for score in decision.scores])
        return random.Random(node.seed).choices(range(len(weights)), weights)[0]

    def _meta(
        self, scored: Sequence[ScoredChoice], decision: ChoicesDecision, shares: tuple[float, ...]
    ) -> dict[str, Any]:
        outputs = [self._outputs[index, True] for index in range(len(scored))]
        return {
            "id": outputs[0].request_id,
            "prompt_tokens": max(o.usage.prompt_tokens for o in outputs),
            "completion_tokens": 0,
            "cached_tokens": max(o.usage.cached_tokens for o in outputs),
            "forced_tokens": 0,
            "computed_tokens": sum(o.usage.prompt_tokens - o.usage.cached_tokens for o in outputs),
            "finish_reason": {"type": "stop", "matched": None},
            "e2e_latency": max(o.timing.total for o in outputs),
            "choices": list(self._node.choices),
            "scores": list(decision.scores),
            "probabilities": list(shares),
            "normalized_prompt_logprobs": [c.logprob / len(c.tokens) for c in scored],
            "input_token_logprobs": [entries(c.tokens) for c in scored],
            "output_token_logprobs": [[] for _ in scored],
            **decision.meta,
        }
