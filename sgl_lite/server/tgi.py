"""`inputs` and `parameters`: the body of text-generation-inference, at `/generate`, `/generate_stream` and `/`.

In: the same `NativeBody`, by TGI's names. Out: TGI's answer, whole or in events of a token each.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from grammars.spec import JsonSchema, Regex, Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput, SamplingParams
from sgl_lite.server.desk import Answers, Asked
from sgl_lite.server.errors import as_api_error, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.protocol import NativeBody, TgiGrammar, TgiParameters
from sgl_lite.server.service import Service, usage_of
from sgl_lite.server.streams import EventStream, to_json

DEFAULT_MAX_NEW_TOKENS = 100
_REASONS = {"length": "length", "stop": "stop_sequence"}


async def tgi_generate(service: Service, call: Call, body: NativeBody, stream: bool, as_list: bool) -> Response:
    """as_list: an answer is a list of one, as at `/`."""
    parameters = body.parameters or TgiParameters()
    if body.inputs is None:
        raise invalid("inputs", "this field is needed", "missing_required_parameter")
    service.check_prompt(body.inputs, "inputs")
    if stream and parameters.best_of not in (None, 1):
        raise invalid("parameters.best_of", "the best answer is known at the end only; leave stream out")
    request = GenerateRequest(
        prompt=body.inputs, sampling=_sampling(service, parameters), constraint=_constraint(service, parameters.grammar)
    )
    param = None if parameters.grammar is None else "parameters.grammar"
    try:
        answers = await service.desk.start(call, [Asked(request, stream=stream)])
        if stream:
            return EventStream(_events(service, call, body, parameters, answers), param, done=False)
        (output,) = await answers.finished()
    except Exception as error:
        raise as_api_error(error, param, "inputs") from error
    usage_of([output], call)
    answer: dict[str, Any] = {"generated_text": _whole(body, parameters, output.outputs[0].text)}
    if parameters.details or parameters.decoder_input_details:
        answer["details"] = _details(service, parameters, output.outputs[0], with_tokens=True)
    return Response(to_json([answer] if as_list else answer), media_type="application/json")


def _sampling(service: Service, given: TgiParameters) -> SamplingParams:
    """Greedy, unless something says how to draw."""
    service.check_n(given.best_of, "parameters.best_of")
    draws = given.do_sample or any(v is not None for v in (given.temperature, given.top_k, given.top_p))
    return SamplingParams(
        max_tokens=DEFAULT_MAX_NEW_TOKENS if given.max_new_tokens is None else given.max_new_tokens,
        temperature=(1.0 if given.temperature is None else given.temperature) if draws else 0.0,
        top_k=given.top_k if given.top_k is not None else -1,
        top_p=given.top_p if given.top_p is not None else 1.0,
        repetition_penalty=1.0 if given.repetition_penalty is None else given.repetition_penalty,
        frequency_penalty=given.frequency_penalty or 0.0,
        seed=given.seed,
        best_of=given.best_of,
        stop=tuple(given.stop or given.stop_sequences or ()),
        include_stop_str_in_output=True,
        logprobs=0,
    )


def _constraint(service: Service, grammar: TgiGrammar | None) -> Spec | None:
    if grammar is None:
        return None
    path, value = "parameters.grammar.value", grammar.value
    if grammar.type == "regex":
        if not isinstance(value, str):
            raise invalid(path, "a regex is a text")
        return Regex(service.checked(path, value))
    if isinstance(value, str):
        try:
            value = json.loads(service.checked(path, value))
        except (ValueError, RecursionError) as error:
            raise invalid(path, f"it is not JSON: {error}") from None
    if grammar.type == "json_schema" and isinstance(value, dict) and "schema" in value:
        value = value["schema"]
    if not isinstance(value, dict | bool):
        raise invalid(path, "a schema is an object")
    return JsonSchema(service.checked(path, value))


def _whole(body: NativeBody, parameters: TgiParameters, text: str) -> str:
    return f"{body.inputs}{text}" if parameters.return_full_text else text


def _details(
    service: Service, parameters: TgiParameters, output: CompletionOutput, with_tokens: bool
) -> dict[str, Any]:
    reason = _REASONS.get(output.finish_reason or "", "eos_token")
    details: dict[str, Any] = {
        "finish_reason": "eos_token" if reason == "stop_sequence" and output.stop_reason is None else reason,
        "generated_tokens": len(output.token_ids),
        "seed": parameters.seed,
        "prefill": [],
    }
    if with_tokens:
        texts = [service.backend.decode([token]) for token in output.token_ids]
        details["tokens"] = [_token(output, index, text) for index, text in enumerate(texts)]
    return details


def _token(output: CompletionOutput, index: int, text: str) -> dict[str, Any]:
    scores = output.logprobs or ()
    logprob = scores[index].logprob if index < len(scores) else None
    return {"id": output.token_ids[index], "text": text, "logprob": logprob, "special": not text}


async def _events(
    service: Service, call: Call, body: NativeBody, parameters: TgiParameters, answers: Answers
) -> AsyncIterator[dict[str, Any]]:
    """One event a token. Text that several tokens write together is the last one's."""
    tokens, chars = 0, 0
    last: RequestOutput | None = None
    async for _, last in answers.outputs():
        (output,) = last.outputs
        for index in range(tokens, len(output.token_ids)):
            is_last = index == len(output.token_ids) - 1
            text = output.text[chars:] if is_last else ""
            event = {"index": index + 1, "token": _token(output, index, text), "generated_text": None, "details": None}
            if is_last and output.finish_reason is not None:
                event["generated_text"] = _whole(body, parameters, output.text)
                event["details"] = _details(service, parameters, output, with_tokens=False)
            yield event
        if len(output.token_ids) > tokens:
            tokens, chars = len(output.token_ids), len(output.text)
        elif output.finish_reason is not None:  # its end came after its last token
            text = output.text[chars:]
            end = {"index": tokens, "token": {"id": 0, "text": text, "logprob": None, "special": True}}
            yield end | {
                "generated_text": _whole(body, parameters, output.text),
                "details": _details(service, parameters, output, with_tokens=False),
            }
    if last is not None:
        usage_of([last], call)
