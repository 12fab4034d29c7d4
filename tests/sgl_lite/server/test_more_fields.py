"""What chats may ask besides: going on with a message, variables of the template, thoughts, tags; bodies of other
clients; and what a server may be told: rates, origins, traces, a file of settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from sgl_lite import cli
from sgl_lite.backends.local import LocalBackend
from sgl_lite.reasoning import ReasoningFormat
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.rates import MAX_CLIENTS, Rates
from sgl_lite.server.reasoning import ReasoningReader, ThoughtPiece
from sgl_lite.server.tools import ContentPiece, PlainReader
from tests.sgl_lite.server.conftest import KEY, MODEL

CHAT = "/v1/chat/completions"
ASK = [{"role": "user", "content": "Generate profile for Ada:"}]


def chat(raw: TestClient, **fields: Any) -> dict[str, Any]:
    body = {"model": MODEL, "messages": ASK, "max_tokens": 24, "temperature": 0, **fields}
    answer = raw.post(CHAT, json=body)
    assert answer.status_code == 200, answer.text
    choice: dict[str, Any] = answer.json()["choices"][0]
    return choice


def refused(raw: TestClient, path: str, body: dict[str, Any]) -> tuple[str, str]:
    answer = raw.post(path, json=body)
    assert answer.status_code == 400, answer.text
    return answer.json()["error"]["param"], answer.json()["error"]["code"]


class TestContinuing:
    def test_the_answer_goes_on_with_the_last_message(self, backend: LocalBackend, raw: TestClient) -> None:
        begun = [*ASK, {"role": "assistant", "content": '{"name": "Ada'}]
        prompt = backend.chat_template().render(ASK, add_generation_prompt=True) + '{"name": "Ada'
        body = {"model": MODEL, "prompt": prompt, "max_tokens": 24, "temperature": 0}
        expected = raw.post("/v1/completions", json=body).json()["choices"][0]["text"]
        assert chat(raw, messages=begun, continue_final_message=True)["message"]["content"] == expected != ""

    def test_another_message_is_asked_without_it(self, raw: TestClient) -> None:
        tokens = raw.post(CHAT, json={"model": MODEL, "messages": ASK, "max_tokens": 1}).json()["usage"][
            "prompt_tokens"
        ]
        fewer = {"model": MODEL, "messages": ASK, "max_tokens": 1, "add_generation_prompt": False}
        assert raw.post(CHAT, json=fewer).json()["usage"]["prompt_tokens"] < tokens

    def test_what_cannot_be(self, raw: TestClient) -> None:
        body = {"model": MODEL, "messages": ASK, "continue_final_message": True}
        assert refused(raw, CHAT, body)[0] == "continue_final_message"
        assert refused(raw, CHAT, {**body, "add_generation_prompt": True})[0] == "continue_final_message"


def test_variables_of_the_template(backend: LocalBackend, raw: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = backend.engine.tokenizer
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template + "{% if shout %} LOUD{% endif %}")
    lengths = [
        raw.post(CHAT, json={"model": MODEL, "messages": ASK, "max_tokens": 1, "chat_template_kwargs": kwargs}).json()
        for kwargs in ({}, {"shout": True})
    ]
    assert lengths[0]["usage"]["prompt_tokens"] < lengths[1]["usage"]["prompt_tokens"]
    for wrong in ({"tokenize": True}, {"messages": []}, {"chat_template": "x"}):
        body = {"model": MODEL, "messages": ASK, "chat_template_kwargs": wrong}
        assert refused(raw, CHAT, body)[0] == "chat_template_kwargs"


MARKS = ReasoningFormat("<think>", "</think>")


def read(pieces: list[str], begun: bool) -> tuple[str, str]:
    reader = ReasoningReader(MARKS, begun, PlainReader())
    thoughts, content = "", ""
    for index, piece in enumerate(pieces):
        for one in reader.feed(piece, index == len(pieces) - 1):
            if isinstance(one, ThoughtPiece):
                thoughts += one.text
            else:
                assert isinstance(one, ContentPiece)
                content += one.text
    return thoughts, content


@settings(max_examples=150, derandomize=True)
@given(
    thought=st.text("ab </thinkéx\n", max_size=20).filter(lambda t: "</think>" not in t),
    answer=st.text("ab <think>\n", max_size=12),
    begun=st.booleans(),
    cuts=st.lists(st.integers(1, 60), max_size=6),
)
def test_thoughts_are_told_apart_however_the_text_comes(
    thought: str, answer: str, begun: bool, cuts: list[int]
) -> None:
    text = ("" if begun else "<think>") + thought + "</think>" + answer
    if "</think>" in (thought + "</think>")[:-1]:
        return
    places = [0, *sorted({min(cut, len(text)) for cut in cuts}), len(text)]
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert read(pieces, begun) == (thought.strip(), answer.lstrip())


@pytest.mark.parametrize(
    ("text", "begun", "expected"),
    [
        ("no thoughts", False, ("", "no thoughts")),
        ("<thin", False, ("", "<thin")),
        ("<think> cut short", False, ("cut short", "")),
        ("still at it </thi", True, ("still at it </thi", "")),
        ("</think>only", True, ("", "only")),
        ("", True, ("", "")),
        ("an answer </think> with a mark", False, ("", "an answer </think> with a mark")),
    ],
)
def test_thoughts_at_the_edges(text: str, begun: bool, expected: tuple[str, str]) -> None:
    assert read([text], begun) == expected
    assert read(list(text) or [""], begun) == expected


@pytest.fixture
def thinking(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Its template begins the thoughts, and the model's answer holds the mark that ends them."""
    tokenizer = backend.engine.tokenizer
    begin = "{% if add_generation_prompt %}<think>{% endif %}"
    monkeypatch.setattr(tokenizer, "chat_template", tokenizer.chat_template + begin)
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL, reasoning="qwen3"))) as client:
        yield client


def test_thoughts_over_http(thinking: TestClient) -> None:
    message = chat(thinking, min_tokens=8)["message"]
    assert message["content"] == "" and message["reasoning_content"]
    whole = chat(thinking, min_tokens=8, separate_reasoning=False)["message"]
    assert whole["content"].strip() == message["reasoning_content"] and "reasoning_content" not in whole
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "integer"}}}
    assert isinstance(json.loads(chat(thinking, response_format=schema)["message"]["content"]), int)
    body = {"model": MODEL, "messages": ASK, "max_tokens": 24, "min_tokens": 8, "temperature": 0, "stream": True}
    deltas = [
        event["choices"][0]["delta"]
        for line in thinking.post(CHAT, json=body).text.splitlines()
        if line.startswith("data: {") and (event := json.loads(line[6:]))["choices"]
    ]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == message["reasoning_content"]
    assert not any(delta.get("content") for delta in deltas)


def test_thoughts_cannot_be_asked_of_a_server_that_knows_no_marks(raw: TestClient) -> None:
    body = {"model": MODEL, "messages": ASK, "separate_reasoning": True}
    assert refused(raw, CHAT, body)[0] == "separate_reasoning"


class TestStructuralTags:
    def ask(self, raw: TestClient, **fields: Any) -> str:
        wanted = {"type": "structural_tag", **fields}
        text: str = chat(raw, response_format=wanted, max_tokens=80, temperature=1.0, seed=1)["message"]["content"]
        return text

    def test_the_older_form(self, raw: TestClient) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        structures = [{"begin": "<f>", "schema": schema, "end": "</f>"}, {"begin": "<g>", "schema": {}, "end": "</g>"}]
        text = self.ask(raw, structures=structures, triggers=["<"])
        for inner in re.findall(r"<f>(.*?)</f>", text, re.DOTALL):
            assert isinstance(json.loads(inner)["a"], int)
        assert all(rest[:1] in ("f", "g", "/") for rest in text.split("<")[1:])

    def test_the_newer_form(self, raw: TestClient) -> None:
        number = {"type": "json_schema", "json_schema": {"type": "integer"}}
        tag = {"type": "tag", "begin": "<n>", "content": number, "end": "</n>"}
        word = {"type": "regex", "pattern": "[a-z]{3}"}
        either = {"type": "or", "elements": [{"type": "const_string", "value": "yes"}, word]}
        text = self.ask(
            raw, format={"type": "sequence", "elements": [tag, {"type": "const_string", "value": " "}, either]}
        )
        assert re.fullmatch(r"<n>-?\d+(\.0+)?</n> [a-z]{3}", text)
        tags = {"type": "triggered_tags", "triggers": ["<n"], "tags": [tag], "at_least_one": True}
        assert re.search(r"<n>-?\d+(\.0+)?</n>", self.ask(raw, format={**tags, "stop_after_first": True}))
        several = {"type": "tags_with_separator", "tags": [tag], "separator": ",", "at_least_one": True}
        assert re.fullmatch(r"<n>-?\d+(\.0+)?</n>(,<n>-?\d+(\.0+)?</n>)*", self.ask(raw, format=several))

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({}, "response_format"),
            ({"structures": [{"begin": "<a>", "schema": {}, "end": ""}], "triggers": ["<b"]},
             "response_format.structures.0.begin"),
            ({"format": {"type": "nothing"}}, "response_format.format.type"),
            ({"format": {"type": "sequence", "elements": []}}, "response_format.format.elements"),
            ({"format": {"type": "sequence", "elements": [{"type": "regex"}]}},
             "response_format.format.elements.0.pattern"),
            ({"format": {"type": "tag", "begin": "a", "end": "b"}}, "response_format.format.content"),
            ({"format": {"type": "triggered_tags", "triggers": [3], "tags": []}}, "response_format.format.triggers"),
        ],
    )  # fmt: skip
    def test_what_cannot_be(self, raw: TestClient, fields: dict[str, Any], param: str) -> None:
        body = {"model": MODEL, "messages": ASK, "response_format": {"type": "structural_tag", **fields}}
        assert refused(raw, CHAT, body)[0] == param


class TestTgi:
    PARAMETERS: ClassVar = {"max_new_tokens": 6, "details": True}

    def test_one_answer(self, raw: TestClient) -> None:
        for path in ("/generate", "/"):
            answer = raw.post(path, json={"inputs": "Ada is", "parameters": self.PARAMETERS}).json()
            one = answer[0] if path == "/" else answer
            assert one["details"]["generated_tokens"] == len(one["details"]["tokens"]) <= 6
            assert one["details"]["finish_reason"] in ("length", "eos_token")
            assert "".join(t["text"] for t in one["details"]["tokens"]).strip() == one["generated_text"].strip()
        full = raw.post("/generate", json={"inputs": "Ada is", "parameters": {"return_full_text": True}}).json()
        assert full["generated_text"].startswith("Ada is")

    def test_a_stream_is_a_token_an_event(self, raw: TestClient) -> None:
        body = {"inputs": "Ada is", "parameters": self.PARAMETERS}
        whole = raw.post("/generate", json=body).json()
        for path, more in (("/generate_stream", {}), ("/", {"stream": True})):
            text = raw.post(path, json={**body, **more}).text
            assert "[DONE]" not in text
            events = [json.loads(line[6:]) for line in text.splitlines() if line]
            assert "".join(event["token"]["text"] for event in events) == whole["generated_text"]
            assert events[-1]["generated_text"] == whole["generated_text"]
            assert events[-1]["details"]["generated_tokens"] == whole["details"]["generated_tokens"]
            assert all(event["generated_text"] is None for event in events[:-1])

    def test_grammars(self, raw: TestClient) -> None:
        for grammar in (
            {"type": "regex", "value": "[0-9]{4}"},
            {"type": "json", "value": {"type": "integer", "minimum": 1000, "maximum": 9999}},
            {"type": "json", "value": '{"type": "integer", "minimum": 1000, "maximum": 9999}'},
        ):
            body = {"inputs": "Year:", "parameters": {"max_new_tokens": 20, "grammar": grammar}}
            assert re.fullmatch("[0-9]{4}", raw.post("/generate", json=body).json()["generated_text"])

    def test_sglangs_body_streams_too(self, raw: TestClient) -> None:
        text = raw.post("/generate_stream", json={"text": "Ada", "sampling_params": {"max_new_tokens": 3}}).text
        assert text.endswith("data: [DONE]\n\n") and '"meta_info"' in text

    def test_what_cannot_be(self, raw: TestClient) -> None:
        assert refused(raw, "/generate", {"inputs": "a", "text": "b"})[0] == "text"
        assert refused(raw, "/", {"text": "b"})[0] == "text"
        assert refused(raw, "/", {})[0] == "inputs"
        assert refused(raw, "/", {"inputs": "a", "parameters": {"grammar": {"type": "json", "value": "{"}}})[0] == (
            "parameters.grammar.value"
        )


class TestEmbeddings:
    def test_the_official_client(self, client: openai.OpenAI, backend: LocalBackend) -> None:
        """It asks for base64 and gives numbers."""
        texts = ["Ada is from Paris.", "Bob", "Ada is from Paris."]
        answer = client.embeddings.create(model=MODEL, input=texts)
        vectors = np.array([one.embedding for one in answer.data])
        assert [one.index for one in answer.data] == [0, 1, 2]
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        expected = backend.embed(texts[0]).vector
        assert np.allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-6)
        assert np.array_equal(vectors[0], vectors[2]) and not np.allclose(vectors[0], vectors[1], atol=0.01)
        assert answer.usage.prompt_tokens == sum(len(backend.encode(text)) for text in texts)
        ids = client.embeddings.create(model=MODEL, input=list(backend.encode(texts[1])), encoding_format="float")
        assert np.allclose(ids.data[0].embedding, vectors[1], atol=1e-6)

    def test_what_cannot_be(self, raw: TestClient) -> None:
        body = {"model": MODEL, "input": "words"}
        assert refused(raw, "/v1/embeddings", {**body, "dimensions": 7}) == ("dimensions", "invalid_value")
        assert refused(raw, "/v1/embeddings", {**body, "input": "long " * 9000}) == ("input", "context_length_exceeded")
        assert refused(raw, "/v1/embeddings", {**body, "input": [10**8]})[0] == "input"
        assert refused(raw, "/v1/embeddings", {**body, "input": []})[0] == "input"

    def test_they_count_while_they_are_made(self, raw: TestClient) -> None:
        assert raw.post("/v1/embeddings", json={"model": MODEL, "input": "a"}).status_code == 200
        assert raw.app.state.desk.under_way == 0  # type: ignore[attr-defined]


class TestRates:
    def test_a_minutes_requests(self) -> None:
        rates = Rates(3)
        assert [rates.take(b"a", now) for now in (0.0, 0.1, 0.2)] == [0, 0, 0]
        wait = rates.take(b"a", 0.3)
        assert 19 <= wait <= 20 and rates.take(b"b", 0.3) == 0
        assert rates.take(b"a", 0.3 + wait) == 0

    def test_memory_is_bounded(self) -> None:
        rates = Rates(1)
        for number in range(MAX_CLIENTS + 50):
            rates.take(str(number).encode(), float(number))
        assert len(rates._clients) == MAX_CLIENTS

    def test_over_http(self, backend: LocalBackend) -> None:
        config = ServerConfig(model_name=MODEL, api_keys=("a", "b"), requests_per_minute=2)
        with TestClient(create_app(backend, config)) as client:
            body = {"prompt": "Hi"}
            statuses = [
                client.post("/tokenize", json=body, headers={"Authorization": f"Bearer {key}"}) for key in "aaaab"
            ]
            assert [one.status_code for one in statuses] == [200, 200, 429, 429, 200]
            error = statuses[2].json()["error"]
            assert (error["code"], error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
            assert 1 <= int(statuses[2].headers["Retry-After"]) <= 30
            assert client.get("/health").status_code == 200


def test_origins(backend: LocalBackend, raw: TestClient) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in raw.options(CHAT, headers=asked).headers
    assert "access-control-allow-origin" not in raw.get("/v1/models", headers=asked).headers
    config = ServerConfig(model_name=MODEL, api_keys=(KEY,), cors_origins=("https://app.example",))
    with TestClient(create_app(backend, config)) as client:
        answer = client.options(CHAT, headers=asked)
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == "https://app.example"
        refused = client.options(CHAT, headers={**asked, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers
        assert client.post(CHAT, json={}, headers=asked).status_code == 401


class TestSettings:
    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict[str, Any]:
        """What the command would serve with."""
        told: dict[str, Any] = {}

        class Stop(Exception):
            pass

        def engine(**settings: Any) -> None:
            told.update(settings)
            raise Stop

        monkeypatch.setattr("sgl_lite.Engine", engine, raising=False)
        with pytest.raises(Stop):
            cli.main(["serve", *arguments])
        return told

    def test_flags_over_environment_over_file(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        path = tmp_path / "server.toml"
        path.write_text('context-length = 111\ndevice = "cpu"\nmax_running = 7\nrevision = "r"\n')
        monkeypatch.setenv("SGL_LITE_SERVE_MAX_RUNNING", "8")
        monkeypatch.setenv("SGL_LITE_SERVE_REVISION", "s")
        told = self.run(monkeypatch, "--config", str(path), "--revision", "t")
        assert (told["context_length"], told["device"]) == (111, "cpu")
        assert (told["max_num_seqs"], told["revision"]) == (8, "t")

    @pytest.mark.parametrize(("text", "said"), [("nonsense = 1", "nonsense"), ("a = ", "server.toml")])
    def test_what_cannot_be(self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str) -> None:
        path = tmp_path / "server.toml"
        path.write_text(text)
        with pytest.raises(SystemExit) as ended:
            cli.main(["serve", "--config", str(path)])
        told = "".join(capsys.readouterr().err.replace("│", "").split())  # a frame breaks long paths anywhere
        assert ended.value.code == 2 and said.replace(" ", "") in told


def test_traces(backend: LocalBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
    from opentelemetry import propagate
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    found = {"tracer": provider.get_tracer("x"), "extract": propagate.extract}
    monkeypatch.setattr("sgl_lite.server.app.tracing", lambda: found)
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL, traces=True))) as client:
        client.post(CHAT, json={"model": MODEL, "messages": ASK, "max_tokens": 2})
    (span,) = exporter.get_finished_spans()
    assert span.name == f"POST {CHAT}" and span.attributes["http.response.status_code"] == 200
    assert span.attributes["sgl_lite.completion_tokens"] == 2
