"""`sgl.LiteLLM`: what it hands to `litellm.completion`, and what it makes of the answers; the calls go to a client of
OpenAI's in litellm's place.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import sgl_lite as sgl
from tests.sgl_lite.test_openai import Server

openai = pytest.importorskip("openai")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def backend(server: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    module = ModuleType("litellm")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="k", max_retries=0)

    def completion(*, model: str, api_key: str, **fields: Any) -> Any:
        assert api_key == "secret"
        return client.chat.completions.create(model=model, **fields)

    module.completion = completion  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "litellm", module)
    monkeypatch.delitem(sys.modules, "sgl_lite.backends.litellm", raising=False)
    backend = importlib.import_module("sgl_lite.backends.litellm").LiteLLM("anthropic/some-model", api_key="secret")
    yield backend
    backend.shutdown()
    sys.modules.pop("sgl_lite.backends.litellm", None)


@sgl.function
def chat(s: sgl.ProgramState, question: str) -> None:
    s += sgl.system("Be brief.") + sgl.user(question)
    s += sgl.assistant(sgl.gen("a", max_tokens=12, temperature=0.5))


def test_messages_and_settings_go_out(server: Server, backend: Any) -> None:
    state = chat("Who?", backend=backend)
    assert state["a"] == "an answer"
    ((path, body),) = server.bodies
    assert path == "/v1/chat/completions" and body["model"] == "anthropic/some-model"
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    assert (body["max_tokens"], body["temperature"]) == (12, 0.5)
    assert backend.token_usage.completion_tokens == len("an answer")


def test_streams_and_types(server: Server, backend: Any) -> None:
    state = chat.stream("Who?", backend=backend)
    pieces = list(state.text_iter("a"))
    assert len(pieces) > 1 and "".join(pieces) == "an answer"
    server.answer = lambda body: '{"value": 7}'

    @sgl.function
    def number(s: sgl.ProgramState) -> None:
        s += sgl.user("How many?") + sgl.assistant(sgl.gen("n", type=int))

    assert number(backend=backend).parsed("n") == 7
    assert server.bodies[-1][1]["response_format"]["type"] == "json_schema"


def test_what_it_cannot_do_and_what_fails_are_errors(server: Server, backend: Any) -> None:
    with pytest.raises(sgl.UnsupportedByBackendError, match="holds JSON Schema only"):
        sgl.function(lambda s: s.__iadd__(sgl.user("a") + sgl.assistant(sgl.gen("x", regex="a+"))))(backend=backend)
    with pytest.raises(sgl.UnsupportedByBackendError, match="log-probabilities"):
        sgl.function(lambda s: s.__iadd__(sgl.user("a") + sgl.assistant(sgl.select("x", ["a", "b"]))))(backend=backend)
    server.answer = lambda body: 400
    with pytest.raises(sgl.BackendError, match=r"anthropic/some-model refused the request: .*bad request of yours"):
        chat("Who?", backend=backend).text()


def test_providers_by_sglangs_names(backend: Any) -> None:
    module = sys.modules["sgl_lite.backends.litellm"]
    assert module.Anthropic("claude").model_name == "anthropic/claude"
    assert module.VertexAI("gemini").model_name == "vertex_ai/gemini"


def test_without_the_package_the_error_says_how_to_get_it() -> None:
    sys.modules.pop("sgl_lite.backends.litellm", None)
    if "litellm" in sys.modules or importlib.util.find_spec("litellm"):  # type: ignore[attr-defined]
        pytest.skip("litellm is installed")
    with pytest.raises(ImportError, match="pip install 'sgl-lite\\[litellm\\]'"):
        importlib.import_module("sgl_lite.backends.litellm")
