"""README.md and pages of docs/: their Python, typed in as it stands, works; and the table of names is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sgl_lite as sgl

ROOT = Path(__file__).parents[2]
ELSEWHERE = {'"Qwen/Qwen3-0.6B"': "None", '"path/or/hub-id"': "None"}
"""Models that are not here; the embedded one takes their place."""


def blocks(page: str) -> str:
    """All Python of a page, one block after the other, as somebody who reads it types it in."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    code = "\n".join(found)
    for model, here in ELSEWHERE.items():
        code = code.replace(model, here)
    return code


@pytest.fixture(autouse=True)
def _default_backend() -> Iterator[None]:
    yield
    backend = sgl.global_config.default_backend
    sgl.set_default_backend(None)
    if backend is not None:
        backend.shutdown()


def type_in(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "docs"}
    exec(compile(blocks(page), page, "exec", dont_inherit=True), names)
    return names


def test_the_readme() -> None:
    names = type_in("README.md")
    person = names["state"].parsed("profile")
    assert isinstance(person, names["Person"])
    assert isinstance(names["outputs"][0].outputs[0].text, str)
    names["llm"].shutdown()


def test_the_page_of_the_language(capsys: pytest.CaptureFixture[str]) -> None:
    names = type_in("docs/language.md")
    person = names["state"].parsed("person")
    assert isinstance(person, names["Person"])


@pytest.mark.parametrize("page", ["docs/index.md", "docs/tutorial.md", "docs/grammars.md"])
def test_other_pages(page: str) -> None:
    names = type_in(page)
    if "engine" in names:
        names["engine"].shutdown()
        assert isinstance(names["person"].city, str) and names["states"][1]["mood"] in ("good", "bad")


SGLANG = """
function SglFunction.run run_batch stream bind trace cache arg_names arg_defaults bind_arguments func use_thread=
num_api_spec_tokens get_var set_var get_meta_info text messages sync error text_iter text_async_iter fork
join("gather_variable") join("concate_and_append") copy var_scope ret_value system user assistant *_begin *_end gen
gen_int gen_string dtype= select choices_method separate_reasoning image video set_default_backend flush_cache
get_server_info global_config Engine Runtime RuntimeEndpoint OpenAI Anthropic LiteLLM VertexAI Crusoe ServerArgs
register_chat_template register_chat_template_matching_function get_chat_template get_chat_template_by_model_path
ChatTemplate.get_prompt lang.ir lang.interpreter lang.chat_template lang.choices lang.tracer TracerProgramState
token_usage
"""


def test_every_name_of_sglangs_front_end_is_in_the_table() -> None:
    table = (ROOT / "docs/language.md").read_text(encoding="utf-8").partition("name by name")[2]
    firsts = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    named = {name for first in firsts for name in re.findall(r"`([^`]+)`", first)}
    missing = [name for name in SGLANG.split() if name not in named]
    assert not missing
    for name in ("token_length_normalized", "greedy_token_selection", "unconditional_likelihood_normalized"):
        assert hasattr(sgl, name) and f"`{name}`" in (ROOT / "docs/language.md").read_text(encoding="utf-8")


def test_the_table_says_of_each_what_it_is() -> None:
    table = (ROOT / "docs/language.md").read_text(encoding="utf-8").partition("name by name")[2]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) > 40
    states = {row[1].strip() for row in rows}
    assert states == {"same", "better", "differs", "accepted", "not here"}
    assert all(row[2].strip() for row in rows if row[1].strip() in ("differs", "not here", "better", "accepted"))
