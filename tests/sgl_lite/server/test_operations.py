"""Keys, limits, clients that go away, stopping, and what the server tells of itself."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

import sgl_lite as sgl
from sgl_lite.backends.local import LocalBackend
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.serving import JsonLines, http_server
from tests.sgl_lite.server.conftest import KEY, MODEL, run_in_thread

CHAT = "/v1/chat/completions"
SHORT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3}
LONG: dict[str, Any] = {"model": MODEL, "prompt": "Ada", "max_tokens": 2000, "ignore_eos": True}


def wait_until(holds: Any, seconds: float = 10) -> float:
    """The seconds that it took."""
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < seconds
        time.sleep(0.005)
    return time.monotonic() - begun


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"])
def test_wrong_keys(raw: TestClient, given: str | None) -> None:
    headers = {"Authorization": given} if given is not None else {}
    stranger = TestClient(raw.app)
    for path in ("/v1/models", "/metrics", "/nowhere"):
        answer = stranger.get(path, headers=headers)
        assert answer.status_code == 401 and answer.json()["error"]["code"] == "invalid_api_key"
    assert stranger.post(CHAT, json=SHORT, headers=headers).status_code == 401
    assert stranger.get("/health").status_code == stranger.get("/ready").status_code == 200


@pytest.mark.parametrize("key", [KEY, "another-key"])
def test_right_keys(raw: TestClient, key: str) -> None:
    assert TestClient(raw.app).get("/v1/models", headers={"authorization": f"bearer {key}"}).status_code == 200


def test_without_keys_all_is_open(backend: LocalBackend) -> None:
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL))) as client:
        assert client.get("/v1/models").status_code == 200


def test_request_ids(raw: TestClient) -> None:
    answer = raw.post(CHAT, json=SHORT, headers={"x-request-id": "mine-7"})
    assert answer.headers["x-request-id"] == "mine-7" and answer.json()["id"] == "chatcmpl-mine-7"
    odd = raw.get("/health", headers={"x-request-id": 'a b"c'}).headers["x-request-id"]
    assert odd.isalnum() and raw.get("/health").headers["x-request-id"] != odd


def test_the_same_id_twice(address: str) -> None:
    """Both calls are answered, at the same time."""
    answers: list[httpx.Response] = []
    headers = {"Authorization": f"Bearer {KEY}", "x-request-id": "twice"}
    body = {**LONG, "max_tokens": 100}

    def ask() -> None:
        answers.append(httpx.post(f"{address}/v1/completions", json=body, headers=headers, timeout=30))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [answer.status_code for answer in answers] == [200, 200]


def test_limits(backend: LocalBackend) -> None:
    config = ServerConfig(
        model_name=MODEL, max_body_bytes=2000, max_prompt_chars=500, max_n=2, max_prompts=2, max_constraint_bytes=100
    )
    with TestClient(create_app(backend, config)) as client:
        assert client.post(CHAT, content=b"x" * 3000).json()["error"]["code"] == "body_too_large"
        assert client.post(CHAT, content=iter([b"x" * 1500, b"x" * 1500])).status_code == 413
        for wrong, param in (
            ({"prompt": "x" * 600}, "prompt"),
            ({"prompt": ["x"] * 3}, "prompt"),
            ({"n": 3}, "n"),
            ({"best_of": 3}, "best_of"),
            ({"regex": "x" * 101}, "regex"),
            ({"choices": ["x" * 101]}, "choices"),
        ):
            error = client.post("/v1/completions", json={"model": MODEL, "prompt": "x", **wrong}).json()["error"]
            assert error["param"] == param


def test_a_full_server_says_when_to_come_back(backend: LocalBackend) -> None:
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL, max_under_way=2))) as client:
        assert client.post("/v1/completions", json={**LONG, "n": 3}).status_code == 400
        with client.stream("POST", "/v1/completions", json={**LONG, "max_tokens": 1, "n": 2}):
            pass
        thread = threading.Thread(target=client.post, args=("/v1/completions",), kwargs={"json": {**LONG, "n": 2}})
        thread.start()
        wait_until(lambda: backend.engine.stats()["running"] == 2)
        answer = client.post(CHAT, json=SHORT)
        assert answer.status_code == 429 and answer.json()["error"]["type"] == "rate_limit_error"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        client.app.state.desk.abort_all()  # type: ignore[attr-defined]
        thread.join(10)
        assert client.post(CHAT, json=SHORT).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_request(address: str, backend: LocalBackend, stream: bool) -> None:
    body = json.dumps({**LONG, "stream": stream, "n": 4}).encode()
    headers = f"Host: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
    before = backend.engine.stats()["requests_aborted"]
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1]))) as connection:
        connection.sendall(f"POST /v1/completions HTTP/1.1\r\n{headers}".encode() + body)
        wait_until(lambda: backend.engine.stats()["running"] == 4)
    assert wait_until(lambda: backend.engine.stats()["running"] == 0) < 2
    assert backend.engine.stats()["requests_aborted"] > before


def test_a_request_that_takes_too_long(backend: LocalBackend) -> None:
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL, request_seconds=0.2))) as client:
        answer = client.post("/v1/completions", json=LONG)
        assert answer.status_code == 504 and answer.json()["error"]["code"] == "timeout"
        with client.stream("POST", "/v1/completions", json={**LONG, "stream": True}) as streamed:
            events = [line.removeprefix("data: ") for line in streamed.iter_lines() if line]
        assert events[-1] == "[DONE]" and json.loads(events[-2])["error"]["code"] == "timeout"


@pytest.mark.parametrize("stop_seconds", [0, 60])
def test_stopping(backend: LocalBackend, stop_seconds: float) -> None:
    """What is under way ends by itself, or by the time that it has; every client is told."""
    server = http_server(backend, ServerConfig(model_name=MODEL, stop_seconds=stop_seconds), port=0)
    thread, url = run_in_thread(server)
    answers: list[httpx.Response] = []
    bodies = [{**LONG, "max_tokens": 300}, {**LONG, "max_tokens": 300, "stream": True}]

    def ask(body: dict[str, Any]) -> None:
        answers.append(httpx.post(f"{url}/v1/completions", json=body, timeout=30))

    clients = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for client in clients:
        client.start()
    wait_until(lambda: backend.engine.stats()["running"] == 2)
    server.should_exit = True
    for one in (*clients, thread):
        one.join(20)
        assert not one.is_alive()
    whole = next(answer for answer in answers if answer.headers["content-type"] == "application/json")
    streamed = next(answer for answer in answers if answer is not whole)
    assert whole.status_code == (200 if stop_seconds else 503)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert ("server_stopping" in streamed.text) == (not stop_seconds)


def test_not_ready_while_stopping(backend: LocalBackend) -> None:
    with TestClient(create_app(backend, ServerConfig(model_name=MODEL))) as client:
        client.app.state.desk.close()  # type: ignore[attr-defined]
        assert client.get("/ready").status_code == 503 and client.get("/health").status_code == 200
        assert client.post(CHAT, json=SHORT).json()["error"]["code"] == "server_stopping"


def test_metrics(raw: TestClient, backend: LocalBackend) -> None:
    raw.post(CHAT, json=SHORT)
    raw.get("/nowhere")
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(raw.get("/metrics").text)
        for sample in family.samples
    }
    stats = backend.engine.stats()
    for name in ("requests", "completion_tokens", "evicted_pages"):
        assert samples[f"sgl_lite_{name}_total", ()] == stats[name]
    for name in ("running", "pages", "pages_free"):
        assert samples[f"sgl_lite_{name}", ()] == stats[name]
    assert (
        samples["sgl_lite_request_seconds_count", ()] == samples["sgl_lite_request_seconds_bucket", (("le", "+Inf"),)]
    )
    labels = (("method", "POST"), ("path", CHAT), ("status", "200"))
    assert samples["sgl_lite_http_requests_total", labels] >= 1
    assert any(("path", "other") in labels for name, labels in samples if name == "sgl_lite_http_requests_total")


def test_log_lines(raw: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sgl_lite.server"):
        raw.post(CHAT, json=SHORT, headers={"x-request-id": "seen"})
    line = json.loads(JsonLines().format(caplog.records[-1]))
    assert (line["request_id"], line["status"], line["path"]) == ("seen", 200, CHAT)
    assert line["completion_tokens"] <= 3 and line["prompt_tokens"] > 0


def test_the_document(raw: TestClient) -> None:
    document = raw.get("/openapi.json").json()
    schema = document["paths"][CHAT]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/ChatBody"}
    chat = document["components"]["schemas"]["ChatBody"]
    assert "messages" in chat["required"] and chat["properties"]["model"]["enum"] == [MODEL]


def test_tokens(raw: TestClient, backend: LocalBackend) -> None:
    text = "Grüße an Ada"
    told = raw.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()
    assert told["tokens"] == list(backend.encode(text, special_tokens=False)) and told["count"] == len(told["tokens"])
    assert raw.post("/detokenize", json={"tokens": told["tokens"]}).json()["text"] == text
    assert raw.post("/detokenize", json={"tokens": [10**6]}).status_code == 400


def test_programs_run_on_this_server(address: str, backend: LocalBackend) -> None:
    """Our own backend for servers that speak SGLang's API."""
    remote = sgl.RuntimeEndpoint(address, api_key=KEY)

    @sgl.function
    def program(s: sgl.ProgramState) -> None:
        # Copied, not made up: no two tokens are so close that rounding decides.
        s += "Extract the person from: Ada Brown is a 36 year old engineer from Paris.\nJSON:"
        s += sgl.gen("json", max_tokens=60, temperature=0, json_schema={"type": "object"})
        s += sgl.gen("more", max_tokens=5, temperature=0)
        s += sgl.select("kind", choices=["a", "b"])

    there, here = program(backend=remote), program(backend=backend)
    assert there.text() == here.text()
    assert isinstance(json.loads(there["json"]), dict)
    assert remote.server_info()["version"] == sgl.__version__ and remote.model_name == backend.model_name
    remote.flush_cache()
    streamed = program.stream(backend=remote)
    assert "".join(streamed.text_iter("more")) == here["more"]
    remote.shutdown()


def test_native(raw: TestClient, backend: LocalBackend) -> None:
    params = {"max_new_tokens": 6, "temperature": 0, "n": 2}
    asked: dict[str, Any] = {"text": ["Ada", "2 + 3 ="], "sampling_params": params}
    there = raw.post("/generate", json={**asked, "return_logprob": True, "logprob_start_len": 0, "top_logprobs_num": 2})
    here = backend.engine.generate(["Ada", "2 + 3 ="], params, return_logprob=True, logprob_start_len=0)
    assert [one["text"] for one in there.json()] == [one["text"] for one in here]  # type: ignore[index,call-overload]
    meta = there.json()[0]["meta_info"]
    assert len(meta["output_token_logprobs"]) == meta["completion_tokens"]
    assert meta["input_token_logprobs"][0][0] is None and len(meta["output_top_logprobs"][0]) == 2
    with raw.stream("POST", "/generate", json={**asked, "stream": True}) as streamed:
        events = [line.removeprefix("data: ") for line in streamed.iter_lines() if line]
    assert events.pop() == "[DONE]"
    last = {one["index"]: one["text"] for one in map(json.loads, events)}
    assert [last[index] for index in range(4)] == [one["text"] for one in there.json()]
