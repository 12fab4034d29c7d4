"""The engine in this process as a backend: the only door from the language to the runtime."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from grammars.errors import ConformError
from grammars.spec import Spec
from runtime.api import Embedding, GenerateRequest, RequestOutput
from runtime.engine import Engine
from runtime.request import Request
from sgl_lite.backends.base import (
    Capabilities,
    ChatTemplate,
    Conversation,
    Message,
    OnFailure,
    OnOutput,
    TokenizedText,
)
from sgl_lite.backends.retokenizer import Retokenizer
from sgl_lite.chat.images import with_images
from sgl_lite.chat.messages import TokenizerTemplate
from sgl_lite.chat.templates import templates
from sgl_lite.errors import ArgumentError

__all__ = ["Engine", "LocalBackend"]

_FIXED_TEMPLATE_OPTIONS = frozenset(
    (
        "conversation", "messages", "tokenize", "add_generation_prompt", "continue_final_message", "chat_template",
        "tools", "documents", "padding", "truncation", "max_length", "return_tensors", "return_dict",
        "return_assistant_tokens_mask", "tokenizer_kwargs", "processor_kwargs",
    )
)  # fmt: skip
"""Arguments of `apply_chat_template` that are not variables of the template."""


class LocalBackend:
    """Sends what programs ask for to an engine. The engine is the caller's: shutting it down ends this too."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @classmethod
    def of(cls, engine: Engine) -> LocalBackend:
        """The backend of an engine: always the same one."""
        backend = _BACKENDS.get(engine)
        if backend is None:
            backend = _BACKENDS[engine] = cls(engine)
        return backend

    @classmethod
    def embedded(cls) -> LocalBackend:
        """The embedded model."""
        return cls.of(Engine())

    @cached_property
    def capabilities(self) -> Capabilities:
        support = self.engine.image_support
        return Capabilities(images=support is not None, reserved=support.reserved if support else ())

    @property
    def model_name(self) -> str:
        return str(self.engine.model_name)

    def generate(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
        stream: bool = False,
    ) -> Request:
        """See `Backend.generate`. Callbacks come from the engine's thread."""

        def on_end(ended: Request) -> None:
            if ended.error is not None:
                on_failure(ended.error)
            elif ended.latest is not None:
                on_output(ended.latest)

        if conversation is not None and isinstance(request.prompt, str) and not request.images:
            request = replace(request, prompt=self.encode(request.prompt, special_tokens=False))
        pending = self.engine.submit(request, on_output=_unfinished(on_output) if stream else None)
        pending.add_done_callback(on_end)
        return pending

    def check_constraint(self, spec: Spec, text: str = "", complete: bool = False) -> None:
        matcher = self.engine.compile_constraint(spec).matcher(prefix=text)
        if complete and not matcher.is_accepting():
            data = text.encode()
            raise ConformError(data, len(data), "more text: it is not complete")

    def encode(self, text: str, special_tokens: bool = True) -> tuple[int, ...]:
        if special_tokens:
            return tuple(self.engine.encode(text))
        return tuple(self.engine.tokenizer.encode(text, add_special_tokens=False))

    def tokenized(self, text: str, special_tokens: bool, before: TokenizedText | None) -> TokenizedText:
        return self._retokenizer.tokenized(text, special_tokens, before)

    @cached_property
    def _retokenizer(self) -> Retokenizer:
        return Retokenizer(self.engine.tokenizer, self.encode)

    def decode(self, token_ids: Sequence[int]) -> str:
        return str(self.engine.decode(token_ids))

    def embed(self, prompt: str | tuple[int, ...]) -> Embedding:
        return self.engine.embed(prompt)

    def token_ends(self, text: str, special_tokens: bool = True) -> list[int]:
        encoded = self.engine.tokenizer(text, add_special_tokens=special_tokens, return_offsets_mapping=True)
        return [int(end) for _, end in encoded["offset_mapping"]]

    def mask_widths(self, request: GenerateRequest, token_ids: Sequence[int]) -> list[int]:
        if request.constraint is None:
            return []
        grammar = self.engine.compile_constraint(request.constraint)
        matcher = grammar.matcher(request.sampling.max_tokens, request.constraint_prefix)
        row = np.zeros(grammar.vocabulary.mask_width, np.int32)
        widths: list[int] = []
        forced = deque(matcher.forced_tokens())
        for token in token_ids:
            matcher.fill_mask(row)
            widths.append(1 if forced else int(np.bitwise_count(row.view(np.uint32)).sum()))
            if not matcher.advance(token):
                break  # the token of a stop, which belongs to no text
            if forced:
                forced.popleft()
            if not forced:
                forced.extend(matcher.forced_tokens())
        return widths

    def chat_template(self) -> ChatTemplate:
        return self._chat_template

    def chat_template_with(self, options: Mapping[str, Any]) -> ChatTemplate:
        """The chat template with variables of its own, as `apply_chat_template` takes them: `enable_thinking=False`.

        Errors: `ArgumentError` for names that are not the template's to set, and for a model without a template.
        """
        if not options:
            return self.chat_template()
        fixed = sorted(options.keys() & _FIXED_TEMPLATE_OPTIONS)
        if fixed:
            raise ArgumentError(f"{fixed[0]} cannot be set here")
        return self._make_chat_template(options)

    @cached_property
    def _chat_template(self) -> ChatTemplate:
        return self._make_chat_template({})

    def _make_chat_template(self, options: Mapping[str, Any]) -> ChatTemplate:
        tokenizer = self.engine.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            if options:
                raise ArgumentError(f"the tokenizer of {self.model_name} has no chat template that takes variables")
            return templates.of_model(self.model_name)

        def apply(messages: Sequence[Message], add_generation_prompt: bool) -> str:
            return str(
                tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=add_generation_prompt, **options
                )
            )

        support = self.engine.image_support
        return TokenizerTemplate(apply) if support is None else with_images(apply, support)

    def flush_cache(self) -> None:
        self.engine.flush_cache()

    def server_info(self) -> Mapping[str, Any]:
        return {"model_path": self.model_name, **dict(self.engine.stats())}

    def shutdown(self) -> None:
        self.engine.shutdown()


def _unfinished(on_output: OnOutput) -> OnOutput:
    """Hands on all outputs but the last, which comes with the end of the request."""

    def on_part(output: RequestOutput) -> None:
        if not output.finished:
            on_output(output)

    return on_part


_BACKENDS: weakref.WeakKeyDictionary[Engine, LocalBackend] = weakref.WeakKeyDictionary()
