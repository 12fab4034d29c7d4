"""Programs against a server that speaks SGLang's `/generate`: a small one, made here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

import sgl_lite as sgl
from runtime.images import Image


class Handler(BaseHTTPRequestHandler):
    """Says "an answer"; scores token t with -t / 100."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.reply({"model_path": "Qwen/Qwen2.5-7B-Instruct"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append((self.path, body))  # type: ignore[attr-defined]
        if self.path == "/v1/tokenize":
            return self.reply({"tokens": list(body["prompt"].encode())})
        if self.path != "/generate":
            return self.reply({})
        if body["sampling_params"].get("top_p") == 0.123:
            self.send_response(400)
            self.end_headers()
            return self.wfile.write(b'{"error": "bad top_p"}')
        text = "an answer"[: body["sampling_params"]["max_new_tokens"]]
        if not body["stream"]:
            n = body["sampling_params"]["n"]
            return self.reply([self.answer(body, text)] * n if n > 1 else self.answer(body, text))
        self.send_response(200)
        self.end_headers()
        for end in range(1, len(text) + 1):
            self.wfile.write(f"data: {json.dumps(self.answer(body, text[:end]))}\n\n".encode())
        return self.wfile.write(b"data: [DONE]\n\n")

    def answer(self, body: dict[str, Any], text: str) -> dict[str, Any]:
        meta: dict[str, Any] = {"id": "1", "prompt_tokens": 3, "cached_tokens": 2, "completion_tokens": len(text)}
        meta["finish_reason"] = {"type": "stop", "matched": None}
        if "input_ids" in body and "logprob_start_len" in body:
            ids = body["input_ids"][body["logprob_start_len"] :]
            meta["input_token_logprobs"] = [[-i / 100, i, None] for i in ids]
        return {"text": text, "output_ids": list(text.encode()), "meta_info": meta}

    def reply(self, value: Any) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(value).encode())


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sgl.set_default_backend(sgl.RuntimeEndpoint(f"http://127.0.0.1:{server.server_port}/", api_key="k"))
    yield server
    sgl.set_default_backend(None)
    server.shutdown()
    server.server_close()


@sgl.function
def program(s):
    s += "Q: " + sgl.gen("a", max_tokens=2, stop="x", seed=3) + " " + sgl.gen("b", regex="[a-z ]+")
    s += sgl.select("c", ["zz", "aa"])


def test_a_program(server: Any) -> None:
    state = program(temperature=0.5)
    assert state.text() == "Q: an an answeraa"
    assert state.get_meta_info("a")["cached_tokens"] == 2
    sampling = [body["sampling_params"] for path, body in server.bodies if path == "/generate"]
    assert (sampling[0]["max_new_tokens"], sampling[0]["stop"], sampling[0]["sampling_seed"]) == (2, ["x"], 3)
    assert sampling[1]["regex"] == "[a-z ]+" and sampling[1]["temperature"] == 0.5


def test_streams_and_several_answers(server: Any) -> None:
    pieces = list(program.stream().text_iter("b"))
    assert "".join(pieces) == "an answer"
    assert sgl.function(lambda s: s.__iadd__(sgl.gen("x", n=2)))()["x"] == ["an answer", "an answer"]


def test_the_template_of_the_model(server: Any) -> None:
    sgl.function(lambda s: s.__iadd__(sgl.user("Hi") + sgl.assistant(sgl.gen("x"))))().sync()
    (_, body), *_ = [one for one in server.bodies if one[0] == "/generate"]
    assert body["text"].endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert body["sampling_params"]["stop"] == ["<|im_end|>"]


def test_what_it_cannot_do_is_an_error(server: Any) -> None:
    with pytest.raises(sgl.UnsupportedByBackendError, match="not Lark"):
        sgl.function(lambda s: s.__iadd__(sgl.gen("x", grammar='start: "a"')))()

    @sgl.function
    def block(s):
        with s.constrain(json_schema={"type": "object"}):
            s += '{"a": ' + sgl.gen("x")

    with pytest.raises(sgl.UnsupportedByBackendError, match="on the gen"):
        block()


def test_errors_of_the_server(server: Any) -> None:
    with pytest.raises(sgl.BackendError, match=r"answered 400.*bad top_p"):
        program(top_p=0.123).text()
    with pytest.raises(sgl.BackendError, match="cannot be reached"):
        program(backend=sgl.RuntimeEndpoint("http://127.0.0.1:9")).text()
    with pytest.raises(sgl.ArgumentError, match="must begin with http"):
        sgl.RuntimeEndpoint("localhost:30000")


def test_images_are_sent_with_the_models_text_for_them(server: ThreadingHTTPServer) -> None:
    picture = Image.of(np.zeros((3, 4, 3), np.uint8))
    state = sgl.function(lambda s: s.__iadd__("see " + sgl.image(picture) + "!" + sgl.gen("x", max_tokens=4)))()
    assert state["x"] == "an a"
    path, body = server.bodies[-1]  # type: ignore[attr-defined]
    assert (path, body["text"]) == ("/generate", "see <image>!")
    assert [Image.of(url) for url in body["image_data"]] == [picture]
