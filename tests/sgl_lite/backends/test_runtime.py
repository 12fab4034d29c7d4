"""SGLang's Runtime: a server in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

import sgl_lite as sgl


@pytest.fixture(scope="module")
def runtime() -> Iterator[sgl.Runtime]:
    with sgl.Runtime(api_key="k", max_running_requests=8) as runtime:
        yield runtime
    with pytest.raises(OSError):
        urllib.request.urlopen(runtime.url + "/health", timeout=5)
    runtime.shutdown()
    with pytest.raises(sgl.BackendError, match="was it shut down"):
        runtime.generate("a")


def test_generate_gives_json_text(runtime: sgl.Runtime) -> None:
    answer = json.loads(runtime.generate("Generate profile for Ada:", {"max_new_tokens": 4, "temperature": 0}))
    assert answer["text"] and answer["meta_info"]["completion_tokens"] == 4
    many = json.loads(
        runtime.generate(
            ["Generate profile for Ada:", "Generate profile for Bob:"], {"max_new_tokens": 2}, return_logprob=True
        )
    )
    assert [len(one["meta_info"]["output_token_logprobs"]) for one in many] == [2, 2]
    with pytest.raises(sgl.BackendError, match="max_new_tokens"):
        runtime.generate("a", {"max_new_tokens": -1})


def test_its_tokens_are_those_of_its_tokenizer(runtime: sgl.Runtime) -> None:
    text = "Ada Brown is 36 years old: é"
    tokenizer = runtime.get_tokenizer()
    answer = json.loads(runtime.generate(text, {"max_new_tokens": 0}))
    ids = runtime.encode(text)
    assert ids == tokenizer.encode(text) and len(ids) == answer["meta_info"]["prompt_tokens"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


async def pieces(runtime: sgl.Runtime) -> list[str]:
    return [
        piece
        async for piece in runtime.async_generate("Generate profile for Ada:", {"max_new_tokens": 6, "temperature": 0})
    ]


def test_async_generate_gives_pieces(runtime: sgl.Runtime) -> None:
    import asyncio

    got = asyncio.run(pieces(runtime))
    whole = json.loads(runtime.generate("Generate profile for Ada:", {"max_new_tokens": 6, "temperature": 0}))["text"]
    assert len(got) > 1 and "".join(got) == whole


def test_programs_run_on_it(runtime: sgl.Runtime) -> None:
    @sgl.function
    def program(s):
        s += "The colour is " + sgl.select("c", ["red", "blue"]) + " and "
        s += sgl.gen("x", max_tokens=8, regex="[a-z]{3}") + sgl.gen("n", n=2, max_tokens=2)

    sgl.set_default_backend(runtime)
    try:
        (state,) = program.run_batch([{}], temperature=0)
        assert state["c"] in ("red", "blue") and len(state["x"]) == 3 and len(state["n"]) == 2
        streamed = program.stream(temperature=0)
        assert "".join(streamed.text_iter()) == streamed.text()
        assert sgl.get_server_info()["running"] == 0
        sgl.flush_cache()
    finally:
        sgl.set_default_backend(None)


@pytest.mark.slow
def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(sgl.BackendError, match=r"ended with status 1:\n(.*\n)*.*ModelLoadError"):
        sgl.Runtime("no/such/model")


def test_unknown_settings_are_named() -> None:
    with pytest.raises(sgl.ArgumentError, match="no setting 'tp'; it has revision"):
        sgl.Runtime(tp=2)


@pytest.mark.slow
def test_it_ends_with_its_program() -> None:
    code = "import sgl_lite as sgl; print(sgl.Runtime().url)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with pytest.raises(OSError):
        urllib.request.urlopen(done.stdout.strip() + "/health", timeout=5)
