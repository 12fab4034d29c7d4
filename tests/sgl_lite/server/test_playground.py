"""The playground: one page that asks only this server; in headless Chromium, wide and narrow, light and dark.

SGL_LITE_SCREENSHOTS=folder keeps the pictures (docs/images has them).
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from starlette.testclient import TestClient

from grammars.spec import JsonSchema
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput
from sgl_lite.backends.local import LocalBackend
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.details import details
from sgl_lite.server.playground import PAGE
from sgl_lite.server.serving import http_server
from tests.sgl_lite.server.conftest import run_in_thread

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")


def test_the_page_needs_no_key_and_nothing_from_elsewhere(raw: TestClient) -> None:
    answer = TestClient(raw.app).get("/")
    assert answer.status_code == 200 and "default-src 'none'" in answer.headers["content-security-policy"]
    page = PAGE.read_text(encoding="utf-8")
    assert not re.findall(r"https?:|//[a-z]|<link|@import|src=", page)


def test_details_of_an_answer(raw: TestClient, backend: LocalBackend) -> None:
    prompt = "Zoë Brown is 36 years old, and lives in a small town by the sea, where it rains.\nJSON:"
    body = {
        "text": prompt,
        "sampling_params": {"max_new_tokens": 30, "temperature": 0, "json_schema": '{"const": {"name": "Zoë"}}'},
        "return_token_details": True,
    }
    backend.flush_cache()
    first, answer = (raw.post("/generate", json=body).json() for _ in range(2))
    meta = answer["meta_info"]
    assert "".join(text for text, _ in meta["token_details"]) == answer["text"]
    assert all(allowed >= 1 for _, allowed in meta["token_details"])
    assert any(allowed == 1 for _, allowed in meta["token_details"])
    assert meta["valid"] is first["meta_info"]["valid"] is True
    assert first["meta_info"]["prompt_details"] == ["", prompt]
    cached, rest = meta["prompt_details"]
    assert cached + rest == prompt and len(backend.encode(cached)) == meta["cached_tokens"] >= 16
    free = raw.post("/generate", json={"text": "Ada", "return_token_details": True}).json()["meta_info"]
    assert all(allowed is None for _, allowed in free["token_details"]) and free["valid"] is None


@pytest.mark.parametrize(
    ("text", "valid"), [("[1]", True), ("[1, 2]", True), ("[1", False), ("[1] ", False), ("", False)]
)
def test_validity_is_judged_by_the_text(backend: LocalBackend, text: str, valid: bool) -> None:
    request = GenerateRequest(prompt="", constraint=JsonSchema({"type": "array", "items": {"type": "integer"}}))
    one = CompletionOutput(0, text, backend.encode(text, special_tokens=False), "stop")
    output = RequestOutput("x", (), (one,), finished=True)
    assert details(backend, request, output, one)["valid"] is valid


SHOTS = "".join(
    f"Extract the person from: {text}\nJSON: {answer}\n"
    for text, answer in (
        ("Bob Stone is 41 and lives in Oslo.", '{"name": "Bob Stone", "age": 41, "city": "Oslo"}'),
        ("Eva Lind, aged 29, is from Rome.", '{"name": "Eva Lind", "age": 29, "city": "Rome"}'),
    )
)
ASKED = [
    *(f"{SHOTS}Extract the person from: {text}\nJSON:" for text in (
        "Max Young is a 52 year old cook from Madrid.", "Ada Brown is a 36 year old engineer from Paris.",
        "Ada Brown is 36 and sings.", "Mia Berg left Bern at 19, and came back at 64.")),
    *(f"You are a judge of short stories. Read the story, and then answer in one word.\nIs it {kind}?"
      for kind in ("long", "sad", "about the sea, or about somebody who goes there")),
    "Generate profile for Ada:", "Extract the person from: Ada Brown is a 36 year old engineer from Paris.\nJSON:",
]  # fmt: skip
"""What others asked before: a tree worth looking at."""


def fill(backend: LocalBackend) -> None:
    backend.flush_cache()
    backend.engine.generate(ASKED, {"max_new_tokens": 12, "temperature": 0})


def keep_busy(backend: LocalBackend, idle: threading.Event) -> None:
    """Somebody who asks the same again and again."""
    while not idle.is_set():
        backend.engine.generate(ASKED[0], {"max_new_tokens": 60, "temperature": 0, "ignore_eos": True})


def test_the_radix_tree(backend: LocalBackend) -> None:
    fill(backend)
    with TestClient(create_app(backend, ServerConfig(model_name="embedded", show_prompts=True))) as client:
        tree = client.get("/radix_tree").json()
        texts = [""] * len(tree["nodes"])
        for number, node in enumerate(tree["nodes"]):
            parent = node["parent"]
            assert parent < number and node["start"] == (tree["nodes"][parent]["end"] if parent >= 0 else 0)
            texts[number] = (texts[parent] if parent >= 0 else "") + node["text"]
        assert tree["num_nodes"] == len(texts) and not tree["hidden"]
        assert sum(node["parent"] < 0 for node in tree["nodes"]) >= 3
        assert any(text.startswith(ASKED[0][:90]) for text in texts)
        part = client.get("/radix_tree?nodes=2").json()
        assert len(part["nodes"]) == 2 and part["hidden"] + sum(node["hidden"] for node in part["nodes"]) > 0
        for wrong in ("0", "-1", "x", "9" * 30):
            answer = client.get(f"/radix_tree?nodes={wrong}")
            assert answer.status_code == 400 and answer.json()["error"]["param"] == "nodes"
    with TestClient(create_app(backend, ServerConfig(model_name="embedded"))) as client:
        assert all(node["text"] is None for node in client.get("/radix_tree").json()["nodes"])


@pytest.fixture(scope="module")
def page(backend: LocalBackend) -> Iterator[str]:
    fill(backend)
    server = http_server(backend, ServerConfig(model_name="embedded", show_prompts=True), port=0)
    thread, url = run_in_thread(server)
    idle = threading.Event()
    others = threading.Thread(target=keep_busy, args=(backend, idle))
    others.start()
    yield f"{url}/#run"
    idle.set()
    others.join(60)
    server.should_exit = True
    thread.join(20)


def chromium(*arguments: str) -> str:
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
    done = subprocess.run([str(CHROMIUM), *common, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.slow
@needs_chromium
def test_an_answer_in_a_browser(page: str, tmp_path: Path) -> None:
    shown = chromium(f"--user-data-dir={tmp_path}", "--dump-dom", page)
    assert re.search(r'<span id="verdict"[^>]*class="good"[^>]*>valid under the schema</span>', shown)
    answer = re.search(r'<span id="answer">(.*?)</div>', shown, re.DOTALL)
    assert answer is not None
    assert 'class="forced"' in answer[1] and 'class="free"' in answer[1]
    text = html.unescape(re.sub(r"<.*?>", "", answer[1]))
    assert set(json.loads(text)) == {"name", "age", "city"}
    asked = re.search(r'<span class="cached"[^>]*>(.*?)</span>', shown, re.DOTALL)
    assert asked is not None and asked[1].startswith("Extract the person from: Ada")
    assert "pages in use, kept, free" in shown and "prompt tokens" in shown
    tree = re.search(r'<svg id="tree".*?</svg>', shown, re.DOTALL)
    assert tree is not None and tree[0].count("<rect") >= 9 and "Extract the person" in tree[0]


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["1200,980", "420,1620"])
def test_pictures(page: str, tmp_path: Path, size: str, scheme: str) -> None:
    folder = Path(os.environ.get("SGL_LITE_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"playground-{scheme}-{size.split(',')[0]}.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    chromium(f"--user-data-dir={tmp_path}", f"--window-size={size}", *dark, f"--screenshot={path}", page)
    picture = PIL.Image.open(path).convert("L")
    assert f"{picture.width},{picture.height}" == size
    corner = picture.getpixel((2, picture.height - 2))
    assert isinstance(corner, int) and (corner < 90) is (scheme == "dark")
