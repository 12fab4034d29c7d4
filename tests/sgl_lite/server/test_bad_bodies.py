"""Bodies that nobody should send: each is a 4xx of OpenAI's shape, never a 5xx, and nothing is left running."""

from __future__ import annotations

import copy
import json
import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sgl_lite.server.app import POSTS
from tests.sgl_lite.server.conftest import MODEL

CHAT, COMPLETIONS, NATIVE = "/v1/chat/completions", "/v1/completions", "/generate"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2},
    COMPLETIONS: {"model": MODEL, "prompt": "Hi", "max_tokens": 2},
    NATIVE: {"text": "Hi", "sampling_params": {"max_new_tokens": 2}},
    "/tokenize": {"prompt": "Hi"},
    "/detokenize": {"tokens": [1, 2]},
}
ODD: list[Any] = [
    None, True, "", "x", "\x00", "5", 0, -1, 1.5, 2**31, 2**63, 10**400, 1e308, -1e308, [], [[]], {}, [None], ["x", 1],
    {"type": "x"}, {"a": {"b": []}}, [{"role": "user"}], "\ufdd0\U0010ffff",
]  # fmt: skip


def checked(answer: Any, *, may_be_right: bool = False) -> Any:
    """OpenAI's shape of errors, or a right answer if there may be one."""
    if may_be_right and answer.status_code == 200:
        assert '"internal_error"' not in answer.text, "a stream that ends with a fault of ours"
        return answer
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:500])
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"] and error["type"]
    return answer


def deep(levels: int) -> str:
    return '{"items":' * levels + "{}" + "}" * levels


@pytest.mark.parametrize("path", list(POSTS))
@pytest.mark.parametrize(
    "body",
    [
        b"", b"x", b"null", b"[]", b"3", b"{", b'{"a":', b"\xff\xfe\x00", b'{"prompt": "\xff"}',
        b'{"model": "\\ud800"}',
        b"[" * 100_000, b'{"a":' * 5_000, b'{"seed": ' + b"9" * 10_000 + b"}", b'{"temperature": NaN}', b'{"": 1e999}',
        b'{"model": "m", "model": 5}', b"\x00" * 64, '{"prompt": "é"'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_no_body(raw: TestClient, path: str, body: bytes) -> None:
    checked(raw.post(path, content=body))


@pytest.mark.parametrize("path", list(GOOD))
def test_every_field_with_odd_values(raw: TestClient, path: str) -> None:
    names = [field.alias or name for name, field in POSTS[path].body.model_fields.items()]
    for index, name in enumerate(names):
        for value in ODD[index % 2 :: 2]:
            checked(raw.post(path, content=json.dumps({**GOOD[path], name: value})), may_be_right=True)
    assert checked(raw.post(path, json={**GOOD[path], "no_such": 1})).json()["error"]["param"] == "no_such"


def test_every_sampling_parameter_with_odd_values(raw: TestClient) -> None:
    from sgl_lite.server.protocol import NativeSampling

    for index, name in enumerate(NativeSampling.model_fields):
        for value in ODD[index % 2 :: 2]:
            body = {"text": "Hi", "sampling_params": {"max_new_tokens": 2, name: value}}
            checked(raw.post(NATIVE, content=json.dumps(body)), may_be_right=True)


SCHEMAS = [
    {"type": "strin"}, {"type": 5}, {"$ref": "#/nowhere"}, {"$ref": "#"}, {"pattern": "("}, {"minLength": -1},
    {"enum": []}, {"allOf": [False]}, {"not": {}},
    {"$ref": "http://example.org/s"}, {"multipleOf": 0}, {"required": "a"}, {"properties": []}, {"const": float("nan")},
    {"minimum": float("inf")}, {"type": "integer", "minimum": 5, "maximum": 4}, {"$defs": 3, "anyOf": []},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_schemas_that_cannot_be_held(raw: TestClient, schema: Any) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    checked(raw.post(CHAT, content=json.dumps({**GOOD[CHAT], "response_format": wanted})))
    tool = {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": schema}}},
    }
    body = {**GOOD[CHAT], "tools": [tool], "tool_choice": "required"}
    checked(raw.post(CHAT, content=json.dumps(body)))
    checked(
        raw.post(NATIVE, content=json.dumps({**GOOD[NATIVE], "sampling_params": {"json_schema": json.dumps(schema)}}))
    )


@pytest.mark.parametrize("levels", [60, 99, 150, 5_000])
def test_deep_schemas(raw: TestClient, levels: int) -> None:
    wanted = '{"type": "json_schema", "json_schema": {"name": "x", "schema": ' + deep(levels) + "}}"
    checked(raw.post(CHAT, content=json.dumps(GOOD[CHAT])[:-1] + f', "response_format": {wanted}}}'), may_be_right=True)
    body = {**GOOD[NATIVE], "sampling_params": {"json_schema": deep(levels), "max_new_tokens": 4}}
    checked(raw.post(NATIVE, json=body), may_be_right=True)


@pytest.mark.parametrize("wrong", [{"regex": "(" * 300 + ")" * 300}, {"regex": "a++"},
    {"ebnf": "root ::= root"}, {"ebnf": "x"}, {"ebnf": ""}, {"choices": []}, {"choices": [""]}, {"choices": ["a", "a"]},
    {"response_format": {"type": "grammar", "grammar": "start: start"}}, {"regex": "x" * 300_000}])  # fmt: skip
def test_constraints_that_cannot_be_held(raw: TestClient, wrong: dict[str, Any]) -> None:
    for path in (CHAT, COMPLETIONS):
        checked(raw.post(path, json={**GOOD[path], **wrong}))


@pytest.mark.slow
def test_constraints_that_take_too_long(raw: TestClient) -> None:
    """They end with the time that a compile may take."""
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "string", "minLength": 10**9}}}
    for wrong in ({"regex": "a{1000000000}"}, {"response_format": wanted}):
        checked(raw.post(CHAT, json={**GOOD[CHAT], **wrong}))


@pytest.mark.parametrize(
    "messages",
    [
        [], [{}], [{"role": "user"}], [{"role": "robot", "content": "x"}], [{"role": "user", "content": None}],
        [{"role": "user", "content": [{"type": "text"}]}], [{"role": "tool", "tool_calls": [], "content": 5}],
        [{"role": "user", "content": "x", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}],
        [{"role": "user", "content": "x" * 2_000_000}], [{"role": "user", "content": "x y " * 5_000}],
    ],
)  # fmt: skip
def test_messages(raw: TestClient, messages: Any) -> None:
    checked(raw.post(CHAT, json={**GOOD[CHAT], "messages": messages}))


def test_paths_and_methods(raw: TestClient) -> None:
    assert checked(raw.get("/nowhere")).status_code == 404
    assert checked(raw.get(CHAT)).status_code == 405
    assert checked(raw.post("/health")).status_code == 405
    assert checked(raw.post(CHAT, json={**GOOD[CHAT], "model": "other"})).status_code == 404


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, NATIVE])
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_random_fields(raw: TestClient, path: str, data: st.DataObject) -> None:
    names = sorted(POSTS[path].body.model_fields)
    fields = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3))
    fields.pop("max_tokens", None)
    checked(raw.post(path, content=json.dumps({**GOOD[path], **fields})), may_be_right=True)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, NATIVE])
def test_random_bytes(raw: TestClient, path: str) -> None:
    rng = random.Random(8)
    good = json.dumps(GOOD[path]).encode()
    for _ in range(80):
        body = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        checked(raw.post(path, content=bytes(body)), may_be_right=True)


_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 4}, "tags": {"type": "array", "items": {"enum": [1, "a"]}}},
    "required": ["name"],
    "additionalProperties": {"anyOf": [{"type": "integer", "minimum": 2}, {"$ref": "#/properties/tags"}]},
}
_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mM8ISfHgA0wMeAAg1MCAN"
    "DKARQfGKMRAAAAAElFTkSuQmCC"
)
_PICTURE = {"type": "image_url", "image_url": {"url": _PNG, "detail": "low"}}
_COMMON = {"temperature": 0.5, "top_p": 0.9, "seed": 1, "stop": ["x"], "logit_bias": {"5": 1}, "n": 1, "max_tokens": 2}
GOOD_OF_ALL: dict[str, list[dict[str, Any]]] = {
    CHAT: [
        {
            **GOOD[CHAT],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [1, 2]}}},
            "chat_template_kwargs": {},
        },
        {
            **GOOD[CHAT],
            "max_tokens": 40,
            "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": _PERSON}},
        },
        {
            **GOOD[CHAT],
            **_COMMON,
            "max_tokens": 60,
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": _PERSON}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
        },
        {**GOOD[CHAT], "messages": [{"role": "user", "content": [_PICTURE, {"type": "text", "text": "Hi"}]}]},
        {
            **GOOD[CHAT],
            "max_tokens": 40,
            "response_format": {
                "type": "structural_tag",
                "structures": [{"begin": "<a>", "schema": _PERSON, "end": "</a>"}],
                "triggers": ["<a"],
            },
        },
    ],
    COMPLETIONS: [
        {**GOOD[COMPLETIONS], **_COMMON, "logprobs": 2, "echo": True, "stream_options": {"include_usage": True}},
        {**GOOD[COMPLETIONS], "prompt": ["a", "b"], "response_format": {"type": "regex", "regex": "[ab]{1,2}"}},
        {**GOOD[COMPLETIONS], "prompt": [[1, 2], [3]], "choices": ["a", "b"], "priority": 1, "cache_salt": "s"},
    ],
    NATIVE: [
        {**GOOD[NATIVE], "return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 1, "rid": "r"},
        {"input_ids": [[1, 2], [3]], "sampling_params": [{"max_new_tokens": 2, "stop": "x"}, {"max_new_tokens": 1}]},
        {"text": "Hi", "sampling_params": {"max_new_tokens": 40, "json_schema": json.dumps(_PERSON)}},
        {"text": "<image>Hi", "image_data": [_PNG], "sampling_params": {"max_new_tokens": 2}},
    ],
    "/generate_stream": [GOOD[NATIVE]],
    "/": [{"inputs": "Hi", "parameters": {"max_new_tokens": 2, "grammar": {"type": "regex", "value": "a"}}}],
    "/v1/embeddings": [{"model": MODEL, "input": ["Hi", "you"], "encoding_format": "float"}],
    "/tokenize": [GOOD["/tokenize"]],
    "/detokenize": [GOOD["/detokenize"]],
}
"""Bodies that are answered, those with images by a model that sees."""
LENGTHS = ("max_tokens", "max_new_tokens", "max_completion_tokens", "n", "best_of")
"""Left as they are: long answers are right answers, and only take long."""
BAD_IMAGES = [
    "data:image/png;base64,!!",
    "data:image/png;base64,AAAA",
    "data:,",
    "http://127.0.0.1:1/",
    "file:///etc/passwd",
]


def odd(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(ODD))


def mutate(value: Any, rng: random.Random, names: list[str]) -> Any:
    """The body with something else at one random place."""
    places: list[tuple[Any, Any]] = []

    def collect(inside: Any) -> None:
        keys = list(inside) if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        for key in keys:
            if key not in LENGTHS:
                places.append((inside, key))
                collect(inside[key])

    collect(value)
    if not places:
        return {rng.choice(names): odd(rng)}
    inside, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del inside[key]
        case 1:
            value[rng.choice([name for name in names if name not in LENGTHS])] = odd(rng)
        case 2:
            deep_one: Any = odd(rng)
            for _ in range(rng.choice((1, 5, 200))):
                deep_one = rng.choice(([deep_one], {"items": deep_one}, {"anyOf": [deep_one]}))
            inside[key] = deep_one
        case 3:
            inside[key] = {"type": "image_url", "image_url": {"url": rng.choice(BAD_IMAGES)}}
        case _:
            inside[key] = odd(rng)
    return value


BODIES = int(os.environ.get("SGL_LITE_FUZZ_BODIES", "4000"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_thousands_of_bodies(raw: TestClient) -> None:
    """Wrong types, huge numbers, deep schemas, bad UTF-8, bad base64: each a 4xx, or a right answer."""
    rng = random.Random(8)
    cases = [(path, body) for path in POSTS for body in GOOD_OF_ALL.get(path) or GOOD_OF_ALL[path.removeprefix("/v1")]]
    statuses: dict[int, int] = {}
    for number in range(BODIES):
        path, good = cases[number % len(cases)]
        body = copy.deepcopy(good)
        names = [field.alias or name for name, field in POSTS[path].body.model_fields.items()]
        for _ in range(rng.randint(1, 2)):
            body = mutate(body, rng, names)
        content = bytearray(json.dumps(body).encode())
        if rng.random() < 0.15:
            content[rng.randrange(len(content))] = rng.randrange(256)
        answer = checked(raw.post(path, content=bytes(content)), may_be_right=True)
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
    assert statuses.get(400, 0) > BODIES // 2, statuses
    print(f"\n{BODIES} bodies: {statuses}")
    assert raw.get("/health").status_code == 200
