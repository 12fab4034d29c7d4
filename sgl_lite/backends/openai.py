"""OpenAI's API as a backend, at OpenAI or at any server that speaks it, by the official client.

It writes text from messages (chat models) or from a prompt (completion models), and holds JSON Schema. It scores no
prompt, so there is no `select`, and it knows no other constraint: what it cannot do is an error that says what to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from grammars.spec import Format, JsonSchema, Regex, Spec
from runtime.api import CompletionOutput, FinishReason, GenerateRequest, RequestOutput, Timing, Usage
from runtime.errors import RequestAborted
from sgl_lite.backends.base import Capabilities, ChatTemplate, Conversation, OnFailure, OnOutput
from sgl_lite.chat.messages import SimpleTemplate
from sgl_lite.chat.templates import templates
from sgl_lite.errors import BackendError, UnsupportedByBackendError

try:
    import openai
except ImportError as error:
    raise ImportError("sgl.OpenAI needs OpenAI's client: pip install 'sgl-lite[openai]'") from error

CONNECTIONS = 64
_COMPLETION_MODELS = ("instruct", "davinci", "babbage")
_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")
"""Models that call the greatest length of an answer `max_completion_tokens`."""
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "min_tokens": (0,), "top_k": (-1, 0), "min_p": (0.0,), "repetition_penalty": (1.0,), "stop_token_ids": ((),),
    "stop_regex": ((),), "ignore_eos": (False,), "logprobs": (None,), "prompt_logprobs": (None,), "best_of": (None,),
}  # fmt: skip
"""Settings that the API has no field for, and the values at which they ask for nothing."""
_WRAPPED = "value"


@dataclass(slots=True)
class TokenUsage:
    """Tokens that were paid for since the last `reset`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def reset(self) -> None:
        self.prompt_tokens = self.completion_tokens = 0


class OpenAI:
    """SGLang's name and arguments.

    is_chat_model: whether it takes messages; None: by its name.
    chat_template: how messages are shown in `state.text()`, and sent to a completion model.
    is_azure:      at Azure. client_arguments: `api_key`, `base_url`, `timeout`, ... of the client; without them the
                   environment says: OPENAI_API_KEY, OPENAI_BASE_URL.
    """

    def __init__(
        self,
        model_name: str,
        is_chat_model: bool | None = None,
        chat_template: SimpleTemplate | None = None,
        is_azure: bool = False,
        **client_arguments: Any,
    ) -> None:
        self.model_name = model_name
        if is_chat_model is None:
            is_chat_model = not any(part in model_name for part in _COMPLETION_MODELS)
        self.is_chat_model = is_chat_model
        self.capabilities = Capabilities(scores=False, images=is_chat_model, reads_ahead=not is_chat_model)
        self.token_usage = TokenUsage()
        template = chat_template or templates.get("default")
        self._template = replace(template, stop=()) if is_chat_model else template
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="sgl-lite-openai")
        self._address = self._connect(is_azure, client_arguments)

    def _connect(self, is_azure: bool, client_arguments: Mapping[str, Any]) -> str:
        """Make the client. Returns where it asks, for errors."""
        try:
            self._client = (openai.AzureOpenAI if is_azure else openai.OpenAI)(**client_arguments)
        except openai.OpenAIError as error:
            raise BackendError(f"OpenAI's client cannot start: {error}") from error
        return str(self._client.base_url)

    def _create(self, fields: dict[str, Any]) -> Any:
        """The API's answer, or the stream of its chunks."""
        endpoint = self._client.chat.completions if self.is_chat_model else self._client.completions
        return endpoint.create(**fields)

    def generate(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
        stream: bool = False,
    ) -> _Pending:
        wrapped = request.constraint is not None and _is_wrapped(request.constraint)
        fields = {"model": self.model_name, **_fields(self.model_name, request)}
        fields |= self._prompt(request, conversation)
        if stream and request.sampling.n == 1 and not wrapped:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        pending = _Pending()
        self._pool.submit(self._answer, request, fields, wrapped, pending, on_output, on_failure)
        return pending

    def _prompt(self, request: GenerateRequest, conversation: Conversation | None) -> dict[str, Any]:
        if not self.is_chat_model:
            if not isinstance(request.prompt, str):
                raise UnsupportedByBackendError("OpenAI's API takes text, not token ids")
            if request.constraint is not None:
                raise UnsupportedByBackendError(
                    f"{self.model_name} is a completion model, which holds no constraint; "
                    "use a chat model, a check= that draws again, or the local engine"
                )
            return {"prompt": request.prompt}
        if conversation is None:
            raise UnsupportedByBackendError(
                f"{self.model_name} is a chat model: write its prompt as messages, "
                "s += sgl.user(...) + sgl.assistant(sgl.gen(...)), or say is_chat_model=False"
            )
        if conversation.open_text:
            raise UnsupportedByBackendError(
                f"{self.model_name} cannot go on with a message that begins with {conversation.open_text!r}: "
                "a gen must be the first in its assistant message; ask for the beginning in the user's message instead"
            )
        return {"messages": list(conversation.messages)}

    def _answer(
        self,
        request: GenerateRequest,
        fields: dict[str, Any],
        wrapped: bool,
        pending: _Pending,
        on_output: OnOutput,
        on_failure: OnFailure,
    ) -> None:
        started = time.monotonic()
        try:
            for answer in self._answers(fields, request.timeout):
                if pending.aborted:
                    raise RequestAborted("the request was aborted")
                if answer.finished:
                    answer = self._checked(answer, request, wrapped)
                    answer = replace(answer, timing=Timing(total=time.monotonic() - started))
                on_output(answer)
        except openai.APIConnectionError as error:
            cause = "did not answer in time" if isinstance(error, openai.APITimeoutError) else "cannot be reached"
            on_failure(_because(f"{self._address} {cause}: {error.__cause__ or error}", error))
        except openai.OpenAIError as error:
            on_failure(_because(f"{self._address} refused the request: {error}", error))
        except Exception as error:
            on_failure(error)

    def _answers(self, fields: dict[str, Any], timeout: float | None) -> Iterator[RequestOutput]:
        """The answer so far; several times while streaming."""
        if timeout is not None:
            fields = {**fields, "timeout": timeout}
        response = self._create(fields)
        if not fields.get("stream"):
            outputs = tuple(_completion(choice) for choice in response.choices)
            yield RequestOutput(response.id, (), outputs, True, self._counted(response.usage))
            return
        text, reason, usage, name = "", None, Usage(), ""
        with response if hasattr(response, "__exit__") else nullcontext():
            for chunk in response:
                name = chunk.id
                if getattr(chunk, "usage", None) is not None:
                    usage = self._counted(chunk.usage)
                for choice in chunk.choices:
                    if self.is_chat_model and getattr(choice.delta, "refusal", None):
                        raise BackendError(f"the model refused to answer: {choice.delta.refusal}")
                    text += (choice.delta.content if self.is_chat_model else choice.text) or ""
                    reason = choice.finish_reason or reason
                yield RequestOutput(name, (), (CompletionOutput(0, text, ()),), False)
        yield RequestOutput(name, (), (CompletionOutput(0, text, (), _reason(reason)),), True, usage)

    def _counted(self, usage: Any) -> Usage:
        if usage is None:  # some servers do not count
            return Usage()
        with self._lock:
            self.token_usage.prompt_tokens += usage.prompt_tokens
            self.token_usage.completion_tokens += usage.completion_tokens
        cached = getattr(getattr(usage, "prompt_tokens_details", None), "cached_tokens", None) or 0
        return Usage(usage.prompt_tokens, cached, usage.completion_tokens)

    def _checked(self, answer: RequestOutput, request: GenerateRequest, wrapped: bool) -> RequestOutput:
        """The answer, if it is JSON where JSON was asked for. Errors: `BackendError`."""
        if request.constraint is None:
            return answer
        outputs = []
        for one in answer.outputs:
            try:
                value = json.loads(one.text)
            except ValueError as error:
                cut = one.finish_reason == "length"
                why = f"it was cut at max_tokens={request.sampling.max_tokens}; raise that" if cut else "see its text"
                raise BackendError(f"{self.model_name} answered with what is no JSON ({why}): {one.text!r}") from error
            outputs.append(replace(one, text=json.dumps(value[_WRAPPED], ensure_ascii=False)) if wrapped else one)
        return replace(answer, outputs=tuple(outputs))

    def check_constraint(self, spec: Spec, text: str = "", complete: bool = False) -> None:
        """Only whether it can be sent. Errors: `UnsupportedByBackendError`."""
        _response_format(spec)
        if text:
            raise UnsupportedByBackendError(
                "OpenAI's API holds the constraint of a whole answer, not of a block with text of the program; "
                "put the constraint on the gen, or use the local engine"
            )

    def encode(self, text: str, special_tokens: bool = True) -> tuple[int, ...]:
        raise UnsupportedByBackendError(f"{self.model_name} tells no token ids; use the local engine")

    def decode(self, token_ids: Sequence[int]) -> str:
        raise UnsupportedByBackendError(f"{self.model_name} tells no token ids; use the local engine")

    def chat_template(self) -> ChatTemplate:
        return self._template

    def flush_cache(self) -> None:
        raise UnsupportedByBackendError("the cache of OpenAI's API cannot be flushed")

    def server_info(self) -> Mapping[str, Any]:
        return {"model_path": self.model_name, "base_url": self._address}

    def shutdown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()


class _Pending:
    """A request at the API. Aborting it drops its answer, and ends a stream at its next piece."""

    def __init__(self) -> None:
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def _because(message: str, error: Exception) -> BackendError:
    failure = BackendError(message)
    failure.__cause__ = error
    return failure


def _fields(model_name: str, request: GenerateRequest) -> dict[str, Any]:
    """How to draw, by the API's names. Errors: `UnsupportedByBackendError` for what it has no name for."""
    sampling = request.sampling
    refused = [name for name, neutral in _REFUSED.items() if getattr(sampling, name) not in neutral]
    if refused:
        raise UnsupportedByBackendError(
            f"OpenAI's API has no {' and no '.join(refused)}; leave it out, or use the local engine or RuntimeEndpoint"
        )
    if sampling.max_tokens == 0:
        raise UnsupportedByBackendError("OpenAI's API cannot compute a prompt ahead; leave out cache()")
    length = "max_completion_tokens" if model_name.startswith(_REASONING_MODELS) else "max_tokens"
    fields: dict[str, Any] = {
        length: sampling.max_tokens,
        "n": sampling.n,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
        "logit_bias": {str(t): bias for t, bias in sampling.logit_bias.items()} if sampling.logit_bias else None,
    }
    if request.constraint is not None:
        fields["response_format"] = _response_format(request.constraint)
    return {name: value for name, value in fields.items() if value is not None}


def _response_format(spec: Spec) -> dict[str, Any]:
    """Errors: `UnsupportedByBackendError` for all but JSON."""
    if spec == Format("json"):
        return {"type": "json_object"}
    if not isinstance(spec, JsonSchema):
        hint = "for numbers and choices write type=int or type=Literal[...]; " if isinstance(spec, Regex) else ""
        raise UnsupportedByBackendError(
            f"OpenAI's API holds JSON Schema only, not {type(spec).__name__}: {hint}"
            "give type= or json_schema=, a check= that draws again, or use the local engine"
        )
    schema = json.loads(spec.schema)
    if _is_wrapped(spec):
        schema = {"type": "object", "properties": {_WRAPPED: schema}, "required": [_WRAPPED]}
        schema["additionalProperties"] = False
        inner = schema["properties"][_WRAPPED]
        if isinstance(inner, dict) and "$defs" in inner:
            schema["$defs"] = inner.pop("$defs")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def _is_wrapped(spec: Spec) -> bool:
    """Whether the schema is of no object: the API takes objects only, so the value is asked for as a member of one."""
    if not isinstance(spec, JsonSchema):
        return False
    schema = json.loads(spec.schema)
    return not (isinstance(schema, dict) and (schema.get("type") == "object" or "$ref" in schema))


def _completion(choice: Any) -> CompletionOutput:
    message = getattr(choice, "message", None)
    if message is not None and getattr(message, "refusal", None):
        raise BackendError(f"the model refused to answer: {message.refusal}")
    text = choice.text if message is None else message.content
    return CompletionOutput(choice.index, text or "", (), _reason(choice.finish_reason))


def _reason(reason: str | None) -> FinishReason:
    return "length" if reason == "length" else "abort" if reason == "content_filter" else "stop"
