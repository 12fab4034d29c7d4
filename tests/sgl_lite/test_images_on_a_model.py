"""Programs and the server with images on real engines: tiny random vision-language models, against transformers."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForImageTextToText, AutoProcessor

import sgl_lite as sgl
from runtime.images import Image
from sgl_lite.marks import data_url
from sgl_lite.server.app import create_app
from sgl_lite.server.config import ServerConfig
from sgl_lite.server.serving import http_server
from tests.runtime.vision.checkpoints import write_checkpoint
from tests.sgl_lite.server.conftest import run_in_thread

TEMPLATES = {
    "llava": (
        "{% for m in messages %}{{ m.role | upper + ': ' }}{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for p in m.content %}{% if p.type == 'image' %}<image>\n{% else %}{{ p.text }}{% endif %}{% endfor %}"
        "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    ),
    "gemma3": (
        "{{ bos_token }}{% for m in messages %}<|im|>{{ m.role }}\n"
        "{% if m.content is string %}{{ m.content }}{% else %}"
        "{% for p in m.content %}{% if p.type == 'image' %}<start_of_image>"
        "{% else %}{{ p.text }}{% endif %}{% endfor %}{% endif %}\n{% endfor %}"
        "{% if add_generation_prompt %}<|im|>assistant\n{% endif %}"
    ),
}
RNG = np.random.default_rng(6)
RED, BLUE = (Image.of(RNG.integers(0, 255, (30, 40, 3), dtype=np.uint8)) for _ in range(2))


@pytest.fixture(scope="module", params=TEMPLATES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_checkpoint(request.param, tmp_path_factory.mktemp("eyes"))
    (folder / "chat_template.jinja").write_text(TEMPLATES[request.param])
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[sgl.Engine]:
    with sgl.Engine(str(folder), dtype="float32", num_threads=1, kv_cache_bytes=8 << 20) as engine:
        sgl.set_default_backend(engine)
        yield engine
        engine.check_invariants()
        sgl.set_default_backend(None)


@pytest.fixture(scope="module")
def processor(folder: Path) -> Any:
    return AutoProcessor.from_pretrained(folder)


def ids_of(processor: Any, messages: list[dict[str, Any]], images: list[Image], prompt: bool = True) -> list[int]:
    """What the family's own processor makes of the messages."""
    text = processor.apply_chat_template(messages, add_generation_prompt=prompt, tokenize=False)
    special = not text.startswith(processor.tokenizer.bos_token)
    pictures = [[one.to_pil() for one in images]]
    inputs = processor(text=[text], images=pictures, return_tensors="pt", add_special_tokens=special)
    return inputs["input_ids"][0].tolist()


def in_parts(*parts: str | Image) -> list[dict[str, Any]]:
    return [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in parts]


def test_prompts_are_the_processors_own(engine: sgl.Engine, processor: Any) -> None:
    @sgl.function
    def program(s):
        s += sgl.system("Look.")
        s += sgl.user(sgl.image(RED) + "What and " + sgl.image(BLUE) + "?") + sgl.assistant(sgl.gen("a", max_tokens=3))
        s += sgl.user("And?") + sgl.assistant(sgl.gen("b", max_tokens=3))

    sent: list[tuple[int, ...]] = []
    submit = engine.submit

    def watched(request: Any, on_output: Any = None) -> Any:
        running = submit(request, on_output)
        running.add_done_callback(lambda one: sent.append(one.latest.prompt_token_ids))
        return running

    engine.submit = watched  # type: ignore[method-assign]
    try:
        state = program(temperature=0).sync()
    finally:
        engine.submit = submit  # type: ignore[method-assign]
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": in_parts("Look.")},
        {"role": "user", "content": in_parts(RED, "What and ", BLUE, "?")},
    ]
    assert list(sent[0]) == ids_of(processor, messages, [RED, BLUE])
    later = [*messages, {"role": "assistant", "content": in_parts(state["a"])}]
    later.append({"role": "user", "content": in_parts("And?")})
    if "\ufffd" not in state["a"]:  # else the text is not what the model wrote
        assert list(sent[1]) == ids_of(processor, later, [RED, BLUE])
    first, second = state.get_meta_info("a"), state.get_meta_info("b")
    assert first["image_tokens"] == second["image_tokens"] > 2
    assert second["cached_tokens"] > first["image_tokens"]


def test_choices_after_an_image_are_brute_forces(engine: sgl.Engine, folder: Path, processor: Any) -> None:
    choices = ["a cat", "a dog", "snow"]

    @sgl.function
    def program(s):
        s += sgl.user(sgl.image(RED) + "What?") + sgl.assistant(
            "It is " + sgl.select("x", choices, choices_method="probability")
        )

    state = program().sync()
    model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    messages = [{"role": "user", "content": in_parts(RED, "What?")}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False) + "It is "
    logprobs = []
    start = len(processor(text=[text], images=[[RED.to_pil()]])["input_ids"][0])
    for choice in choices:
        inputs = processor(text=[text + choice], images=[[RED.to_pil()]], return_tensors="pt")
        with torch.no_grad():
            scores = model(**inputs).logits[0].log_softmax(-1)
        ids = inputs["input_ids"][0]
        logprobs.append(sum(scores[i - 1, ids[i]].item() for i in range(start, len(ids))))
    total = sum(math.exp(x) for x in logprobs)
    meta = state.get_meta_info("x")
    assert meta["probabilities"] == pytest.approx([math.exp(x) / total for x in logprobs], rel=1e-3)


def test_forks_share_an_image(engine: sgl.Engine) -> None:
    @sgl.function
    def program(s):
        s += "This is " + sgl.image(BLUE) + " and "
        s += sgl.gen("first", max_tokens=2, ignore_eos=True)
        forks = s.fork(4)
        forks += lambda i: f" {i} " + sgl.gen("x", max_tokens=2)
        forks.join()

    engine.flush_cache()
    state = program()
    images = state.get_meta_info("first")["image_tokens"]
    assert all(meta["cached_tokens"] >= images // 16 * 16 for meta in state.get_meta_info("x")["forks"])
    with pytest.raises(sgl.AppendError, match="would take for an image"):
        support = engine.image_support
        assert support is not None
        sgl.function(lambda s: s.__iadd__(f"see {support.reserved[0]}"))()


@pytest.fixture(scope="module")
def raw(engine: sgl.Engine) -> Iterator[TestClient]:
    config = ServerConfig(model_name="eyes", max_images=3)
    with TestClient(create_app(sgl.LocalBackend.of(engine), config)) as client:
        yield client


def chat(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    message = {"role": "user", "content": list(parts)}
    return {"model": "eyes", "messages": [message], "max_tokens": 4, "temperature": 0, **fields}


def shown(image: Image | str) -> dict[str, Any]:
    url = image if isinstance(image, str) else data_url(image)
    return {"type": "image_url", "image_url": {"url": url}}


TEXT = {"type": "text", "text": "What?"}


def test_chats_over_http(raw: TestClient, processor: Any) -> None:
    answer = raw.post("/v1/chat/completions", json=chat(shown(RED), TEXT))
    assert answer.status_code == 200, answer.text
    ids = ids_of(processor, [{"role": "user", "content": in_parts(RED, "What?")}], [RED])
    assert answer.json()["usage"]["prompt_tokens"] == len(ids)
    state = sgl.function(
        lambda s: s.__iadd__(
            sgl.user(sgl.image(RED) + "What?") + sgl.assistant(sgl.gen("x", max_tokens=4, temperature=0))
        )
    )()
    assert answer.json()["choices"][0]["message"]["content"] == state["x"]


@pytest.mark.parametrize(
    ("parts", "param", "code"),
    [
        ([shown("http://127.0.0.1:9/a.png")], "messages.0.content.0.image_url.url", "invalid_image"),
        ([shown("file:///etc/passwd")], "messages.0.content.0.image_url.url", "invalid_image"),
        ([shown("/etc/passwd")], "messages.0.content.0.image_url.url", "invalid_image"),
        ([TEXT, shown("data:image/png;base64,AAAA")], "messages.0.content.1.image_url.url", "invalid_image"),
        ([TEXT, shown("data:image/png;base64,!!")], "messages.0.content.1.image_url.url", "invalid_image"),
        ([shown(RED)] * 4, "messages.0.content.3.image_url.url", "invalid_value"),
        ([{"type": "input_audio", "input_audio": {}}], "messages.0.content.0.type", "invalid_value"),
    ],
)
def test_bad_images_over_http(raw: TestClient, parts: list[dict[str, Any]], param: str, code: str) -> None:
    answer = raw.post("/v1/chat/completions", json=chat(*parts))
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


def test_words_for_images_in_text_are_refused(raw: TestClient, engine: sgl.Engine) -> None:
    support = engine.image_support
    assert support is not None
    word = support.reserved[0]
    answer = raw.post("/v1/chat/completions", json=chat({"type": "text", "text": f"a {word} b"}))
    assert answer.status_code == 400 and word in answer.json()["error"]["message"]
    answer = raw.post("/generate", json={"text": f"a {word}", "sampling_params": {"max_new_tokens": 1}})
    assert answer.status_code == 400


def test_sglangs_way_over_http(raw: TestClient, engine: sgl.Engine) -> None:
    support = engine.image_support
    assert support is not None
    url = data_url(RED)
    for source in (url, url.partition(",")[2]):
        body = {"text": f"see {support.text} is", "image_data": source, "sampling_params": {"max_new_tokens": 2}}
        answer = raw.post("/generate", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["meta_info"]["image_tokens"] > 2
    for wrong in ({"text": "no place"}, {"input_ids": [1, 2]}, {"text": f"{support.text}{support.text}"}):
        answer = raw.post("/generate", json={"image_data": [url], **wrong})
        assert answer.status_code == 400 and answer.json()["error"]["param"] == "image_data"


def test_programs_over_http(engine: sgl.Engine) -> None:
    server = http_server(sgl.LocalBackend.of(engine), ServerConfig(model_name="eyes"), port=0)
    thread, url = run_in_thread(server)
    try:

        @sgl.function
        def program(s):
            s += "see " + sgl.image(RED) + " and " + sgl.image(BLUE) + ": " + sgl.gen("x", max_tokens=4, temperature=0)

        assert program(backend=sgl.RuntimeEndpoint(url))["x"] == program(backend=engine)["x"]
    finally:
        server.should_exit = True
        thread.join(20)


def test_base64_of_a_data_url() -> None:
    assert base64.b64decode(data_url(RED).partition(",")[2]).startswith(b"\x89PNG")
