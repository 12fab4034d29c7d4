"""The bodies of requests: OpenAI's fields, and ours beside them. Data only; strict, and unknown fields are errors.

`None` counts as not given, because clients send it so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_TOKENS = 2**31 - 1
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]{1,64}$")]
Stop = Annotated[str, Field(min_length=1, max_length=1024)]
Token = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
Seed = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
Priority = Annotated[int, Field(ge=-1000, le=1000)]
Salt = Annotated[str, Field(max_length=256)]


class Body(BaseModel):
    """Strict: `"5"` is no number, `1.0` no integer, NaN nothing at all."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class TextFormat(Body):
    type: Literal["text"]


class JsonObjectFormat(Body):
    type: Literal["json_object"]


class NamedSchema(Body):
    """strict changes nothing: the answer is valid under the schema either way."""

    name: Name
    schema_: dict[str, Any] | bool = Field(default_factory=dict, alias="schema")
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(Body):
    type: Literal["json_schema"]
    json_schema: NamedSchema


class RegexFormat(Body):
    type: Literal["regex"]
    regex: str


class GrammarFormat(Body):
    """Lark's notation, or EBNF where rules are written with `::=`."""

    type: Literal["grammar"]
    grammar: str


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | GrammarFormat, Field(discriminator="type")
]


class StreamOptions(Body):
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class GenerationBody(Body):
    """What chat and completions share."""

    model: Annotated[str, Field(max_length=1000)]
    n: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=32)] | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    max_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    response_format: ResponseFormat | None = None
    regex: str | None = None
    ebnf: str | None = None
    choices: Annotated[list[str], Field(max_length=10_000)] | None = None
    cache_salt: Salt | None = None
    priority: Priority | None = None
    top_k: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    stop_token_ids: Annotated[list[Token], Field(max_length=64)] | None = None
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None


class CompletionBody(GenerationBody):
    """`POST /v1/completions`"""

    prompt: str | list[Token] | list[str] | list[list[Token]]
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    best_of: Annotated[int, Field(ge=1)] | None = None
    suffix: None = None


class TextPart(Body):
    """Parts of other types, such as images, are refused: the engine runs text models."""

    type: Literal["text"]
    text: str


class FunctionCall(Body):
    name: Name
    arguments: str


class ToolCall(Body):
    id: str | None = None
    type: Literal["function"] = "function"
    index: int | None = None
    function: FunctionCall


class Message(Body):
    """A message of the conversation. name, refusal, annotations: taken and not used; audio: not supported."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    audio: None = None
    function_call: None = None


class Function(Body):
    """strict changes nothing: arguments are valid under `parameters` either way."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Body):
    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    name: Name


class NamedTool(Body):
    type: Literal["function"]
    function: NamedFunction


class ChatBody(GenerationBody):
    """`POST /v1/chat/completions`"""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    metadata: dict[str, str] | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    safety_identifier: str | None = None
    modalities: list[Literal["text"]] | None = None


class NativeSampling(Body):
    """`sampling_params` of `/generate`, by SGLang's names."""

    max_new_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    min_new_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=32)] | None = None
    stop_token_ids: Annotated[list[Token], Field(max_length=64)] | None = None
    stop_regex: Annotated[str, Field(max_length=256)] | Annotated[
        list[Annotated[str, Field(max_length=256)]], Field(max_length=32)
    ] | None = None  # fmt: skip
    ignore_eos: bool | None = None
    skip_special_tokens: bool | None = None
    no_stop_trim: bool | None = None
    sampling_seed: Seed | None = None
    logit_bias: Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], Field(max_length=1024)] | None = None
    json_schema: str | None = None
    regex: str | None = None
    ebnf: str | None = None


class NativeBody(Body):
    """`POST /generate`, by SGLang's names. Lists give one answer for each prompt."""

    text: str | list[str] | None = None
    input_ids: list[Token] | list[list[Token]] | None = None
    sampling_params: NativeSampling | list[NativeSampling] | None = None
    return_logprob: bool | None = None
    logprob_start_len: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    top_logprobs_num: Annotated[int, Field(ge=0, le=20)] | None = None
    return_text_in_logprobs: bool | None = None
    stream: bool | None = None
    rid: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    priority: Priority | None = None
    cache_salt: Salt | None = None
    extra_key: Salt | None = None


class TokenizeBody(Body):
    """`POST /tokenize`. add_special_tokens: with those that begin a text."""

    prompt: str
    model: str | None = None
    add_special_tokens: bool = True


class DetokenizeBody(Body):
    """`POST /detokenize`"""

    tokens: list[Token]
    model: str | None = None
