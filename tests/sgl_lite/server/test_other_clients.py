"""Clients that others wrote, unmodified, against a live server: huggingface_hub, litellm, LangChain, instructor.

Each is skipped where it is not installed: `pip install litellm langchain-openai instructor`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from sgl_lite.backends.local import LocalBackend
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.serving import http_server
from tests.sgl_lite.server.conftest import KEY, MODEL, run_in_thread


class Person(BaseModel):
    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=150)
    mood: Literal["good", "bad"]


ASK: list[Any] = [{"role": "user", "content": "Generate profile for Ada:"}]
SCHEMA = Person.model_json_schema() | {"additionalProperties": False}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]},
    },
}


class TestHuggingFace:
    @pytest.fixture(autouse=True)
    def _online(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Even where the hub must not be asked: the server is on this machine."""
        module = pytest.importorskip("huggingface_hub")
        monkeypatch.setattr(module.constants, "HF_HUB_OFFLINE", False)

    @pytest.fixture
    def hub(self, address: str) -> Any:
        module = pytest.importorskip("huggingface_hub")
        return module.InferenceClient(base_url=address, api_key=KEY)

    def test_chat(self, hub: Any) -> None:
        answer = hub.chat_completion(ASK, model=MODEL, max_tokens=5, temperature=0, seed=1)
        assert answer.choices[0].message.content and answer.usage.completion_tokens <= 5
        pieces = hub.chat_completion(ASK, model=MODEL, max_tokens=5, temperature=0, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == answer.choices[0].message.content

    def test_a_schema(self, hub: Any) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
        answer = hub.chat_completion(ASK, model=MODEL, max_tokens=60, response_format=wanted)
        Person.model_validate_json(answer.choices[0].message.content)

    def test_tools(self, hub: Any) -> None:
        answer = hub.chat_completion(ASK, model=MODEL, max_tokens=80, tools=[WEATHER], tool_choice="required")
        (call, *_) = answer.choices[0].message.tool_calls
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")

    def test_text_generation(self, address: str) -> None:
        module = pytest.importorskip("huggingface_hub")
        hub = module.InferenceClient(model=address, api_key=KEY)
        text = hub.text_generation("Generate profile for Ada:", max_new_tokens=6)
        pieces = list(hub.text_generation("Generate profile for Ada:", max_new_tokens=6, stream=True))
        assert text and "".join(pieces) == text
        detailed = hub.text_generation("Generate profile for Ada:", max_new_tokens=6, details=True)
        assert detailed.generated_text == text and detailed.details.generated_tokens <= 6
        number = hub.text_generation("Year:", max_new_tokens=9, grammar={"type": "regex", "value": "[0-9]{4}"})
        assert len(number) == 4 and number.isdigit()


class TestLiteLLM:
    @pytest.fixture
    def call(self, address: str) -> dict[str, Any]:
        pytest.importorskip("litellm")
        return {"model": f"openai/{MODEL}", "api_base": f"{address}/v1", "api_key": KEY, "messages": ASK}

    def test_chat(self, call: dict[str, Any]) -> None:
        import litellm

        answer = litellm.completion(**call, max_tokens=5, temperature=0)
        pieces = litellm.completion(**call, max_tokens=5, temperature=0, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
        assert text == answer.choices[0].message.content != ""

    def test_a_type(self, call: dict[str, Any]) -> None:
        import litellm

        answer = litellm.completion(**call, max_tokens=60, response_format=Person)
        Person.model_validate_json(answer.choices[0].message.content)

    def test_async_with_tools(self, call: dict[str, Any]) -> None:
        pytest.importorskip("mcp", reason="litellm needs mcp for tools")
        import litellm

        answer = asyncio.run(
            litellm.acompletion(**call, max_tokens=80, tools=[WEATHER], tool_choice="required", temperature=0)
        )
        assert answer.choices[0].message.tool_calls[0].function.name == "get_weather"

    def test_programs_by_it(self, address: str) -> None:
        pytest.importorskip("litellm")
        import sgl_lite as sgl

        backend = sgl.LiteLLM(f"openai/{MODEL}", api_base=f"{address}/v1", api_key=KEY)

        @sgl.function
        def program(s: sgl.ProgramState) -> None:
            s += sgl.user("Generate profile for Ada:") + sgl.assistant(sgl.gen("p", type=Person, max_tokens=60))

        assert isinstance(program(backend=backend).parsed("p"), Person)
        streamed = program.stream(backend=backend)
        assert "".join(streamed.text_iter("p")) == streamed["p"]
        backend.shutdown()


class TestLangChain:
    @pytest.fixture
    def model(self, address: str) -> Any:
        module = pytest.importorskip("langchain_openai")
        return module.ChatOpenAI(
            model=MODEL, base_url=f"{address}/v1", api_key=KEY, max_tokens=80, temperature=0, max_retries=0
        )

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_structured_output(self, model: Any, method: str) -> None:
        person = model.with_structured_output(Person, method=method).invoke("Generate profile for Ada:")
        assert isinstance(person, Person)

    def test_a_stream(self, model: Any) -> None:
        text = "".join(str(piece.content) for piece in model.stream("Generate profile for Ada:"))
        assert text == model.invoke("Generate profile for Ada:").content != ""

    def test_tools(self, model: Any) -> None:
        answer = model.bind_tools([WEATHER], tool_choice="get_weather").invoke("The weather?")
        assert answer.tool_calls[0]["name"] == "get_weather" and answer.tool_calls[0]["args"]["city"]


class TestInstructor:
    @pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA", "JSON"])
    def test_a_type(self, address: str, mode: str) -> None:
        instructor = pytest.importorskip("instructor")
        openai = pytest.importorskip("openai")
        plain = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0)
        client = instructor.from_openai(plain, mode=instructor.Mode[mode])
        if mode == "JSON":  # any object is asked for: what the model says need not be a person
            with pytest.raises(Exception, match=r"(?i)valid|max_tokens|incomplete"):
                client.chat.completions.create(
                    model=MODEL,
                    messages=ASK,
                    max_tokens=40,
                    response_model=Person,
                    max_retries=0,
                    temperature=2,
                    seed=3,
                )
            return
        person = client.chat.completions.create(
            model=MODEL, messages=ASK, max_tokens=80, response_model=Person, max_retries=0, temperature=1.0, seed=3
        )
        assert isinstance(person, Person)


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.skipif(shutil.which("schemathesis") is None, reason="needs schemathesis")
def test_schemathesis_finds_no_server_error(backend: LocalBackend, tmp_path: Path) -> None:
    """What it makes of /openapi.json, sent to a server without keys."""
    server = http_server(backend, ServerConfig(model_name=MODEL), port=0)
    thread, url = run_in_thread(server)
    command = ["schemathesis", "run", f"{url}/openapi.json", "--url", url, "--checks", "not_a_server_error"]
    command += ["--max-examples", "25", "--phases", "examples,fuzzing", "--request-timeout", "60", "--seed", "1"]
    command += ["--suppress-health-check", "all"]  # they are about the speed of the machine
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=tmp_path)
    finally:
        server.should_exit = True
        thread.join(20)
    assert done.returncode == 0, done.stdout[-3000:]
