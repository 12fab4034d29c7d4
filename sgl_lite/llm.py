"""Offline batches with vLLM's names: `LLM(model=...).generate(prompts, SamplingParams(...))`, outputs in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeAlias

from grammars.spec import Spec
from runtime import api
from runtime.api import GenerateRequest, SamplingParams, Timing, TokenLogprob, Usage
from sgl_lite.backends.base import Message
from sgl_lite.backends.local import Engine, LocalBackend
from sgl_lite.constraints import Constraint, constraint_of
from sgl_lite.errors import ArgumentError
from sgl_lite.progress import progress

Prompt: TypeAlias = str | Sequence[int] | Mapping[str, Any]
"""Text, token ids, `{"prompt": text}` or `{"prompt_token_ids": [...]}`."""


@dataclass(frozen=True, slots=True)
class CompletionOutput:
    """One answer. cumulative_logprob and logprobs are there if `SamplingParams.logprobs` was set."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: str | None
    stop_reason: str | int | None
    logprobs: tuple[TokenLogprob, ...] | None
    constraint: Constraint | None = None

    @property
    def cumulative_logprob(self) -> float | None:
        return None if self.logprobs is None else sum(token.logprob for token in self.logprobs)

    def parsed(self) -> Any:
        """The text as what the constraint says it is. Errors: `ArgumentError` without one."""
        if self.constraint is None:
            raise ArgumentError(
                "nothing to read the text by; give generate() type=, json_schema= or another constraint"
            )
        return self.constraint.parse(self.text)


@dataclass(frozen=True, slots=True)
class RequestOutput:
    """A prompt and its answers. `prompt` is None where token ids were given."""

    request_id: str
    prompt: str | None
    prompt_token_ids: tuple[int, ...]
    outputs: tuple[CompletionOutput, ...]
    finished: bool
    usage: Usage
    timing: Timing
    prompt_logprobs: tuple[TokenLogprob | None, ...] | None = None

    @property
    def num_cached_tokens(self) -> int:
        return self.usage.cached_tokens


class LLM:
    """A model for offline use.

    model:                  folder or Hugging Face id; None: the embedded model.
    tensor_parallel_size:   1; this engine runs on one device.
    gpu_memory_utilization: share of the device's memory for weights and KV.
    max_num_seqs:           requests that may run in one step.
    max_model_len, seed:    vLLM's names for the engine's context_length and random_seed.
    engine:                 any other setting of `Engine`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        tokenizer: str | None = None,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_num_seqs: int = 32,
        max_model_len: int | None = None,
        seed: int = 0,
        **engine: Any,
    ) -> None:
        if tensor_parallel_size != 1:
            raise ArgumentError(f"tensor_parallel_size={tensor_parallel_size}: this engine runs on one device; use 1")
        self.engine = Engine(
            model_path=model,
            tokenizer_path=tokenizer,
            gpu_memory_utilization=gpu_memory_utilization,
            max_num_seqs=max_num_seqs,
            context_length=max_model_len,
            random_seed=seed,
            **engine,
        )
        self._backend = LocalBackend.of(self.engine)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
        *,
        json_schema: Any = None,
        regex: str | None = None,
        choices: Sequence[str] | None = None,
        grammar: str | Spec | None = None,
        format: str | None = None,
        type: Any = None,
    ) -> list[RequestOutput]:
        """An output for each prompt, in order. One constraint, if given, holds for all; its value is `output.parsed()`.

        sampling_params: for all, or one for each prompt. use_tqdm: show how many are done.
        Errors: those of the first prompt that cannot run; none is left running.
        """
        constraint = constraint_of(
            json_schema=json_schema, regex=regex, choices=choices, grammar=grammar, format=format, type=type
        )
        many: list[Any] = [prompts] if _is_one(prompts) else list(prompts)
        params = _each(sampling_params, len(many))
        requests = [
            GenerateRequest(prompt=_prompt(one), sampling=p, constraint=constraint.spec if constraint else None)
            for one, p in zip(many, params, strict=True)
        ]
        return self._run(requests, use_tqdm, constraint)

    def chat(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        use_tqdm: bool = True,
        **constraint: Any,
    ) -> list[RequestOutput]:
        """The model's next message in one conversation, or in each of several. `constraint`: as in `generate`."""
        conversations = [messages] if not messages or isinstance(messages[0], Mapping) else list(messages)
        template = self._backend.chat_template()
        prompts = [
            {"prompt_token_ids": self._backend.encode(template.render(one, add_generation_prompt=True), False)}  # type: ignore[arg-type]
            for one in conversations
        ]
        return self.generate(prompts, sampling_params, use_tqdm, **constraint)

    def get_tokenizer(self) -> Any:
        """The tokenizer of `transformers`."""
        return self.engine.tokenizer

    def shutdown(self) -> None:
        self.engine.shutdown()

    def __enter__(self) -> LLM:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()

    def _run(
        self, requests: Sequence[GenerateRequest], use_tqdm: bool, constraint: Constraint | None
    ) -> list[RequestOutput]:
        pending = []
        bar = progress("generate", len(requests)) if use_tqdm else nullcontext(lambda: None)
        try:
            with bar as advance:
                for request in requests:
                    pending.append(self.engine.submit(request))
                    pending[-1].add_done_callback(_ignoring(advance))
                return [
                    _output(request, one.result(), constraint) for request, one in zip(requests, pending, strict=True)
                ]
        except BaseException:
            for one in pending:
                one.abort()
            raise


def _ignoring(call: Callable[[], None]) -> Callable[[Any], None]:
    return lambda _: call()


def _is_one(prompts: Any) -> bool:
    return isinstance(prompts, str | Mapping) or (len(prompts) > 0 and isinstance(prompts[0], int))


def _prompt(prompt: Prompt) -> str | tuple[int, ...]:
    """Errors: `ArgumentError`."""
    given: Any = prompt
    if isinstance(prompt, Mapping):
        given = prompt.get("prompt_token_ids", prompt.get("prompt"))
    if isinstance(given, str):
        return given
    if isinstance(given, Sequence) and all(isinstance(token, int) for token in given):
        return tuple(given)
    raise ArgumentError(f"a prompt is a text, token ids or {{'prompt_token_ids': [...]}}, not {prompt!r}")


def _each(params: SamplingParams | Sequence[SamplingParams] | None, count: int) -> Sequence[SamplingParams]:
    if params is None or isinstance(params, SamplingParams):
        return [params or SamplingParams()] * count
    if len(params) != count:
        raise ArgumentError(f"{len(params)} sampling_params for {count} prompts; give one for all, or one each")
    return params


def _output(request: GenerateRequest, output: api.RequestOutput, constraint: Constraint | None) -> RequestOutput:
    answers = tuple(
        CompletionOutput(o.index, o.text, o.token_ids, o.finish_reason, o.stop_reason, o.logprobs, constraint)
        for o in output.outputs
    )
    return RequestOutput(
        output.request_id,
        request.prompt if isinstance(request.prompt, str) else None,
        output.prompt_token_ids,
        answers,
        output.finished,
        output.usage,
        output.timing,
        output.prompt_logprobs,
    )
