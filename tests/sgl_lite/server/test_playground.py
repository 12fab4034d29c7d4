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
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
import pytest
from starlette.testclient import TestClient

from sgl_lite.backends.local import LocalBackend
from sgl_lite.server.config import ServerConfig
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


def test_token_details(raw: TestClient) -> None:
    body = {
        "text": "JSON:",
        "sampling_params": {"max_new_tokens": 30, "temperature": 0, "json_schema": '{"const": {"name": "Zoë"}}'},
        "return_token_details": True,
    }
    answer = raw.post("/generate", json=body).json()
    details = answer["meta_info"]["token_details"]
    assert "".join(text for text, _ in details) == answer["text"]
    assert all(allowed >= 1 for _, allowed in details) and any(allowed == 1 for _, allowed in details)
    free = raw.post("/generate", json={"text": "Ada", "return_token_details": True}).json()
    assert all(allowed is None for _, allowed in free["meta_info"]["token_details"])


@pytest.fixture(scope="module")
def page(backend: LocalBackend) -> Iterator[str]:
    server = http_server(backend, ServerConfig(model_name="embedded"), port=0)
    thread, url = run_in_thread(server)
    yield f"{url}/#run"
    server.should_exit = True
    thread.join(20)


def chromium(*arguments: str) -> str:
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=600000"]
    done = subprocess.run([str(CHROMIUM), *common, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.slow
@needs_chromium
def test_an_answer_in_a_browser(page: str, tmp_path: Path) -> None:
    shown = chromium(f"--user-data-dir={tmp_path}", "--dump-dom", page)
    assert '<span id="verdict" class="good">valid JSON</span>' in shown
    answer = re.search(r'<div id="answer">(.*?)</div>', shown, re.DOTALL)
    assert answer is not None
    assert 'class="forced"' in answer[1] and 'class="free"' in answer[1]
    text = html.unescape(re.sub(r"<.*?>", "", answer[1]))
    assert set(json.loads(text)) == {"name", "age", "city"}
    assert "nodes of the radix tree" in shown and "prompt tokens" in shown


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(("size", "scheme"), [("1200,760", "light"), ("1200,760", "dark"), ("420,1180", "light")])
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
