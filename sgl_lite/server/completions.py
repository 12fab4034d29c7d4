"""`POST /v1/completions`. In: a `CompletionBody` with one prompt or several. Out: OpenAI's completion, whole or in
chunks; answer `j` to prompt `i` has the index `i * n + j`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from grammars.spec import Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput, TokenLogprob
from sgl_lite.server.desk import Answers, Asked
from sgl_lite.server.errors import as_api_error, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.logprobs import completion_logprobs
from sgl_lite.server.protocol import CompletionBody
from sgl_lite.server.service import Prompt, Service, usage_of
from sgl_lite.server.streams import EventStream, to_json

DEFAULT_MAX_TOKENS = 16


async def completions(service: Service, call: Call, body: CompletionBody) -> Response:
    service.check_model(body.model)
    service.check_n(body.best_of, "best_of")
    if body.stream and body.best_of not in (None, body.n or 1):
        raise invalid("best_of", "the best answers are known at the end only; leave stream out")
    prompts, _ = service.prompts(body.prompt, "prompt")
    constraint, param = service.constraint(body)
    if constraint is not None and body.echo:
        raise invalid("echo", "the constraint is on the answer; leave echo out")
    asked = [Asked(_request(service, body, prompt, constraint), stream=bool(body.stream)) for prompt in prompts]
    try:
        answers = await service.desk.start(call, asked)
        if body.stream:
            return EventStream(_chunks(service, call, body, prompts, answers), param)
        outputs = await answers.finished()
    except Exception as error:
        raise as_api_error(error, param) from error
    choices = [
        _choice(service, body, prompts, number, output, one)
        for number, output in enumerate(outputs)
        for one in output.outputs
    ]
    head = service.head(call, "text_completion", "cmpl")
    return Response(
        to_json({**head, "choices": choices, "usage": usage_of(outputs, call)}), media_type="application/json"
    )


def _request(service: Service, body: CompletionBody, prompt: Prompt, constraint: Spec | None) -> GenerateRequest:
    sampling = service.sampling(
        body,
        DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens,
        best_of=body.best_of,
        logprobs=body.logprobs,
        prompt_logprobs=body.logprobs if body.echo else None,
    )
    return GenerateRequest(
        prompt=prompt,
        sampling=sampling,
        constraint=constraint,
        priority=body.priority or 0,
        cache_salt=body.cache_salt or "",
    )


def _choice(
    service: Service,
    body: CompletionBody,
    prompts: list[Prompt],
    number: int,
    output: RequestOutput,
    one: CompletionOutput,
) -> dict[str, Any]:
    echoed = _prompt_text(service, prompts[number]) if body.echo else ""
    return {
        "index": number * (body.n or 1) + one.index,
        "text": echoed + one.text,
        "logprobs": _logprobs(service, body, output, one, 0, 0),
        "finish_reason": one.finish_reason,
    }


def _prompt_text(service: Service, prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else service.backend.decode(prompt)


def _logprobs(
    service: Service, body: CompletionBody, output: RequestOutput, one: CompletionOutput, seen: int, offset: int
) -> dict[str, Any] | None:
    """Of the tokens from `seen` on; those of an echoed prompt come first."""
    if body.logprobs is None:
        return None
    tokens: list[TokenLogprob | None] = list((one.logprobs or ())[seen:])
    ids = list(one.token_ids[seen:])
    if body.echo and not seen:
        tokens = [*(output.prompt_logprobs or ()), *tokens]
        ids = [*output.prompt_token_ids, *ids]
    return completion_logprobs(tokens, ids, service.backend.decode, offset)


async def _chunks(
    service: Service, call: Call, body: CompletionBody, prompts: list[Prompt], answers: Answers
) -> AsyncIterator[dict[str, Any]]:
    head = service.head(call, "text_completion", "cmpl")
    with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    if with_usage:
        head["usage"] = None
    chars: dict[tuple[int, int], int] = {}
    tokens: dict[tuple[int, int], int] = {}
    last: dict[int, RequestOutput] = {}
    async for number, output in answers.outputs():
        last[number] = output
        for one in output.outputs:
            which = (number, one.index)
            seen, shown = tokens.get(which, 0), chars.get(which, 0)
            if seen < 0 or (seen == len(one.token_ids) and one.finish_reason is None):
                continue  # it has ended before, or nothing is new
            echoed = _prompt_text(service, prompts[number]) if body.echo and which not in chars else ""
            choice = {
                "index": number * (body.n or 1) + one.index,
                "text": echoed + one.text[shown:],
                "logprobs": _logprobs(service, body, output, one, seen, shown),
                "finish_reason": one.finish_reason,
            }
            chars[which] = len(one.text)
            tokens[which] = len(one.token_ids) if one.finish_reason is None else -1
            yield {**head, "choices": [choice]}
    usage = usage_of(list(last.values()), call)
    if with_usage:
        yield {**head, "choices": [], "usage": usage}
