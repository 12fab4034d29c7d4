"""What every handler is given: the backend, the desk, the settings; and the way from common fields to a request."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from grammars.spec import Choice, Ebnf, JsonSchema, Regex, Spec
from runtime.api import RequestOutput, SamplingParams, Usage
from sgl_lite.backends.local import LocalBackend
from sgl_lite.constraints import checked_choices, from_grammar
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.desk import Desk
from sgl_lite.server.errors import ApiError, invalid
from sgl_lite.server.gate import Call
from sgl_lite.server.protocol import (
    GenerationBody,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    StructuralTagFormat,
    TextFormat,
)
from sgl_lite.server.structural_tags import structural_tag

Prompt: TypeAlias = str | tuple[int, ...]
ANY_OBJECT = JsonSchema('{"type": "object"}')

_SAMPLING = (
    "n", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty",
    "seed", "stop", "min_tokens", "stop_token_ids", "ignore_eos", "skip_special_tokens",
)  # fmt: skip
"""Fields that `SamplingParams` has by the same name."""


@dataclass(frozen=True, slots=True)
class Service:
    backend: LocalBackend
    desk: Desk
    config: ServerConfig
    created: int
    """When it began to serve: Unix time."""

    def check_model(self, name: str | None) -> None:
        if name is not None and name != self.config.model_name:
            message = f"there is no model {name[:100]!r} here; this server has {self.config.model_name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    def check_prompt(self, text: str, param: str) -> None:
        if len(text) > self.config.max_prompt_chars:
            message = f"{len(text)} characters are more than the {self.config.max_prompt_chars} that this server takes"
            raise invalid(param, message, "prompt_too_long")

    def prompts(self, given: Any, param: str) -> tuple[list[Prompt], bool]:
        """The prompts of a field: text, token ids, or a list of either; and whether it was a list."""
        one = isinstance(given, str) or bool(given and isinstance(given[0], int))
        prompts = [prompt if isinstance(prompt, str) else tuple(prompt) for prompt in ([given] if one else given)]
        if not 1 <= len(prompts) <= self.config.max_prompts:
            raise invalid(param, f"there must be 1 to {self.config.max_prompts} prompts, not {len(prompts)}")
        for prompt in prompts:
            if isinstance(prompt, str):
                self.check_prompt(prompt, param)
        return prompts, not one

    def check_n(self, n: int | None, param: str = "n") -> None:
        if n is not None and n > self.config.max_n:
            raise invalid(param, f"{n} is more than the {self.config.max_n} that this server gives")

    def sampling(self, body: GenerationBody, max_tokens: int, **values: Any) -> SamplingParams:
        """The sampling parameters of a body over the model's own defaults. values: besides those of the body."""
        self.check_n(body.n)
        given = {name: value for name in _SAMPLING if (value := getattr(body, name)) is not None}
        bias = token_biases(body.logit_bias)
        defaults = self.backend.engine.default_sampling
        return SamplingParams(**{**defaults, **given, "max_tokens": max_tokens, "logit_bias": bias, **values})

    def constraint(self, body: GenerationBody) -> tuple[Spec | None, str | None]:
        """The constraint of a body, and the field that it came from."""
        specs: dict[str, Spec] = {}
        if body.response_format is not None and not isinstance(body.response_format, TextFormat):
            specs["response_format"] = self._of_format(body.response_format)
        if body.regex is not None:
            specs["regex"] = Regex(self.checked("regex", body.regex))
        if body.ebnf is not None:
            specs["ebnf"] = Ebnf(self.checked("ebnf", body.ebnf))
        if body.choices is not None:
            specs["choices"] = Choice(checked_choices(self.checked("choices", body.choices)))
        if len(specs) > 1:
            message = f"{' and '.join(specs)} are given together; an answer has one constraint"
            raise ApiError(400, message, param=list(specs)[1], code="invalid_value")
        return next(((spec, param) for param, spec in specs.items()), (None, None))

    def _of_format(self, asked: ResponseFormat) -> Spec:
        match asked:
            case JsonObjectFormat():
                return ANY_OBJECT if asked.value is None else self.schema(asked.value, "response_format.value")
            case JsonSchemaFormat():
                return self.schema(asked.json_schema.schema_, "response_format.json_schema.schema")
            case RegexFormat():
                return Regex(self.checked("response_format.regex", asked.regex))
            case GrammarFormat():
                return from_grammar(self.checked("response_format.grammar", asked.grammar)).spec
            case StructuralTagFormat():
                fields = asked.model_dump(by_alias=True, exclude_none=True)
                return structural_tag(fields, "response_format", self.checked)
        raise AssertionError(f"no constraint for {asked!r}")

    def schema(self, schema: Mapping[str, Any] | bool, param: str) -> JsonSchema:
        return JsonSchema(self.checked(param, schema))

    def checked(self, param: str, constraint: Any) -> Any:
        """The same constraint, if it is neither too long nor too deep."""
        size = len(constraint if isinstance(constraint, str) else json.dumps(constraint))
        if size > self.config.max_constraint_bytes:
            message = f"its {size} bytes are more than the {self.config.max_constraint_bytes} that this server takes"
            raise invalid(param, message, "constraint_too_large")
        if _deeper_than(constraint, self.config.max_constraint_depth):
            message = f"it nests deeper than the {self.config.max_constraint_depth} levels that this server takes"
            raise invalid(param, message, "constraint_too_large")
        return constraint

    def head(self, call: Call, kind: str, prefix: str) -> dict[str, Any]:
        """What every answer and every piece of it begins with."""
        fingerprint = self.config.revision or self.config.model_name
        return {
            "id": f"{prefix}-{call.request_id}",
            "object": kind,
            "created": int(time.time()),
            "model": self.config.model_name,
            "system_fingerprint": fingerprint,
        }


def token_biases(biases: Mapping[str, float] | None) -> dict[int, float] | None:
    """Errors: `ApiError` for keys that are no token ids; the engine knows which ids there are."""
    for key in biases or ():
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise invalid("logit_bias", f"{key[:100]!r} is no token id")
    return {int(key): value for key, value in biases.items()} if biases else None


def usage_of(outputs: list[RequestOutput], call: Call) -> dict[str, Any]:
    """OpenAI's usage of all requests of a call. It also goes to the log."""
    usages: list[Usage] = [output.usage for output in outputs]
    prompt, completion = sum(u.prompt_tokens for u in usages), sum(u.completion_tokens for u in usages)
    cached, forced = sum(u.cached_tokens for u in usages), sum(u.forced_tokens for u in usages)
    call.figures.update(prompt_tokens=prompt, completion_tokens=completion, cached_tokens=cached, forced_tokens=forced)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"forced_tokens": forced},
    }


def _deeper_than(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    if levels == 0:
        return bool(inner)
    return any(_deeper_than(one, levels - 1) for one in inner)
