"""Programs against a server that speaks OpenAI's API: a small one, made here, asked by the official client."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np
import pytest

import sgl_lite as sgl
from runtime.images import Image

pytest.importorskip("openai")


class Handler(BaseHTTPRequestHandler):
    """Says what `server.answer(body)` says."""

    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))  # type: ignore[attr-defined]
        text = self.server.answer(body)  # type: ignore[attr-defined]
        if isinstance(text, int):
            return self.reply({"error": {"message": "bad request of yours"}}, text)
        usage = {"prompt_tokens": 7, "completion_tokens": len(text), "total_tokens": 9}
        usage["prompt_tokens_details"] = {"cached_tokens": 4}  # type: ignore[assignment]
        stop = next((s for s in body.get("stop", []) if s in text), None)
        text = text[: body.get("max_tokens", 99)] if stop is None else text.split(stop)[0]
        if body.get("stream"):
            return self.pieces(body, text, usage)
        one = self.choice(text)
        return self.reply(
            {"id": "r1", "choices": [{**one, "index": i} for i in range(body.get("n", 1))], "usage": usage}
        )

    def choice(self, text: str) -> dict[str, Any]:
        if self.path.endswith("/chat/completions"):
            return {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"text": text, "finish_reason": "stop"}

    def pieces(self, body: dict[str, Any], text: str, usage: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for letter in text:
            time.sleep(0.004)  # else all of it comes at once
            choice = {"index": 0, "delta": {"content": letter}, "text": letter, "finish_reason": None}
            self.wfile.write(f"data: {json.dumps({'id': 'r2', 'choices': [choice]})}\n\n".encode())
        self.wfile.write(
            f"data: {json.dumps({'id': 'r2', 'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n".encode()
        )

    def reply(self, value: Any, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.answer: Callable[[dict[str, Any]], str | int] = lambda body: "an answer"

    def model(self, name: str = "gpt-4o", **given: Any) -> sgl.OpenAI:
        return sgl.OpenAI(name, base_url=f"http://127.0.0.1:{self.server_port}/v1", api_key="k", max_retries=0, **given)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@sgl.function
def chat(s, question):
    s += sgl.system("Be brief.")
    s += sgl.user(question)
    s += sgl.assistant(sgl.gen("a", max_tokens=12, temperature=0.5, seed=3))
    s += sgl.user("More.")
    s += sgl.assistant(sgl.gen("b", max_tokens=4, stop=["s", "!"]))


def test_a_chat(server: Server) -> None:
    model = server.model()
    state = chat("Hi?", backend=model)
    assert (state["a"], state["b"]) == ("an answer", "an an")
    (path, first), (_, second) = server.bodies
    assert path == "/v1/chat/completions"
    assert first["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    assert (first["model"], first["max_tokens"], first["temperature"], first["seed"]) == ("gpt-4o", 12, 0.5, 3)
    assert "stop" not in first and second["stop"] == ["s", "!"]
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "user"]
    meta = state.get_meta_info("a")
    assert (meta["prompt_tokens"], meta["cached_tokens"], meta["finish_reason"]["type"]) == (7, 4, "stop")
    assert model.token_usage.prompt_tokens == 14
    model.token_usage.reset()
    assert model.token_usage.prompt_tokens == 0


def test_streams(server: Server) -> None:
    server.answer = lambda body: "größer 日本"
    state = chat.stream("Hi?", backend=server.model())
    pieces = list(state.text_iter("a"))
    assert "".join(pieces) == "größer 日本" == state["a"] and len(pieces) > 3
    assert state.get_meta_info("a")["prompt_tokens"] == 7


def test_completion_models_take_text(server: Server) -> None:
    @sgl.function
    def program(s):
        s += "Once " + sgl.gen("x", n=2, max_tokens=5) + "|"

    state = program(backend=server.model("gpt-3.5-turbo-instruct"))
    assert state["x"] == ["an an", "an an"] and state.text() == "Once an an|"
    assert server.bodies[0][0] == "/v1/completions" and server.bodies[0][1]["prompt"] == "Once "
    assert "".join(program.stream(backend=server.model("gpt-3.5-turbo-instruct")).text_iter()) == "Once an an|"


class Color(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("hint", "said", "value"),
    [
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (int, '{"value": 3}', 3),
        (Literal["yes", "no"], '{"value": "no"}', "no"),
        (list[Color], '{"value": ["red"]}', [Color.RED]),
    ],
)
def test_types_go_as_schemas(server: Server, hint: Any, said: str, value: Any) -> None:
    server.answer = lambda body: said
    state = sgl.function(lambda s: s.__iadd__(sgl.user("x") + sgl.assistant(sgl.gen("x", type=hint))))(
        backend=server.model()
    )
    assert state.parsed("x") == value
    form = server.bodies[0][1]["response_format"]
    assert form["type"] == "json_schema" and form["json_schema"]["schema"]["type"] == "object"
    assert form["json_schema"]["strict"] is True
    if hint == list[Color]:
        assert "Color" in form["json_schema"]["schema"]["$defs"]


def test_an_answer_that_is_no_json_is_an_error(server: Server) -> None:
    server.answer = lambda body: '{"a": '
    ask = sgl.function(lambda s: s.__iadd__(sgl.user("x") + sgl.assistant(sgl.gen("x", format="json"))))
    with pytest.raises(sgl.BackendError, match="no JSON"):
        ask(backend=server.model())["x"]
    assert server.bodies[0][1]["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (sgl.gen("x", regex="a+"), "JSON Schema only, not Regex.*use the local engine"),
        (sgl.gen("x", dtype=int), "type=int"),
        (sgl.select("x", ["a", "b"]), "Literal"),
        (sgl.gen("x", top_k=5, min_p=0.1), "no top_k and no min_p"),
        (sgl.gen("x", return_logprob=True), "no logprobs"),
        ("Well, " + sgl.gen("x"), "must be the first in its assistant message"),
    ],
)
def test_what_it_cannot_do_says_what_to_do(server: Server, node: Any, message: str) -> None:
    with pytest.raises(sgl.UnsupportedByBackendError, match=message):
        sgl.function(lambda s: s.__iadd__(sgl.user("x") + sgl.assistant(node)))(backend=server.model()).sync()
    assert server.bodies == []


def test_prompts_and_settings_that_mean_nothing_to_it(server: Server) -> None:
    plain = sgl.function(lambda s: s.__iadd__("text" + sgl.gen("x")))
    with pytest.raises(sgl.UnsupportedByBackendError, match="write its prompt as messages"):
        plain(backend=server.model()).sync()
    ahead = sgl.function(lambda s: None, num_api_spec_tokens=8)
    with pytest.raises(sgl.UnsupportedByBackendError, match="num_api_spec_tokens=8"):
        ahead(backend=server.model())
    with pytest.raises(sgl.ArgumentError, match="at least 1"):
        sgl.function(lambda s: None, num_api_spec_tokens=0)


def test_errors_of_the_api(server: Server) -> None:
    server.answer = lambda body: 400
    with pytest.raises(sgl.BackendError, match="bad request of yours"):
        chat("x", backend=server.model()).sync()
    with pytest.raises(sgl.BackendError, match="cannot be reached"):
        chat("x", backend=sgl.OpenAI("gpt-4o", base_url="http://127.0.0.1:9/v1", api_key="k", max_retries=0)).sync()


def test_no_key_is_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(sgl.BackendError, match="OPENAI_API_KEY"):
        sgl.OpenAI("gpt-4o")


class TestReadingAhead:
    """`num_api_spec_tokens` on a completion model."""

    @pytest.mark.parametrize(
        ("written", "values", "calls"),
        [
            ("Harry\nBirthday: July\nJob: wizard\n", ("Harry", " July", " wizard"), 1),
            ("Harry\nBirthday: July\nWork: wizard\n", ("Harry", " July", " other"), 2),  # writes another word
            ("Harry\nHouse\n", ("Harry", " other", " other"), 3),
        ],
    )
    def test_one_call(self, server: Server, written: str, values: tuple[str, ...], calls: int) -> None:
        @sgl.function(num_api_spec_tokens=48)
        def character(s):
            s += "Name: " + sgl.gen("name", stop="\n") + "\nBirthday:" + sgl.gen("birthday", stop="\n")
            s += "\nJob:" + sgl.gen("job", stop="\n") + "\n"

        server.answer = lambda body: written if body["prompt"] == "Name: " else " other\nmore"
        state = character(backend=server.model("gpt-3.5-turbo-instruct"))
        assert (state["name"], state["birthday"], state["job"]) == values
        assert state.text() == "Name: {}\nBirthday:{}\nJob:{}\n".format(*values) and len(server.bodies) == calls
        assert "stop" not in server.bodies[0][1]
        assert state.get_meta_info("job").get("read_ahead", False) == (calls == 1)
        assert state.get_meta_info("name")["finish_reason"] == {"type": "stop", "matched": "\n"}

    def test_streams_show_nothing_past_the_stop(self, server: Server) -> None:
        @sgl.function(num_api_spec_tokens=4)
        def program(s):
            s += "A" + sgl.gen("x", stop="|") + "|" + sgl.gen("y", stop="|")

        server.answer = lambda body: "one|two|three"
        state = program.stream(backend=server.model("davinci-002"))
        assert "".join(state.text_iter()) == "Aone|two" and len(server.bodies) == 1

    def test_other_settings_are_asked_for(self, server: Server) -> None:
        @sgl.function(num_api_spec_tokens=32)
        def program(s):
            s += "A" + sgl.gen("x", stop="|") + "|" + sgl.gen("y", stop="|", temperature=0.0) + "|" + sgl.gen("z")

        server.answer = lambda body: "one|two|three"
        program(backend=server.model("davinci-002")).sync()
        assert [body["prompt"] for _, body in server.bodies] == ["A", "Aone|", "Aone|one|"]


def test_images_are_parts_of_messages(server: Server) -> None:
    picture = Image.of(np.zeros((3, 4, 3), np.uint8))
    program = sgl.function(lambda s: s.__iadd__(sgl.user(sgl.image(picture) + "What?") + sgl.assistant(sgl.gen("x"))))
    assert program(backend=server.model())["x"] == "an answer"
    ((_, body),) = server.bodies
    shown, text = body["messages"][0]["content"]
    assert Image.of(shown["image_url"]["url"]) == picture and text == {"type": "text", "text": "What?"}
    with pytest.raises(sgl.UnsupportedByBackendError, match="sees no images"):
        program(backend=server.model("gpt-3.5-turbo-instruct"))
