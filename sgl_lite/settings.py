"""How answers are drawn: what a run sets for all gens, and a gen for itself.

In: keyword arguments. Out: `runtime.api.SamplingParams`, once a gen's settings are laid over those of its run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
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

    max_tokens, min_tokens: length of the answer in tokens; it does not end before `min_tokens`.
    n:                answers to draw. The variable is then a list; the first goes into the text.
    stop, stop_regex: the answer ends before the first of these; `stop_token_ids` likewise by id.
    temperature ... repetition_penalty, seed, logit_bias: as in `SamplingParams`. 0 is greedy.
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
    logit_bias: Mapping[int, float] | None = None
    return_logprob: bool | None = None
    logprob_start_len: int | None = None
    top_logprobs_num: int | None = None
    return_text_in_logprobs: bool | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> SamplingSettings:
        """Settings from keyword arguments. Errors: `ArgumentError` for an unknown name or a value that cannot work."""
        unknown = options.keys() - SAMPLING_NAMES
        if unknown:
            raise ArgumentError(
                f"unknown argument {min(unknown)!r}; sampling arguments are {', '.join(SAMPLING_NAMES)}"
            )
        values = dict(options)
        for name, kind in (("stop", str), ("stop_regex", str), ("stop_token_ids", int)):
            if values.get(name) is not None:
                values[name] = _tuple(name, values[name], kind)
        settings = cls(**values)
        settings.over(_ANY_LENGTH).params()  # a wrong value is an error at the line that wrote it
        return settings

    def over(self, defaults: SamplingSettings) -> SamplingSettings:
        """These settings, and those of `defaults` where these have None."""
        return SamplingSettings(
            **{name: getattr(defaults, name) if (v := getattr(self, name)) is None else v for name in SAMPLING_NAMES}
        )

    def params(self, extra_stop: tuple[str, ...] = ()) -> SamplingParams:
        """What the runtime takes; None has its meaning there. Errors: `ArgumentError`."""
        values = {name: v for name in _PASSED_ON if (v := getattr(self, name)) is not None}
        values["stop"] = tuple(dict.fromkeys((self.stop or ()) + extra_stop))
        if self.return_logprob:
            values["logprobs"] = self.top_logprobs_num or 0
            if self.logprob_start_len is not None and self.logprob_start_len >= 0:
                values["prompt_logprobs"] = self.top_logprobs_num or 0
                values["prompt_logprobs_start"] = self.logprob_start_len
        try:
            return SamplingParams(**values)
        except RequestError as error:
            raise ArgumentError(str(error)) from error


def _tuple(name: str, value: Any, kind: type) -> tuple[Any, ...]:
    items = (value,) if isinstance(value, kind) else tuple(value)
    for item in items:
        if not isinstance(item, kind):
            raise ArgumentError(f"{name} must be {kind.__name__} or a list of them, not {item!r}")
    return items


SAMPLING_NAMES: tuple[str, ...] = tuple(field.name for field in fields(SamplingSettings))
_PASSED_ON = tuple(
    name
    for name in SAMPLING_NAMES
    if name not in ("return_logprob", "logprob_start_len", "top_logprobs_num", "return_text_in_logprobs", "stop")
)

_ANY_LENGTH = SamplingSettings(max_tokens=1 << 30)

RUN_DEFAULTS = SamplingSettings(max_tokens=128)
"""SGLang's: 128 tokens, one answer, temperature 1, nothing cut off."""
