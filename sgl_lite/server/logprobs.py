"""Log-probabilities in the shapes of OpenAI's two APIs. In: `TokenLogprob`s. Out: JSON values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from runtime.api import TokenLogprob

Decode: TypeAlias = Callable[[Sequence[int]], str]
IMPOSSIBLE = -9999.0
"""Stands for minus infinity, which JSON has not; OpenAI's API writes the same."""


def chat_logprobs(tokens: Sequence[TokenLogprob], decode: Decode, alternatives: int) -> dict[str, Any]:
    """alternatives: how many of the likeliest tokens are told for each."""
    content = []
    for token in tokens:
        top = [_token(token_id, logprob, decode) for token_id, logprob in token.top[:alternatives]]
        content.append({**_token(token.token_id, token.logprob, decode), "top_logprobs": top})
    return {"content": content, "refusal": None}


def _token(token_id: int, logprob: float, decode: Decode) -> dict[str, Any]:
    """bytes is None where a token is only a part of a character."""
    text = decode([token_id])
    return {
        "token": text,
        "logprob": max(logprob, IMPOSSIBLE),
        "bytes": None if "\ufffd" in text else list(text.encode()),
    }


def completion_logprobs(tokens: Sequence[TokenLogprob | None], ids: Sequence[int], decode: Decode, offset: int) -> dict:
    """tokens: None has no probability (the first of a prompt). offset: of the first token in the text."""
    texts = [decode([token_id]) for token_id in ids]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    return {
        "tokens": texts,
        "token_logprobs": [None if t is None else max(t.logprob, IMPOSSIBLE) for t in tokens],
        "top_logprobs": [
            None if t is None else {decode([i]): max(logprob, IMPOSSIBLE) for i, logprob in t.top} for t in tokens
        ],
        "text_offset": offsets,
    }
