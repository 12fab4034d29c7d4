"""A server that speaks SGLang's `/generate`, as a backend.

Its grammar begins at the first token that it writes, so it can hold the constraint of a gen, but not of a block with
text before the gen, nor a budget. What it cannot do is an error, never left out.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from grammars.errors import ConformError
from grammars.spec import Choice, Ebnf, Format, JsonSchema, Literal, Regex, Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput, SamplingParams, Timing, TokenLogprob, Usage
from runtime.errors import RequestAborted
from sgl_lite.backends.base import Capabilities, ChatTemplate, Conversation, OnFailure, OnOutput
from sgl_lite.chat.templates import templates
from sgl_lite.errors import ArgumentError, BackendError, UnsupportedByBackendError
from sgl_lite.marks import data_url

CONNECTIONS = 64
_RENAMED = {"max_tokens": "max_new_tokens", "min_tokens": "min_new_tokens", "seed": "sampling_seed"}
_SAME = (
    "n", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
    "stop", "stop_token_ids", "stop_regex", "ignore_eos", "skip_special_tokens",
)  # fmt: skip


class RuntimeEndpoint:
    """SGLang's name and arguments. base_url: "http://localhost:30000". timeout: seconds for one answer.

    chat_template_name: a built-in one; by default that of the model's path.
    """

    capabilities = Capabilities(images=True)

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        verify: str | None = None,
        chat_template_name: str | None = None,
        timeout: float = 600.0,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ArgumentError(f"base_url={base_url!r} must begin with http:// or https://")
        if verify is not None:
            raise ArgumentError("verify= is not supported; set SSL_CERT_FILE in the environment instead")
        self.base_url, self._timeout = base_url.rstrip("/"), timeout
        self._headers = {"Content-Type": "application/json"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._template_name = chat_template_name
        self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="sgl-lite-http")

    @cached_property
    def model_name(self) -> str:
        return str(self._call("/model_info")["model_path"])

    def generate(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
        stream: bool = False,
    ) -> _Pending:
        body = {**_body(request), "stream": stream and request.sampling.n == 1}
        if request.images:
            body |= self._with_images(request)
        pending = _Pending(request)
        self._pool.submit(self._answer, body, pending, on_output, on_failure)
        return pending

    def _with_images(self, request: GenerateRequest) -> dict[str, Any]:
        """The prompt with the model's text for an image in each one's place, as SGLang has it, and the images."""
        if not isinstance(request.prompt, str):
            raise UnsupportedByBackendError("RuntimeEndpoint sends images with text only, not with token ids")
        text, end = "", 0
        for one in request.images:
            text += request.prompt[end : one.at] + self._image_text
            end = one.at
        return {"text": text + request.prompt[end:], "image_data": [data_url(one.image) for one in request.images]}

    @cached_property
    def _image_text(self) -> str:
        """Our own server says it; of SGLang's the chat template knows."""
        return str(self._call("/model_info").get("image_text") or self.chat_template().image_text)

    def _answer(self, body: dict[str, Any], pending: _Pending, on_output: OnOutput, on_failure: OnFailure) -> None:
        try:
            last = None
            for answer in self._answers(body):
                if pending.aborted:
                    raise RequestAborted("the request was aborted")
                if last is not None:
                    on_output(_output(last, finished=False))
                last = answer
            if last is None:
                raise BackendError(f"{self.base_url} gave no answer")
            if pending.aborted:
                raise RequestAborted("the request was aborted")
            on_output(_output(last, finished=True))
        except Exception as error:
            on_failure(error)

    def _answers(self, body: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
        """The answers so far, one for each of n; several times while streaming."""
        if not body["stream"]:
            answer = self._call("/generate", body)
            yield answer if isinstance(answer, list) else [answer]
            return
        with self._open("/generate", body) as response:
            for line in response:
                data = line.decode().strip().removeprefix("data:").strip()
                if data and data != "[DONE]":
                    answer = json.loads(data)
                    if "error" in answer:
                        raise BackendError(f"{self.base_url}: {answer['error']}")
                    yield [answer]

    def check_constraint(self, spec: Spec, text: str = "", complete: bool = False) -> None:
        """Only what can be told without the server: whether it can be sent, and texts of choices and patterns."""
        field, value = _constraint_field(spec)
        if text and field != "regex":
            raise UnsupportedByBackendError(
                "RuntimeEndpoint cannot tell whether text of a constrain block conforms; put the constraint on the gen"
            )
        if complete and not re.fullmatch(value, text):
            raise ConformError(text.encode(), len(text.encode()), "more text: it is not complete")

    def encode(self, text: str, special_tokens: bool = True) -> tuple[int, ...]:
        answer = self._call("/v1/tokenize", {"prompt": text, "add_special_tokens": special_tokens})
        return tuple(answer["tokens"])

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self._call("/v1/detokenize", {"tokens": list(token_ids)})["text"])

    def chat_template(self) -> ChatTemplate:
        return templates.get(self._template_name) if self._template_name else templates.of_model(self.model_name)

    def flush_cache(self) -> None:
        self._call("/flush_cache", {}, as_json=False)

    def server_info(self) -> Mapping[str, Any]:
        info: Mapping[str, Any] = self._call("/server_info")
        return info

    def shutdown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _call(self, path: str, body: dict[str, Any] | None = None, as_json: bool = True) -> Any:
        with self._open(path, body) as response:
            data = response.read()
        return json.loads(data) if as_json else data

    def _open(self, path: str, body: dict[str, Any] | None) -> Any:
        """Errors: `BackendError` that says what the server said."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base_url + path, data, self._headers)
        try:
            return urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:500]
            raise BackendError(f"{self.base_url}{path} answered {error.code}: {said}") from error
        except OSError as error:
            raise BackendError(f"{self.base_url} cannot be reached: {error}; is the server running?") from error


class _Pending:
    """A request at the server. Aborting it only drops its answer: the server's own time limit ends the work."""

    def __init__(self, request: GenerateRequest) -> None:
        self.request, self.aborted = request, False

    def abort(self) -> None:
        self.aborted = True


def _body(request: GenerateRequest) -> dict[str, Any]:
    sampling = request.sampling
    params = {name: _plain(getattr(sampling, name)) for name in _SAME}
    params |= {theirs: getattr(sampling, ours) for ours, theirs in _RENAMED.items()}
    if sampling.logit_bias:
        params["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias.items()}
    if request.constraint is not None:
        if request.constraint_prefix:
            raise UnsupportedByBackendError(
                "SGLang's grammar begins at the first new token, so text of a constrain block cannot stand before its "
                "gen; put the constraint on the gen, or use the local engine"
            )
        field, value = _constraint_field(request.constraint)
        params[field] = value
    body: dict[str, Any] = {"sampling_params": {k: v for k, v in params.items() if v is not None}}
    body["text" if isinstance(request.prompt, str) else "input_ids"] = _plain(request.prompt)
    return body | _scores_wanted(sampling)


def _scores_wanted(sampling: SamplingParams) -> dict[str, Any]:
    if sampling.logprobs is None and sampling.prompt_logprobs is None:
        return {}
    wanted: dict[str, Any] = {
        "return_logprob": True,
        "top_logprobs_num": max(sampling.logprobs or 0, sampling.prompt_logprobs or 0),
    }
    if sampling.prompt_logprobs is not None:
        wanted["logprob_start_len"] = sampling.prompt_logprobs_start
    return wanted


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _constraint_field(spec: Spec) -> tuple[str, str]:
    """Errors: `UnsupportedByBackendError` for what the server has no field for."""
    match spec:
        case Regex(pattern, 0, "python"):
            return "regex", pattern
        case Literal(text):
            return "regex", re.escape(text)
        case Choice(options) if all(isinstance(option, str) for option in options):
            return "regex", "(" + "|".join(re.escape(str(option)) for option in options) + ")"
        case JsonSchema():
            return "json_schema", spec.schema
        case Format("json"):
            return "json_schema", '{"type": "object"}'
        case Ebnf(grammar, "root"):
            return "ebnf", grammar
    raise UnsupportedByBackendError(
        f"SGLang's server takes regex, JSON Schema and EBNF, not {type(spec).__name__}; use the local engine"
    )


def _output(answers: list[dict[str, Any]], finished: bool) -> RequestOutput:
    meta = answers[0]["meta_info"]
    scores = meta.get("input_token_logprobs")
    return RequestOutput(
        request_id=str(meta.get("id", "")),
        prompt_token_ids=(),
        outputs=tuple(_completion(index, answer) for index, answer in enumerate(answers)),
        finished=finished,
        usage=Usage(meta.get("prompt_tokens", 0), meta.get("cached_tokens", 0), meta.get("completion_tokens", 0)),
        timing=Timing(total=meta.get("e2e_latency", 0.0)),
        prompt_logprobs=None if scores is None else tuple(map(_token, scores)),
    )


def _completion(index: int, answer: dict[str, Any]) -> CompletionOutput:
    meta = answer["meta_info"]
    reason = meta.get("finish_reason") or {}
    scores = meta.get("output_token_logprobs")
    return CompletionOutput(
        index,
        answer["text"],
        tuple(answer.get("output_ids", ())),
        reason.get("type"),
        reason.get("matched"),
        None if scores is None else tuple(t for t in map(_token, scores) if t is not None),
    )


def _token(entry: Sequence[Any]) -> TokenLogprob | None:
    return None if entry[0] is None else TokenLogprob(int(entry[1]), float(entry[0]))
