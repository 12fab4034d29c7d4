"""What goes into the runtime and what comes out. Data only: no torch, no model, no scheduler."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from grammars.spec import Spec
from runtime.errors import RequestError
from runtime.images import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FinishReason: TypeAlias = Literal["stop", "length", "abort"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How tokens are drawn and when a request ends. Names and meanings are vLLM's.

    max_tokens 0 computes the prompt only (to score or to warm it). temperature below 1e-6 is greedy. top_k -1 or 0 is
    all. `stop_regex` ends at the first match of any pattern; the matched text is trimmed as a stop string is.
    `best_of`: so many answers are drawn, and the `n` of the greatest mean log-probability are returned, best first.
    `logprobs` k: the log-probability of every drawn token and of the k likeliest (0: the drawn ones only), from the raw
    distribution before temperature, penalties and masks. `prompt_logprobs` k: the same for prompt tokens from index
    `prompt_logprobs_start` on (the first token of a prompt has none).
    """

    max_tokens: int = 16
    min_tokens: int = 0
    n: int = 1
    best_of: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = -1
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    stop: str | tuple[str, ...] | list[str] = ()
    stop_token_ids: tuple[int, ...] | list[int] = ()
    stop_regex: str | tuple[str, ...] | list[str] = ()
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    prompt_logprobs_start: int = 0
    skip_special_tokens: bool = True

    def __post_init__(self) -> None:
        for name in ("stop", "stop_regex"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value or ()))
        object.__setattr__(self, "stop_token_ids", tuple(self.stop_token_ids or ()))
        self._require(self.max_tokens >= 0, "max_tokens", "at least 0")
        self._require(
            0 <= self.min_tokens <= self.max_tokens, "min_tokens", f"between 0 and max_tokens={self.max_tokens}"
        )
        self._require(self.n >= 1, "n", "at least 1")
        self._require(self.best_of is None or self.best_of >= self.n, "best_of", f"at least n={self.n}")
        self._require(self.temperature >= 0.0, "temperature", "at least 0")
        self._require(0.0 < self.top_p <= 1.0, "top_p", "in (0, 1]")
        self._require(self.top_k >= -1, "top_k", "-1 (all), 0 (all) or more")
        self._require(0.0 <= self.min_p <= 1.0, "min_p", "in [0, 1]")
        self._require(0.0 < self.repetition_penalty <= 2.0, "repetition_penalty", "in (0, 2]")
        self._require(-2.0 <= self.presence_penalty <= 2.0, "presence_penalty", "in [-2, 2]")
        self._require(-2.0 <= self.frequency_penalty <= 2.0, "frequency_penalty", "in [-2, 2]")
        self._require(self.logprobs is None or self.logprobs >= 0, "logprobs", "None or at least 0")
        self._require(
            self.prompt_logprobs is None or self.prompt_logprobs >= 0, "prompt_logprobs", "None or at least 0"
        )
        self._require(all(self.stop), "stop", "without empty strings")

    def _require(self, holds: bool, name: str, what: str) -> None:
        if not holds:
            raise RequestError(f"{name}={getattr(self, name)!r} must be {what}")


@dataclass(frozen=True, slots=True)
class PromptImage:
    """An image in a prompt. at: how many characters of a text prompt, or tokens of one of ids, stand before it."""

    image: Image
    at: int

    def __post_init__(self) -> None:
        if not isinstance(self.image, Image):
            raise RequestError(f"image must be an Image, not {type(self.image).__name__}; make one with Image.of(...)")
        if self.at < 0:
            raise RequestError(f"at={self.at} must be at least 0")


@dataclass(frozen=True, slots=True)
class ImageSupport:
    """How a model takes images.

    text:       what stands for one image in a rendered chat template. Prompts do not contain it: `split` takes it out.
    reserved:   words that a prompt must not contain, because the model would take them for images or videos.
    max_images: the most that one request may bring.
    """

    text: str
    reserved: tuple[str, ...]
    max_images: int

    def split(self, rendered: str) -> tuple[str, tuple[int, ...]]:
        """A rendered template without its `text`s, and the place of each: `PromptImage.at`, in order."""
        pieces = rendered.split(self.text)
        return "".join(pieces), tuple(itertools.accumulate(len(piece) for piece in pieces[:-1]))

    def reserved_in(self, text: str) -> str | None:
        """The first reserved word in a text; None if there is none. Ask before a user's text goes into a template."""
        return next((word for word in self.reserved if word in text), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateRequest:
    """One request. `prompt` is text or token ids.

    constraint:        what the output must satisfy, or None.
    constraint_prefix: the text at the prompt's end that already belongs to the constrained span: `constraint_prefix`
                       plus the output satisfies the constraint.
    priority:          smaller runs first.
    cache_salt:        requests of different salts never share computed pages.
    timeout:           seconds from submission; then the request is aborted.
    images:            pictures with their places in the prompt, which itself holds nothing in their place. Several at
                       one place come in the order given.
    """

    prompt: str | tuple[int, ...]
    sampling: SamplingParams = field(default_factory=SamplingParams)
    constraint: Spec | None = None
    constraint_prefix: str = ""
    request_id: str | None = None
    priority: int = 0
    cache_salt: str = ""
    timeout: float | None = None
    images: tuple[PromptImage, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token with its log-probability (natural log) and the likeliest alternatives, best first."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request. `forced_tokens` of the completion were known without asking the model.

    `image_tokens` of the prompt are images'; `prompt_tokens` counts them too.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    forced_tokens: int = 0
    image_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: waiting before the first step, to the first token, and to the end, all from submission."""

    queued: float = 0.0
    first_token: float | None = None
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One of the `n` answers so far. `text` is whole, not a piece; it never ends inside a character or a stop."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason | None = None
    stop_reason: str | int | None = None
    """The stop string, stop pattern or stop token id that ended it; None at the end of text or by length."""
    logprobs: tuple[TokenLogprob, ...] | None = None


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """What a request has produced so far; the last one has `finished=True`."""

    request_id: str
    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]
    finished: bool
    usage: Usage = Usage()
    timing: Timing = Timing()
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None
    """From `prompt_logprobs_start` on; None stands for the prompt's first token, which has no probability."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text as a vector, float32 [width] of the model, of any length; num_tokens: what it was made of."""

    vector: NDArray[np.float32]
    num_tokens: int


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A run of tokens in the radix tree: positions [start, end) of the texts that go through it.

    parent: its index in `TreeSummary.nodes`; -1 where texts begin. num_locks: requests that need it now; num_uses: all
    that ever did. num_hidden: runs after it that are not in the summary. head: its first tokens, negative for images'.
    """

    parent: int
    start: int
    end: int
    num_locks: int
    num_uses: int
    num_hidden: int
    head: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TreeSummary:
    """The part of the radix tree that was used last, parents first. num_nodes: of the whole tree.

    num_hidden: beginnings of texts that are not in it.
    """

    page_size: int
    num_nodes: int
    num_hidden: int
    nodes: tuple[TreeNode, ...]
