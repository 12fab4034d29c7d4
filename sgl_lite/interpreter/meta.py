"""Meta info of an answer: a dict with SGLang's keys, from what the runtime reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from runtime.api import CompletionOutput, RequestOutput, TokenLogprob

Entry = list[Any]
"""[log-probability, token id, its text or None]"""


def meta_of(output: RequestOutput, decode: Callable[[Sequence[int]], str] | None = None) -> dict[str, Any]:
    """Counts, times, why it ended, log-probabilities if they were asked for. With n > 1: of the first answer, all
    answers' reasons under `finish_reasons`. `decode`: to give log-probabilities their text."""
    first = output.outputs[0]
    meta: dict[str, Any] = {
        "id": output.request_id,
        "prompt_tokens": output.usage.prompt_tokens,
        "completion_tokens": output.usage.completion_tokens,
        "cached_tokens": output.usage.cached_tokens,
        "forced_tokens": output.usage.forced_tokens,
        "finish_reason": finish_reason(first),
        "e2e_latency": output.timing.total,
        "queue_time": output.timing.queued,
        "time_to_first_token": output.timing.first_token,
        "output_ids": list(first.token_ids),
    }
    if output.usage.image_tokens:
        meta["image_tokens"] = output.usage.image_tokens
    if len(output.outputs) > 1:
        meta["finish_reasons"] = [finish_reason(one) for one in output.outputs]
    if first.logprobs is not None:
        meta["output_token_logprobs"] = entries(first.logprobs, decode)
        meta["output_top_logprobs"] = [top_entries(token, decode) for token in first.logprobs]
        meta["output_token_logprobs_length"] = len(first.logprobs)
    if output.prompt_logprobs is not None:
        meta["input_token_logprobs"] = entries(output.prompt_logprobs, decode)
        meta["input_top_logprobs"] = [t and top_entries(t, decode) for t in output.prompt_logprobs]
    return meta


def read_ahead_meta(stop: str) -> dict[str, Any]:
    """Of an answer that an earlier request wrote already: it cost nothing."""
    return {
        "id": "",
        "prompt_tokens": 0,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "forced_tokens": 0,
        "finish_reason": {"type": "stop", "matched": stop},
        "e2e_latency": 0.0,
        "queue_time": 0.0,
        "time_to_first_token": None,
        "output_ids": [],
        "read_ahead": True,
    }


def finish_reason(output: CompletionOutput) -> dict[str, Any]:
    """`{"type": "stop" | "length" | "abort", "matched": stop string or id, or None}`"""
    return {"type": output.finish_reason, "matched": output.stop_reason}


def entries(tokens: Sequence[TokenLogprob | None], decode: Callable[[Sequence[int]], str] | None = None) -> list[Entry]:
    """One entry a token; the first token of a text has no log-probability and gives `[None, None, None]`."""
    return [
        [None, None, None] if t is None else [t.logprob, t.token_id, decode([t.token_id]) if decode else None]
        for t in tokens
    ]


def top_entries(token: TokenLogprob, decode: Callable[[Sequence[int]], str] | None = None) -> list[Entry]:
    """The likeliest alternatives, best first."""
    return [[logprob, token_id, decode([token_id]) if decode else None] for token_id, logprob in token.top]
