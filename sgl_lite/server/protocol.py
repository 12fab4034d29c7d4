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
    """value: a schema, as `huggingface_hub`'s client sends one."""

    type: Literal["json_object"]
    value: dict[str, Any] | None = None


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


class Structure(Body):
    begin: str
    schema_: dict[str, Any] | bool = Field(alias="schema")
    end: str


class StructuralTagFormat(Body):
    """Free text with tagged parts: structures and triggers, or a nested format."""

    type: Literal["structural_tag"]
    structures: Annotated[list[Structure], Field(max_length=256)] | None = None
    triggers: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=256)] | None = None
    format: dict[str, Any] | None = None


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat | RegexFormat | GrammarFormat | StructuralTagFormat,
    Field(discriminator="type"),
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
    type: Literal["text"]
    text: str


class ImageUrl(Body):
    """url: a data: URL; http(s) ones if the server fetches. detail: taken and not used."""

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(Body):
    """An image, for models that see."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = TextPart | ImagePart


class FunctionCall(Body):
    name: Name
    arguments: str


class ToolCall(Body):
    id: str | None = None
    type: Literal["function"] = "function"
    index: int | None = None
    function: FunctionCall


class Message(Body):
    """A message of the conversation. name, refusal, annotations, reasoning_content: taken and not used; audio: not
    supported.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
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
    continue_final_message: bool | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: Annotated[dict[str, Any], Field(max_length=32)] | None = None
    separate_reasoning: bool | None = None
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


class TgiGrammar(Body):
    """value: a pattern, or a schema as object or text; of `json_schema` also with its name around it."""

    type: Literal["json", "json_schema", "regex"]
    value: dict[str, Any] | bool | str


class TgiParameters(Body):
    """`parameters` of text-generation-inference. watermark, typical_p, truncate, adapter_id: not supported."""

    max_new_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=100)] | None = None
    top_k: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(gt=0, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    best_of: Annotated[int, Field(ge=1)] | None = None
    stop: Annotated[list[Stop], Field(max_length=32)] | None = None
    stop_sequences: Annotated[list[Stop], Field(max_length=32)] | None = None
    return_full_text: bool | None = None
    details: bool | None = None
    decoder_input_details: bool | None = None
    grammar: TgiGrammar | None = None
    watermark: Literal[False] | None = None
    typical_p: None = None
    truncate: None = None
    top_n_tokens: None = None
    adapter_id: None = None


class NativeBody(Body):
    """`POST /generate`, by SGLang's names; `inputs` and `parameters` are text-generation-inference's. Lists give one
    answer for each prompt.
    """

    inputs: str | None = None
    parameters: TgiParameters | None = None
    text: str | list[str] | None = None
    input_ids: list[Token] | list[list[Token]] | None = None
    image_data: str | list[str] | list[list[str]] | None = None
    sampling_params: NativeSampling | list[NativeSampling] | None = None
    return_logprob: bool | None = None
    logprob_start_len: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] | None = None
    top_logprobs_num: Annotated[int, Field(ge=0, le=20)] | None = None
    return_text_in_logprobs: bool | None = None
    return_token_details: bool | None = None
    stream: bool | None = None
    rid: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    priority: Priority | None = None
    cache_salt: Salt | None = None
    extra_key: Salt | None = None


class EmbeddingBody(Body):
    """`POST /v1/embeddings`"""

    model: Annotated[str, Field(max_length=1000)]
    input: str | list[Token] | list[str] | list[list[Token]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    user: str | None = None


class TokenizeBody(Body):
    """`POST /tokenize`. add_special_tokens: with those that begin a text."""

    prompt: str
    model: str | None = None
    add_special_tokens: bool = True


class DetokenizeBody(Body):
    """`POST /detokenize`"""

    tokens: list[Token]
    model: str | None = None
