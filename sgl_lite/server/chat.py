"""`POST /v1/chat/completions`. In: a `ChatBody`. Out: OpenAI's chat completion, whole or in chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from grammars.spec import Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput
from sgl_lite.backends.base import Conversation
from sgl_lite.backends.base import Message as PlainMessage
from sgl_lite.errors import ArgumentError
from sgl_lite.marks import placed
from sgl_lite.reasoning import reasoning_format
from sgl_lite.server.desk import Answers, Asked
from sgl_lite.server.errors import as_api_error, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.images import Images
from sgl_lite.server.logprobs import chat_logprobs
from sgl_lite.server.protocol import ChatBody
from sgl_lite.server.reasoning import ReasoningReader, ThoughtPiece
from sgl_lite.server.service import Service, usage_of
from sgl_lite.server.streams import EventStream, to_json
from sgl_lite.server.tools import CallPiece, ContentPiece, Reader, ToolUse, plain_messages, tool_use


async def chat_completions(service: Service, call: Call, body: ChatBody) -> Response:
    service.check_model(body.model)
    use = tool_use(body, service.checked)
    constraint, param = service.constraint(body)
    if use.constraint is not None:
        if constraint is not None:
            raise invalid(param or "", "a constraint and tools are given together; set tool_choice to 'none'")
        constraint, param = use.constraint, "tools"
    images = Images(service)
    messages = await service.desk.in_thread(plain_messages, body.messages, use.system, images)
    text = _prompt(service, body, messages)
    use = _with_reasoning(service, body, use, text, constraint)
    request = _request(service, body, text, images, constraint)
    asked = Asked(request, Conversation(tuple(messages)), bool(body.stream))
    try:
        answers = await service.desk.start(call, [asked])
        if body.stream:
            return EventStream(_chunks(service, call, body, use, answers), param)
        (output,) = await answers.finished()
    except Exception as error:
        raise as_api_error(error, param, "messages") from error
    choices = [_choice(service, body, use, one, call) for one in output.outputs]
    head = service.head(call, "chat.completion", "chatcmpl")
    return Response(
        to_json({**head, "choices": choices, "usage": usage_of([output], call)}), media_type="application/json"
    )


def _prompt(service: Service, body: ChatBody, messages: list[PlainMessage]) -> str:
    """The messages as text, with marks for their images. Errors: `ApiError`."""
    if body.continue_final_message and body.add_generation_prompt:
        raise invalid("continue_final_message", "it goes on with the last message; leave add_generation_prompt out")
    goes_on = bool(body.continue_final_message)
    if goes_on and messages[-1]["role"] != "assistant":
        raise invalid("continue_final_message", "the last message must be the assistant's")
    options = body.chat_template_kwargs or {}
    service.checked("chat_template_kwargs", options)
    begun = goes_on or body.add_generation_prompt is not False
    try:
        template = service.backend.chat_template_with(options)
        text = template.render(messages[:-1] if goes_on else messages, add_generation_prompt=begun)
    except ArgumentError as error:
        raise invalid("chat_template_kwargs", str(error)) from error
    except Exception as error:  # templates are programs of their own, with errors of their own
        raise invalid("messages", f"the model's chat template refuses them: {error}") from error
    text += messages[-1]["content"] if goes_on else ""
    service.check_prompt(text, "messages")
    return text


def _with_reasoning(service: Service, body: ChatBody, use: ToolUse, prompt: str, constraint: Spec | None) -> ToolUse:
    """Thoughts are told apart, but in a constrained answer: all of that satisfies the constraint."""
    if service.config.reasoning is None:
        if body.separate_reasoning:
            raise invalid("separate_reasoning", "this server does not know how its model marks thoughts")
        return use
    if body.separate_reasoning is False or (constraint is not None and use.constraint is None):
        return use
    marks = reasoning_format(service.config.reasoning)
    begun = prompt.rstrip().endswith(marks.begin)
    return replace(use, new_reader=lambda: ReasoningReader(marks, begun, use.new_reader()))


def _request(service: Service, body: ChatBody, text: str, images: Images, constraint: Spec | None) -> GenerateRequest:
    if body.top_logprobs is not None and not body.logprobs:
        raise invalid("top_logprobs", "it needs logprobs: true")
    if body.max_tokens is not None and body.max_completion_tokens is not None:
        raise invalid("max_tokens", "it is the old name of max_completion_tokens; give one of them")
    prompt, placed_images = placed(text, images.read)
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    room = service.backend.engine.context_length
    given = body.max_completion_tokens if body.max_completion_tokens is not None else body.max_tokens
    sampling = service.sampling(
        body,
        room if given is None else given,
        stop=(*stop, *service.backend.chat_template().stop),
        logprobs=body.top_logprobs or 0 if body.logprobs else None,
    )
    return GenerateRequest(
        prompt=prompt,
        sampling=sampling,
        constraint=constraint,
        priority=body.priority or 0,
        cache_salt=body.cache_salt or "",
        images=placed_images,
    )


def _choice(service: Service, body: ChatBody, use: ToolUse, output: CompletionOutput, call: Call) -> dict[str, Any]:
    content, thoughts, calls = "", "", []
    for piece in use.new_reader().feed(output.text, end=True):
        if isinstance(piece, ThoughtPiece):
            thoughts += piece.text
        elif isinstance(piece, ContentPiece):
            content += piece.text
        elif piece.name is not None:
            calls.append(_call_begin(call, output.index, piece))
        else:
            calls[piece.index]["function"]["arguments"] += piece.arguments
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if thoughts:
        message["reasoning_content"] = thoughts
    if calls:
        message |= {"content": content.strip() or None, "tool_calls": calls}
    return {
        "index": output.index,
        "message": message,
        "logprobs": _logprobs(service, body, output, 0),
        "finish_reason": "tool_calls" if calls else output.finish_reason,
    }


def _call_begin(call: Call, choice: int, piece: CallPiece) -> dict[str, Any]:
    call_id = f"call_{call.request_id}_{choice}_{piece.index}"
    return {"id": call_id, "type": "function", "function": {"name": piece.name, "arguments": piece.arguments}}


def _logprobs(service: Service, body: ChatBody, output: CompletionOutput, seen: int) -> dict[str, Any] | None:
    if not body.logprobs:
        return None
    return chat_logprobs((output.logprobs or ())[seen:], service.backend.decode, body.top_logprobs or 0)


@dataclass(slots=True)
class _Told:
    """How much of one answer the client has."""

    reader: Reader
    chars: int = 0
    tokens: int = 0
    has_calls: bool = False
    finished: bool = False


async def _chunks(
    service: Service, call: Call, body: ChatBody, use: ToolUse, answers: Answers
) -> AsyncIterator[dict[str, Any]]:
    """The first chunk of a choice says the role, the last one why it ended."""
    head = service.head(call, "chat.completion.chunk", "chatcmpl")
    with_usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    if with_usage:
        head["usage"] = None
    told = {index: _Told(use.new_reader()) for index in range(body.n or 1)}
    for index in told:
        yield {**head, "choices": [_chunk_choice(index, {"role": "assistant", "content": ""})]}
    last: RequestOutput | None = None
    async for _, last in answers.outputs():
        for output in last.outputs:
            for choice in _news(service, call, body, output, told[output.index]):
                yield {**head, "choices": [choice]}
    assert last is not None
    usage = usage_of([last], call)
    if with_usage:
        yield {**head, "choices": [], "usage": usage}


def _news(service: Service, call: Call, body: ChatBody, output: CompletionOutput, told: _Told) -> list[dict[str, Any]]:
    """What is new in an answer, as choices of chunks."""
    if told.finished:
        return []
    ended = output.finish_reason is not None
    text, told.chars = output.text[told.chars :], len(output.text)
    deltas: list[dict[str, Any]] = []
    for piece in told.reader.feed(text, ended):
        if isinstance(piece, ContentPiece | ThoughtPiece):
            deltas.append({"content" if isinstance(piece, ContentPiece) else "reasoning_content": piece.text})
            continue
        told.has_calls = True
        more = {"function": {"arguments": piece.arguments}}
        delta = more if piece.name is None else _call_begin(call, output.index, piece)
        deltas.append({"tool_calls": [{"index": piece.index, **delta}]})
    logprobs = _logprobs(service, body, output, told.tokens)
    told.tokens = len(output.token_ids)
    if logprobs and logprobs["content"] and not deltas:
        deltas.append({})
    choices = [_chunk_choice(output.index, delta) for delta in deltas]
    if choices and logprobs:
        choices[0]["logprobs"] = logprobs
    if ended:
        told.finished = True
        choices.append(_chunk_choice(output.index, {}, "tool_calls" if told.has_calls else output.finish_reason))
    return choices


def _chunk_choice(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
