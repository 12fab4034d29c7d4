"""`POST /generate`, by SGLang's names. In: a `NativeBody`. Out: SGLang's result dicts, whole or in events, each of
which has all the text so far.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypeVar

from starlette.responses import Response

from grammars.spec import Ebnf, JsonSchema, Regex, Spec
from runtime.api import GenerateRequest, PromptImage, RequestOutput, SamplingParams
from sgl_lite.interpreter.meta import finish_reason, meta_of
from sgl_lite.server.desk import Answers, Asked
from sgl_lite.server.details import details
from sgl_lite.server.errors import ApiError, as_api_error, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.images import Images
from sgl_lite.server.protocol import NativeBody, NativeSampling
from sgl_lite.server.service import Prompt, Service, token_biases, usage_of
from sgl_lite.server.streams import EventStream, to_json
from sgl_lite.server.tgi import tgi_generate

DEFAULT_MAX_NEW_TOKENS = 128
_RENAMED = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "sampling_seed": "seed",
    "no_stop_trim": "include_stop_str_in_output",
}
_CONSTRAINTS = ("json_schema", "regex", "ebnf")
_TGI = {"inputs", "parameters", "stream"}

T = TypeVar("T")


async def generate_stream(service: Service, call: Call, body: NativeBody) -> Response:
    """`/generate_stream`: as `/generate`, always in events."""
    return await generate(service, call, body.model_copy(update={"stream": True}))


async def tgi(service: Service, call: Call, body: NativeBody) -> Response:
    """`POST /`: text-generation-inference's body only."""
    given = sorted(name for name in body.model_fields_set - _TGI if getattr(body, name) is not None)
    if given:
        raise invalid(given[0], "here it is inputs and parameters; the field belongs to /generate")
    return await tgi_generate(service, call, body, bool(body.stream), as_list=True)


async def generate(service: Service, call: Call, body: NativeBody) -> Response:
    if body.inputs is not None or body.parameters is not None:
        others = sorted(name for name in body.model_fields_set - _TGI if getattr(body, name) is not None)
        if others:
            raise invalid(others[0], "it is given together with inputs or parameters; give one kind of body")
        return await tgi_generate(service, call, body, bool(body.stream), as_list=False)
    if (body.text is None) == (body.input_ids is None):
        raise ApiError(400, "give either text or input_ids", param="text", code="invalid_value")
    name, given = ("input_ids", body.input_ids) if body.text is None else ("text", body.text)
    prompts, many = service.prompts(given, name)
    params = _for_each(body.sampling_params or NativeSampling(), len(prompts))
    images = _images(body, len(prompts), many)
    placed = await service.desk.in_thread(_placed, service, prompts, images)
    asked = [
        Asked(replace(_request(service, body, prompt, one), images=shown), stream=bool(body.stream))
        for (prompt, shown), one in zip(placed, params, strict=True)
    ]
    param = next((f"sampling_params.{name}" for name in _CONSTRAINTS if getattr(params[0], name) is not None), None)
    try:
        answers = await service.desk.start(call, asked)
        if body.stream:
            requests = [one.request for one in asked]
            return EventStream(_events(service, call, body, requests, many, answers), param)
        outputs = await answers.finished()
    except Exception as error:
        raise as_api_error(error, param, name) from error
    usage_of(outputs, call)
    results = [
        result
        for output, one in zip(outputs, asked, strict=True)
        for result in await service.desk.in_thread(_results, service, call, body, one.request, output)
    ]
    return Response(to_json(results if many or len(results) > 1 else results[0]), media_type="application/json")


def _images(body: NativeBody, count: int, many: bool) -> list[list[str]]:
    """Those of each prompt. Of several prompts: a list each, or one image each."""
    given = body.image_data
    if given is None:
        return [[]] * count
    if not many:
        flat = [given] if isinstance(given, str) else given
        if any(not isinstance(one, str) for one in flat):
            raise invalid("image_data", "one prompt has one list of images")
        return [[one for one in flat if isinstance(one, str)]]
    each = [given] if isinstance(given, str) else given
    if len(each) != count:
        raise invalid("image_data", f"there are {len(each)} of them for {count} prompts")
    return [[one] if isinstance(one, str) else one for one in each]


def _placed(
    service: Service, prompts: list[Prompt], images: list[list[str]]
) -> list[tuple[Prompt, tuple[PromptImage, ...]]]:
    """Prompts without the words for images, and the images in their places. Decodes: not for the event loop."""
    out: list[tuple[Prompt, tuple[PromptImage, ...]]] = []
    for prompt, sources in zip(prompts, images, strict=True):
        if isinstance(prompt, str):
            out.append(Images(service).placed(prompt, list(sources), "image_data"))
        elif sources:
            raise invalid("image_data", "images go with text, not with input_ids")
        else:
            out.append((prompt, ()))
    return out


def _for_each(params: T | list[T], count: int) -> list[T]:
    if not isinstance(params, list):
        return [params] * count
    if len(params) != count:
        raise invalid("sampling_params", f"there are {len(params)} of them for {count} prompts")
    return params


def _request(service: Service, body: NativeBody, prompt: Prompt, params: NativeSampling) -> GenerateRequest:
    if body.cache_salt and body.extra_key:
        raise invalid("extra_key", "it is another name of cache_salt; give one of them")
    return GenerateRequest(
        prompt=prompt,
        sampling=_sampling(service, body, params),
        constraint=_constraint(service, params),
        priority=body.priority or 0,
        cache_salt=body.cache_salt or body.extra_key or "",
    )


def _sampling(service: Service, body: NativeBody, params: NativeSampling) -> SamplingParams:
    service.check_n(params.n, "sampling_params.n")
    given = params.model_dump(exclude_none=True, exclude={*_CONSTRAINTS, "logit_bias"})
    values = {_RENAMED.get(name, name): value for name, value in given.items()}
    if body.return_logprob:
        top = values["logprobs"] = body.top_logprobs_num or 0
        start = -1 if body.logprob_start_len is None else body.logprob_start_len
        if start >= 0:
            values |= {"prompt_logprobs": top, "prompt_logprobs_start": start}
    defaults = {"max_tokens": DEFAULT_MAX_NEW_TOKENS, **service.backend.engine.default_sampling}
    return SamplingParams(**{**defaults, **values, "logit_bias": token_biases(params.logit_bias)})


def _constraint(service: Service, params: NativeSampling) -> Spec | None:
    given = [name for name in _CONSTRAINTS if getattr(params, name) is not None]
    if len(given) > 1:
        raise invalid(f"sampling_params.{given[1]}", f"it is given together with {given[0]}; give one of them")
    if params.json_schema is not None:
        path = "sampling_params.json_schema"
        try:
            schema = json.loads(service.checked(path, params.json_schema))
        except (ValueError, RecursionError) as error:
            raise invalid(path, f"it is not JSON: {error}") from None
        return JsonSchema(service.checked(path, schema))
    if params.regex is not None:
        return Regex(service.checked("sampling_params.regex", params.regex))
    return None if params.ebnf is None else Ebnf(service.checked("sampling_params.ebnf", params.ebnf))


def _results(
    service: Service, call: Call, body: NativeBody, request: GenerateRequest, output: RequestOutput
) -> list[dict[str, Any]]:
    """One dict for each of the `n` answers."""
    decode = service.backend.decode if body.return_text_in_logprobs else None
    results = []
    for one in output.outputs:
        meta = meta_of(replace(output, outputs=(one,)), decode)
        ids = meta.pop("output_ids")
        meta["id"] = body.rid or call.request_id
        meta["completion_tokens"] = len(ids)
        meta["finish_reason"] = finish_reason(one) if one.finish_reason else None
        if body.return_token_details:
            meta |= details(service.backend, request, output, one)
        results.append({"text": one.text, "output_ids": ids, "meta_info": meta})
    return results


async def _events(
    service: Service, call: Call, body: NativeBody, requests: list[GenerateRequest], many: bool, answers: Answers
) -> AsyncIterator[dict[str, Any]]:
    """Several answers are told apart by "index"."""
    last: dict[int, RequestOutput] = {}
    async for number, output in answers.outputs():
        last[number] = output
        results = await service.desk.in_thread(_results, service, call, body, requests[number], output)
        for index, result in enumerate(results):
            if many or len(results) > 1:
                result["index"] = number * len(results) + index
            yield result
    usage_of(list(last.values()), call)
