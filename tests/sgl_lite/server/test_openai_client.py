"""The official client, unmodified, against a live server."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import jsonschema
import openai
import pytest
from pydantic import BaseModel

from sgl_lite.backends.local import LocalBackend
from tests.sgl_lite.server.conftest import KEY, MODEL

ASK: Any = [{"role": "user", "content": "Generate profile for Ada:"}]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["C", "F"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather now", "parameters": CITY}},
    {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}},
]


class Person(BaseModel):
    name: str
    age: int
    mood: Literal["good", "bad"]


def test_models(client: openai.OpenAI) -> None:
    (model,) = client.models.list()
    assert model.id == MODEL and model.revision == "r1"  # type: ignore[attr-defined]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


def test_chat(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(model=MODEL, messages=ASK, max_completion_tokens=5, temperature=0)
    (choice,) = done.choices
    assert choice.message.role == "assistant" and choice.message.content
    assert choice.finish_reason in ("stop", "length") and choice.logprobs is None
    assert done.usage is not None and 0 < done.usage.completion_tokens <= 5
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    again = client.chat.completions.create(model=MODEL, messages=ASK, max_tokens=5, temperature=0)
    assert again.choices[0].message.content == choice.message.content


def test_a_stream_is_the_same_text(client: openai.OpenAI) -> None:
    settings: Any = {"model": MODEL, "messages": ASK, "max_tokens": 12, "seed": 7, "n": 3}
    whole = client.chat.completions.create(**settings)
    texts, reasons, usages = ["", "", ""], [""] * 3, []
    for chunk in client.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}):
        if chunk.usage:
            usages.append(chunk.usage)
        for choice in chunk.choices:
            assert not reasons[choice.index]
            texts[choice.index] += choice.delta.content or ""
            reasons[choice.index] = choice.finish_reason or ""
    assert texts == [choice.message.content for choice in whole.choices]
    assert reasons == [choice.finish_reason for choice in whole.choices]
    assert len(set(texts)) > 1
    assert whole.usage is not None and [u.completion_tokens for u in usages] == [whole.usage.completion_tokens]


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(client: openai.OpenAI, stream: bool) -> None:
    settings: Any = {"model": MODEL, "messages": ASK, "max_tokens": 6, "temperature": 0, "logprobs": True}
    if stream:
        chunks = client.chat.completions.create(**settings, top_logprobs=3, stream=True)
        tokens = [t for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content or ()]
    else:
        done = client.chat.completions.create(**settings, top_logprobs=3)
        assert done.choices[0].logprobs is not None
        tokens = list(done.choices[0].logprobs.content or ())
        text = done.choices[0].message.content or ""
        assert bytes(b for t in tokens for b in t.bytes or ()).decode().startswith(text)
    assert tokens
    for token in tokens:
        assert len(token.top_logprobs) == 3 and token.logprob <= 0
        assert token.top_logprobs[0].logprob == max(t.logprob for t in token.top_logprobs) == token.logprob


def test_parse_with_pydantic(client: openai.OpenAI) -> None:
    for temperature in (0, 1.5):
        done = client.chat.completions.parse(
            model=MODEL, messages=ASK, response_format=Person, temperature=temperature, max_tokens=60, seed=1
        )
        assert isinstance(done.choices[0].message.parsed, Person)


def test_stream_with_pydantic(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model=MODEL, messages=ASK, response_format=Person, max_tokens=60, seed=2
    ) as stream:
        for _ in stream:
            pass
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Person)


@pytest.mark.parametrize(
    ("extra", "fits"),
    [
        (
            {"response_format": {"type": "json_object"}, "max_tokens": 20},
            lambda text: isinstance(json.loads(text), dict),
        ),
        ({"response_format": {"type": "regex", "regex": "[ab]{4}"}}, lambda text: set(text) <= {"a", "b"}),
        ({"response_format": {"type": "grammar", "grammar": 'start: "yes" | "no"'}}, ("yes", "no").__contains__),
        ({"response_format": {"type": "text"}, "choices": ["red", "green"]}, ("red", "green").__contains__),
        ({"regex": "[0-9]{3}"}, str.isdecimal),
        ({"ebnf": 'root ::= "x" | "y" root'}, lambda text: text.strip("y") == "x"),
        ({"top_k": 1, "cache_salt": "me", "priority": -5}, bool),
    ],
)
def test_constraints(client: openai.OpenAI, extra: dict[str, Any], fits: Any) -> None:
    settings = {"max_tokens": 10, **extra}
    done = client.chat.completions.create(model=MODEL, messages=ASK, extra_body=settings)
    assert fits(done.choices[0].message.content)


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "function": {"name": "get_weather"}}])
@pytest.mark.parametrize("temperature", [0.0, 0.2, 1.0])
def test_tools(client: openai.OpenAI, choice: Any, temperature: float) -> None:
    settings: Any = {"model": MODEL, "messages": ASK, "tools": TOOLS, "temperature": temperature, "max_tokens": 120}
    whole = client.chat.completions.create(**settings, tool_choice=choice).choices[0]
    calls = whole.message.tool_calls or []
    assert bool(calls) == (whole.finish_reason == "tool_calls") and (calls or choice == "auto")
    for call in calls:
        assert call.type == "function"
        schema: Any = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == call.function.name)
        jsonschema.validate(json.loads(call.function.arguments), schema)
    with client.chat.completions.stream(**settings, tool_choice=choice) as stream:
        for _ in stream:
            pass
        streamed = stream.get_final_completion().choices[0].message
    told = [(call.function.name, call.function.arguments) for call in streamed.tool_calls or []]
    if temperature == 0:
        assert told == [(call.function.name, call.function.arguments) for call in calls if call.type == "function"]
        assert (streamed.content or "").strip() == (whole.message.content or "").strip()
    for name, arguments in told:
        schema = next(t["function"]["parameters"] for t in TOOLS if t["function"]["name"] == name)
        jsonschema.validate(json.loads(arguments), schema)


def test_one_call_at_most(client: openai.OpenAI) -> None:
    done = client.chat.completions.create(
        model=MODEL, messages=ASK, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=80
    )
    assert len(done.choices[0].message.tool_calls or ()) == 1


def test_an_answer_of_a_tool(client: openai.OpenAI) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}
    messages: Any = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "12:00"},
    ]
    done = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, max_tokens=3, tool_choice="none")
    assert done.choices[0].message.content


def test_parsed_tool_calls(client: openai.OpenAI) -> None:
    tool = openai.pydantic_function_tool(Person)
    done = client.chat.completions.parse(
        model=MODEL, messages=ASK, tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=90
    )
    (call,) = done.choices[0].message.tool_calls or ()
    assert isinstance(call.function.parsed_arguments, Person)


def test_completions(client: openai.OpenAI) -> None:
    settings: Any = {"model": MODEL, "prompt": ["Generate profile for Ada:", "2 + 3 ="], "n": 2, "seed": 3}
    whole = client.completions.create(**settings, max_tokens=8)
    assert [choice.index for choice in whole.choices] == [0, 1, 2, 3]
    texts = [""] * 4
    for chunk in client.completions.create(**settings, max_tokens=8, stream=True):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == [choice.text for choice in whole.choices]


def test_echoed_logprobs(client: openai.OpenAI) -> None:
    prompt = "The cat is red."
    done = client.completions.create(
        model=MODEL, prompt=prompt, max_tokens=4, temperature=0, logprobs=2, echo=True
    ).choices[0]
    assert done.text.startswith(prompt) and done.logprobs is not None
    tokens, values = done.logprobs.tokens or [], done.logprobs.token_logprobs or []
    assert len(tokens) == len(values) == len(done.logprobs.top_logprobs or []) == len(done.logprobs.text_offset or [])
    assert values[0] is None and all(value <= 0 for value in values[1:])
    assert "".join(tokens) == done.text
    alone = client.completions.create(model=MODEL, prompt=prompt, max_tokens=0, logprobs=0, echo=True).choices[0]
    assert alone.text == prompt


def test_stop_bias_and_penalties(client: openai.OpenAI) -> None:
    done = client.completions.create(
        model=MODEL, prompt="{", stop=["}", '"'], max_tokens=50, presence_penalty=1, frequency_penalty=-1, temperature=0
    )
    assert '"' not in done.choices[0].text
    biased = client.completions.create(model=MODEL, prompt="{", max_tokens=3, temperature=0, logit_bias={"60": 100})
    assert len(set(biased.choices[0].text)) == 1


def test_async(address: str) -> None:
    async def ask() -> None:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as client:
            one = client.chat.completions.parse(model=MODEL, messages=ASK, response_format=Person, max_tokens=60)
            chunks = await client.chat.completions.create(
                model=MODEL, messages=ASK, max_tokens=8, stream=True, extra_body={"regex": "[a-z]{8}"}
            )
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
            assert len(text) == 8
            assert isinstance((await one).choices[0].message.parsed, Person)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"temprature": 1}, "temprature", "unknown_parameter"),
        ({"n": 1000}, "n", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"logit_bias": {"99999": 1}}, "logit_bias", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"regex": "("}, "regex", "invalid_constraint"),
        ({"regex": "a", "choices": ["b"]}, "choices", "invalid_value"),
        ({"regex": "[a-z]{50}", "max_tokens": 2}, "max_tokens", "max_tokens_too_small"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}},
         "response_format", "invalid_constraint"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
         "response_format.json_schema.name", "missing_required_parameter"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"messages": [{"role": "user", "content": "long " * 3000}]}, "messages", "context_length_exceeded"),
    ],
)  # fmt: skip
def test_errors_name_the_field(client: openai.OpenAI, wrong: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=ASK, extra_body={"max_tokens": 60, **wrong})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert param.split(".")[-1] in caught.value.message or code == "context_length_exceeded"


def test_images_from_elsewhere_are_not_fetched(client: openai.OpenAI, backend: LocalBackend) -> None:
    picture: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://x"}}]}]
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=picture, max_tokens=2)
    assert caught.value.param == "messages.0.content.0.image_url.url"
    assert caught.value.code == ("invalid_image" if backend.capabilities.images else "images_not_supported")
