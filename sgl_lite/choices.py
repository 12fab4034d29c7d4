"""How `select` decides. In: log-probabilities of each choice's tokens. Out: the best, and what to say about it.

A choice's tokens are those of the whole text (prompt and choice together, as the tokenizer writes it) from the first
token on which any choice differs from the prompt alone. So a token that spans the border is scored too, in every
choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from runtime.api import TokenLogprob
from sgl_lite.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ScoredChoice:
    """A choice with its tokens' log-probabilities, after the prompt and, if the method asks for it, after nothing."""

    text: str
    tokens: tuple[TokenLogprob, ...]
    unconditional: tuple[TokenLogprob, ...] = ()

    @property
    def logprob(self) -> float:
        """Log-probability of the whole choice after the prompt."""
        return math.fsum(token.logprob for token in self.tokens)


@dataclass(frozen=True, slots=True)
class ChoicesDecision:
    """scores: one a choice, the higher the better. meta: what the method adds to the meta info."""

    best: int
    scores: tuple[float, ...]
    meta: Mapping[str, Any] = field(default_factory=dict)


class ChoicesSamplingMethod(Protocol):
    """A way to decide. `requires_unconditional`: the choices are scored without the prompt as well."""

    @property
    def name(self) -> str: ...
    @property
    def requires_unconditional(self) -> bool: ...
    def __call__(self, choices: Sequence[ScoredChoice]) -> ChoicesDecision: ...


def probabilities(logprobs: Sequence[float]) -> tuple[float, ...]:
    """Softmax: what each has of the sum of all."""
    top = max(logprobs)
    weights = [math.exp(x - top) for x in logprobs]
    total = math.fsum(weights)
    return tuple(w / total for w in weights)


def _mean(tokens: Sequence[TokenLogprob]) -> float:
    return math.fsum(t.logprob for t in tokens) / len(tokens)


def _decision(scores: Sequence[float], **meta: Any) -> ChoicesDecision:
    return ChoicesDecision(max(range(len(scores)), key=scores.__getitem__), tuple(scores), meta)


@dataclass(frozen=True, slots=True)
class TokenLengthNormalized:
    """The highest mean log-probability a token. Favours long choices whose ends are easy to guess."""

    name: str = "token_length_normalized"
    requires_unconditional: bool = False

    def __call__(self, choices: Sequence[ScoredChoice]) -> ChoicesDecision:
        return _decision([_mean(c.tokens) for c in choices])


@dataclass(frozen=True, slots=True)
class GreedyTokenSelection:
    """The best first token, among those the best second, ...; a choice that has ended goes on with its mean."""

    name: str = "greedy_token_selection"
    requires_unconditional: bool = False

    def __call__(self, choices: Sequence[ScoredChoice]) -> ChoicesDecision:
        length = max(len(c.tokens) for c in choices)
        rows = [[t.logprob for t in c.tokens] + [_mean(c.tokens)] * (length - len(c.tokens)) for c in choices]
        best = max(range(len(rows)), key=rows.__getitem__)  # lists compare from the first token on
        return ChoicesDecision(best, tuple(_mean(c.tokens) for c in choices), {"greedy_logprob_matrix": rows})


@dataclass(frozen=True, slots=True)
class UnconditionalLikelihoodNormalized:
    """The highest mean gain of log-probability a token by the prompt. Costs a second score of each choice."""

    name: str = "unconditional_likelihood_normalized"
    requires_unconditional: bool = True

    def __call__(self, choices: Sequence[ScoredChoice]) -> ChoicesDecision:
        return _decision(
            [c.logprob / len(c.tokens) - _mean(c.unconditional) for c in choices],
            unconditional_token_logprobs=[[[t.logprob, t.token_id, None] for t in c.unconditional] for c in choices],
            normalized_unconditional_prompt_logprobs=[_mean(c.unconditional) for c in choices],
        )


@dataclass(frozen=True, slots=True)
class Probability:
    """The likeliest text, by the product of its tokens' probabilities. Of "yes" and "yes sir" the first always wins."""

    name: str = "probability"
    requires_unconditional: bool = False

    def __call__(self, choices: Sequence[ScoredChoice]) -> ChoicesDecision:
        return _decision([c.logprob for c in choices])


token_length_normalized = TokenLengthNormalized()
greedy_token_selection = GreedyTokenSelection()
unconditional_likelihood_normalized = UnconditionalLikelihoodNormalized()
probability = Probability()

_METHODS: Mapping[str, ChoicesSamplingMethod] = {
    method.name: method
    for method in (
        token_length_normalized,
        greedy_token_selection,
        unconditional_likelihood_normalized,
        probability,
    )
}


def method_of(method: ChoicesSamplingMethod | str | None) -> ChoicesSamplingMethod:
    """A method by itself or by name; None is `token_length_normalized`. Errors: `ArgumentError`."""
    if method is None:
        return token_length_normalized
    if isinstance(method, str):
        if method not in _METHODS:
            raise ArgumentError(f"choices_method={method!r} is not one of {', '.join(_METHODS)}")
        return _METHODS[method]
    if not callable(method):
        raise ArgumentError(f"choices_method={method!r} is neither a method of sgl_lite.choices nor its name")
    return method
