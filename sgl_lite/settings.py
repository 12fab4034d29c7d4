"""How answers are drawn: what a run sets for all gens, and a gen for itself.

In: keyword arguments. Out: `runtime.api.SamplingParams`, once a gen's settings are laid over those of its run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from numbers import Integral, Real
from typing import Any, TypedDict

from runtime.api import SamplingParams
from runtime.errors import RequestError
from sgl_lite.errors import ArgumentError


class SamplingOptions(TypedDict, total=False):
    """The keyword arguments, besides `max_tokens`, that say how to draw. See `SamplingSettings`."""

    min_tokens: int | None
    n: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    stop_regex: str | Sequence[str] | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    repetition_penalty: float | None
    ignore_eos: bool | None
    seed: int | None
    logit_bias: Mapping[int, float] | None
    return_logprob: bool | None
    logprob_start_len: int | None
    top_logprobs_num: int | None
    return_text_in_logprobs: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingSettings:
    """How to draw. None: as the run says; a run's None: as `RUN_DEFAULTS` says.

    Hashable: the programs of a batch ask for the same settings again and again, and get the same objects.

    max_tokens, min_tokens: length of the answer in tokens; it does not end before `min_tokens`.
    n:                answers to draw. The variable is then a list; the first goes into the text.
    stop, stop_regex: the answer ends before the first of these; `stop_token_ids` likewise by id.
    temperature ... repetition_penalty, seed, logit_bias: as in `SamplingParams`, the last as pairs. 0 is greedy.
    return_logprob:   put log-probabilities into the meta info, with `top_logprobs_num` alternatives each, and those of
                      the prompt from token `logprob_start_len` on (None or -1: none), with their text if
                      `return_text_in_logprobs`.
    """

    max_tokens: int | None = None
    min_tokens: int | None = None
    n: int | None = None
    stop: tuple[str, ...] | None = None
    stop_token_ids: tuple[int, ...] | None = None
    stop_regex: tuple[str, ...] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool | None = None
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] | None = None
    return_logprob: bool | None = None
    logprob_start_len: int | None = None
    top_logprobs_num: int | None = None
    return_text_in_logprobs: bool | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SamplingSettings:
        """Settings from keyword arguments. Errors: `ArgumentError` for an unknown name or a value that cannot work."""
        try:
            return _settings(**options)
        except TypeError:  # a list or a dict, which cannot be looked up
            return _settings.__wrapped__(**options)

    def over(self, defaults: SamplingSettings) -> SamplingSettings:
        """These settings, and those of `defaults` where these have None."""
        return _laid_over(self, defaults)

    def params(self, extra_stop: tuple[str, ...] = ()) -> SamplingParams:
        """What the runtime takes; None has its meaning there. Errors: `ArgumentError`."""
        return _params(self, extra_stop)


@lru_cache(maxsize=1024, typed=True)
def _settings(**options: Any) -> SamplingSettings:
    unknown = options.keys() - SAMPLING_NAMES
    if unknown:
        raise ArgumentError(f"unknown argument {min(unknown)!r}; sampling arguments are {', '.join(SAMPLING_NAMES)}")
    return _valid(SamplingSettings(**{k: _checked(k, v) for k, v in options.items() if v is not None}))


@lru_cache(maxsize=1024)
def _valid(settings: SamplingSettings) -> SamplingSettings:
    """The same settings, and the same object for equal ones. Errors: `ArgumentError` for a value that cannot work."""
    settings.over(_ANY_LENGTH).params()
    return settings


@lru_cache(maxsize=1024)
def _laid_over(own: SamplingSettings, defaults: SamplingSettings) -> SamplingSettings:
    return SamplingSettings(
        **{name: getattr(defaults, name) if (v := getattr(own, name)) is None else v for name in SAMPLING_NAMES}
    )


@lru_cache(maxsize=1024)
def _params(settings: SamplingSettings, extra_stop: tuple[str, ...]) -> SamplingParams:
    values = {name: v for name in _PASSED_ON if (v := getattr(settings, name)) is not None}
    values["stop"] = tuple(dict.fromkeys((settings.stop or ()) + extra_stop))
    if settings.logit_bias is not None:
        values["logit_bias"] = dict(settings.logit_bias)
    if settings.return_logprob:
        values["logprobs"] = settings.top_logprobs_num or 0
        if settings.logprob_start_len is not None and settings.logprob_start_len >= 0:
            values["prompt_logprobs"] = settings.top_logprobs_num or 0
            values["prompt_logprobs_start"] = settings.logprob_start_len
    try:
        return SamplingParams(**values)
    except RequestError as error:
        raise ArgumentError(str(error)) from error


def _checked(name: str, value: Any) -> Any:
    """The value in a form that can be hashed. Errors: `ArgumentError` if it is of the wrong kind."""
    if name in _SEVERAL:
        kind, what = _SEVERAL[name]
        items = (value,) if isinstance(value, kind) else value
        if isinstance(items, Sequence) and all(_is(kind, item) for item in items):
            return tuple(items)
        raise ArgumentError(f"{name}={value!r} must be {what} or a list of them")
    if name == "logit_bias":
        if isinstance(value, Mapping) and all(_is(Integral, k) and _is(Real, v) for k, v in value.items()):
            return tuple(value.items())
        raise ArgumentError(f"logit_bias={value!r} must be a dict of token ids and what to add to their logits")
    for names, kind, what in _KINDS:
        if name in names and not _is(kind, value):
            raise ArgumentError(f"{name}={value!r} must be {what}")
    return value


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


_SEVERAL: Mapping[str, tuple[type, str]] = {
    "stop": (str, "a text"),
    "stop_regex": (str, "a pattern"),
    "stop_token_ids": (Integral, "a token id"),
}
_KINDS = (
    (("ignore_eos", "return_logprob", "return_text_in_logprobs"), bool, "True or False"),
    (
        ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"),
        Real,
        "a number",
    ),
    (
        ("max_tokens", "min_tokens", "n", "top_k", "seed", "logprob_start_len", "top_logprobs_num"),
        Integral,
        "a whole number",
    ),
)
SAMPLING_NAMES: tuple[str, ...] = tuple(field.name for field in fields(SamplingSettings))
_PASSED_ON = tuple(
    name
    for name in SAMPLING_NAMES
    if name not in ("return_logprob", "logprob_start_len", "top_logprobs_num", "return_text_in_logprobs", "stop")
)

_ANY_LENGTH = SamplingSettings(max_tokens=1 << 30)

RUN_DEFAULTS = SamplingSettings(max_tokens=128)
"""SGLang's: 128 tokens, one answer, temperature 1, nothing cut off."""
