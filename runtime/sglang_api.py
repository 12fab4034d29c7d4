"""SGLang's names for requests and results: from its `sampling_params` dicts, and to its result dicts. No more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from grammars.spec import Ebnf, JsonSchema, Regex, Spec
from runtime.api import (
    CompletionOutput,
    GenerateRequest,
    ImageSupport,
    PromptImage,
    RequestOutput,
    SamplingParams,
    TokenLogprob,
)
from runtime.errors import RequestError
from runtime.images import Image

Result: TypeAlias = dict[str, Any]

_SAME_NAME = frozenset(
    {
        "n",
        "best_of",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "repetition_penalty",
        "presence_penalty",
        "frequency_penalty",
        "stop",
        "stop_token_ids",
        "stop_regex",
        "ignore_eos",
        "skip_special_tokens",
    }
)
_RENAMED = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "sampling_seed": "seed",
    "no_stop_trim": "include_stop_str_in_output",
}
_CONSTRAINTS = {"json_schema": JsonSchema, "regex": Regex, "ebnf": Ebnf}
DEFAULT_MAX_NEW_TOKENS = 128


def sampling_of(
    params: Mapping[str, Any] | None, defaults: Mapping[str, Any], scoring: Mapping[str, Any]
) -> tuple[SamplingParams, Spec | None]:
    """The parameters and the constraint of one `sampling_params` dict; None values count as not given.

    defaults: what the model's generation config sets, by our names. scoring: `logprobs` and its kin.
    """
    values: dict[str, Any] = {"max_tokens": DEFAULT_MAX_NEW_TOKENS, **defaults, **scoring}
    constraints: list[Spec] = []
    for name, value in (params or {}).items():
        if name not in _SAME_NAME and name not in _RENAMED and name not in _CONSTRAINTS and name != "logit_bias":
            known = sorted({*_SAME_NAME, *_RENAMED, *_CONSTRAINTS, "logit_bias"})
            raise RequestError(f"sampling_params has no {name!r}; it has {', '.join(known)}")
        if value is None:
            continue
        if name in _CONSTRAINTS:
            constraints.append(_CONSTRAINTS[name](value))
        elif name == "logit_bias":
            values[name] = {int(token_id): float(bias) for token_id, bias in value.items()}
        else:
            values[_RENAMED.get(name, name)] = value
    if len(constraints) > 1:
        raise RequestError("sampling_params may have one of json_schema, regex and ebnf, not several")
    return SamplingParams(**values), constraints[0] if constraints else None


def requests_of(
    prompt: str | Sequence[str] | None,
    sampling_params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None,
    input_ids: Sequence[int] | Sequence[Sequence[int]] | None,
    image_data: Any,
    image_support: ImageSupport | None,
    defaults: Mapping[str, Any],
    return_logprob: bool | Sequence[bool],
    logprob_start_len: int | Sequence[int],
    top_logprobs_num: int | Sequence[int],
    **fields: Any,
) -> tuple[list[GenerateRequest], bool]:
    """The requests of one `generate` call, and whether it asked for a list."""
    if (prompt is None) == (input_ids is None):
        raise RequestError("give either prompt or input_ids")
    given: Any = prompt if prompt is not None else input_ids
    many = not isinstance(given, str) and (prompt is not None or bool(given and not isinstance(given[0], int)))
    prompts = list(given) if many else [given]
    count = len(prompts)
    requests = []
    for index, one in enumerate(prompts):
        top = int(_of(top_logprobs_num, index, count, "top_logprobs_num"))
        start = int(_of(logprob_start_len, index, count, "logprob_start_len"))
        wanted = bool(_of(return_logprob, index, count, "return_logprob"))
        scoring: dict[str, Any] = {"logprobs": top} if wanted else {}
        if wanted and start >= 0:
            scoring |= {"prompt_logprobs": top, "prompt_logprobs_start": start}
        sampling, constraint = sampling_of(_of(sampling_params, index, count, "sampling_params"), defaults, scoring)
        images = _of(image_data, index, count, "image_data") if many else image_data
        text, placed = _place_images(one if isinstance(one, str) else tuple(one), images, image_support)
        requests.append(
            GenerateRequest(
                prompt=text,
                sampling=sampling,
                constraint=constraint,
                images=placed,
                **{name: _of(value, index, count, name) for name, value in fields.items()},
            )
        )
    return requests, many


def _place_images(
    prompt: str | tuple[int, ...], image_data: Any, support: ImageSupport | None
) -> tuple[str | tuple[int, ...], tuple[PromptImage, ...]]:
    """SGLang's prompts hold the model's own word at each image's place; ours hold nothing there."""
    if image_data is None:
        return prompt, ()
    images = Image.all_of(image_data if isinstance(image_data, (list, tuple)) else [image_data], name="image_data")
    if support is None:
        raise RequestError("image_data: this engine runs a text model; load a vision-language model")
    if not isinstance(prompt, str):
        raise RequestError("image_data goes with a prompt of text; with token ids, submit a GenerateRequest")
    text, places = support.split(prompt)
    if len(places) != len(images):
        raise RequestError(
            f"image_data has {len(images)} images, but the prompt has {len(places)} places for one ({support.text!r})"
        )
    return text, tuple(PromptImage(image, at) for image, at in zip(images, places, strict=True))


def results_of(output: RequestOutput) -> list[Result]:
    """One dict for each of the `n` answers."""
    return [_result(output, completion) for completion in output.outputs]


def _result(output: RequestOutput, completion: CompletionOutput) -> Result:
    meta: dict[str, Any] = {
        "id": output.request_id,
        "prompt_tokens": output.usage.prompt_tokens,
        "completion_tokens": len(completion.token_ids),
        "cached_tokens": output.usage.cached_tokens,
        "forced_tokens": output.usage.forced_tokens,
        "finish_reason": _finish_reason(completion),
        "e2e_latency": output.timing.total,
    }
    if completion.logprobs is not None:
        meta["output_token_logprobs"] = [_pair(one) for one in completion.logprobs]
        meta["output_top_logprobs"] = [_tops(one) for one in completion.logprobs]
        meta["output_token_logprobs_length"] = len(completion.logprobs)
    if output.prompt_logprobs is not None:
        first = len(output.prompt_token_ids) - len(output.prompt_logprobs)
        ids = output.prompt_token_ids[first:]
        meta["input_token_logprobs"] = [
            _pair(one) if one is not None else (None, token_id, None)
            for one, token_id in zip(output.prompt_logprobs, ids, strict=True)
        ]
        meta["input_top_logprobs"] = [_tops(one) if one is not None else None for one in output.prompt_logprobs]
    return {"text": completion.text, "output_ids": list(completion.token_ids), "meta_info": meta}


def _finish_reason(completion: CompletionOutput) -> dict[str, Any] | None:
    if completion.finish_reason is None:
        return None
    if completion.finish_reason == "stop":
        return {"type": "stop", "matched": completion.stop_reason}
    if completion.finish_reason == "length":
        return {"type": "length", "length": len(completion.token_ids)}
    return {"type": "abort"}


def _pair(one: TokenLogprob) -> tuple[float, int, None]:
    return (one.logprob, one.token_id, None)


def _tops(one: TokenLogprob) -> list[tuple[float, int, None]]:
    return [(logprob, token_id, None) for token_id, logprob in one.top]


def _of(value: Any, index: int, count: int, name: str) -> Any:
    """The value for one prompt: a list has one for each, anything else is for all."""
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) != count:
        raise RequestError(f"{name} has {len(value)} entries for {count} prompts")
    return value[index]
