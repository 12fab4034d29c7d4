"""Images in programs: places in prompts, messages, forks, and what goes wrong; against a backend without a model."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import sgl_lite as sgl
from runtime.api import GenerateRequest, ImageSupport
from runtime.errors import ImageError
from runtime.images import Image
from sgl_lite.backends.base import Capabilities
from sgl_lite.chat.images import with_images
from tests.sgl_lite.fake_backend import FakeBackend

RED, BLUE = np.full((4, 6, 3), (255, 0, 0), np.uint8), np.full((5, 3, 3), (0, 0, 255), np.uint8)


@pytest.fixture
def eyes() -> FakeBackend:
    return FakeBackend(capabilities=Capabilities(images=True, reserved=("<image>",)))


def prompt_with(request: GenerateRequest, shown: str = "[]") -> str:
    """The prompt with `shown` in the place of each image."""
    assert isinstance(request.prompt, str)
    text, end = "", 0
    for one in request.images:
        text += request.prompt[end : one.at] + shown
        end = one.at
    return text + request.prompt[end:]


def test_an_image_has_its_place_in_the_prompt(eyes: FakeBackend) -> None:
    @sgl.function
    def program(s, first, second):
        s += "A: " + sgl.image(first) + " B: " + sgl.image(second) + sgl.image(first) + " which? "
        s += sgl.gen("x") + " Again: " + sgl.gen("y")

    state = program(RED, BLUE, backend=eyes)
    assert state.text() == "A: <image> B: <image><image> which? an answer Again: an answer"
    first, second = eyes.requests
    assert prompt_with(first) == "A: [] B: [][] which? "
    assert prompt_with(second) == "A: [] B: [][] which? an answer Again: "
    red, blue = Image.of(RED), Image.of(BLUE)
    assert [one.image for one in second.images] == [red, blue, red]


def test_every_kind_of_source(eyes: FakeBackend, tmp_path: Path) -> None:
    picture = PIL.Image.fromarray(RED)
    path, file = tmp_path / "red.png", io.BytesIO()
    picture.save(path)
    picture.save(file, format="PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

    @sgl.function
    def program(s):
        for source in (str(path), path, file.getvalue(), url, picture, RED, RED / 255):
            s += sgl.image(source)
        s += sgl.gen("x")

    program(backend=eyes).sync()
    assert {one.image for one in eyes.requests[0].images} == {Image.of(RED)}


def test_messages_and_turns(eyes: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.system("Look.")
        s += sgl.user(sgl.image(RED) + "What colour, and this? " + sgl.image(BLUE))
        s += sgl.assistant(sgl.gen("a"))
        with s.user():
            s += "And this?"
            s += sgl.image(BLUE)
        s += sgl.assistant(sgl.gen("b"))

    state = program(backend=eyes)
    messages = state.messages()
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == "Look." and messages[2]["content"] == "an answer"
    kinds = [part["type"] for part in messages[1]["content"]]
    assert kinds == ["image_url", "text", "image_url"]
    assert Image.of(messages[1]["content"][0]["image_url"]["url"]) == Image.of(RED)
    assert Image.of(messages[3]["content"][1]["image_url"]["url"]) == Image.of(BLUE)
    last = eyes.requests[1]
    assert prompt_with(last) == (
        "<|im_start|>system\nLook.<|im_end|>\n<|im_start|>user\n[]What colour, and this? []<|im_end|>\n"
        "<|im_start|>assistant\nan answer<|im_end|>\n<|im_start|>user\nAnd this?[]<|im_end|>\n<|im_start|>assistant\n"
    )
    conversation = eyes.conversations[1]
    assert conversation is not None and list(conversation.messages) == messages[:4]
    json.dumps(messages)


def test_forks_go_on_with_images_of_their_own(eyes: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += "see " + sgl.image(RED)
        forks = s.fork(2)
        for fork, picture in zip(forks, (RED, BLUE), strict=True):
            fork += " and " + sgl.image(picture) + sgl.gen("x")
        forks.join("concate_and_append")
        s += sgl.gen("y")

    state = program(backend=eyes)
    assert state.text() == "see <image> and <image>an answer and <image>an answeran answer"
    red, blue = Image.of(RED), Image.of(BLUE)
    assert {tuple(one.image for one in r.images) for r in eyes.requests[:2]} == {(red, red), (red, blue)}
    assert [one.image for one in eyes.requests[2].images] == [red, red, blue]


def test_choices_after_an_image(eyes: FakeBackend) -> None:
    state = sgl.function(lambda s: s.__iadd__(sgl.image(RED) + "is " + sgl.select("x", ["zebra", "ape"])))(backend=eyes)
    assert state["x"] == "ape"
    first, *scored = eyes.requests
    assert first.sampling.max_tokens == 0 and prompt_with(first) == "[]is "
    assert sorted(prompt_with(r) for r in scored) == ["[]is ape", "[]is zebra"]
    # the fake model counts no tokens for an image: the first that is scored is the choice's first
    assert {r.sampling.prompt_logprobs_start for r in scored} == {3}


def test_streams_scopes_and_saved_states(eyes: FakeBackend) -> None:
    @sgl.function
    def program(s):
        with s.var_scope("scope"):
            s += "a " + sgl.image(RED)
        s += " b " + sgl.gen("x")

    state = program.stream(backend=eyes)
    assert "".join(state.text_iter()) == state.text() == "a <image> b an answer"
    assert state["scope"] == "a <image>"
    saved = json.loads(json.dumps(state.save(), ensure_ascii=False).encode())
    again = sgl.ProgramState.load(saved, backend=eyes)
    again += " c " + sgl.gen("y")
    assert again.text() == "a <image> b an answer c an answer"
    assert prompt_with(eyes.requests[-1]) == "a [] b an answer c "
    assert eyes.requests[-1].images[0].image == Image.of(RED)


def test_the_page_shows_them(eyes: FakeBackend, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    state = sgl.function(lambda s: s.__iadd__("see " + sgl.image(RED) + sgl.gen("x")))(backend=eyes)
    page = state.to_html(tmp_path / "page.html")
    assert 'alt="image of 6 x 4"' in page and 'src="data:image/png;base64,' in page
    state.show()
    assert "see <image>an answer" in capsys.readouterr().out


def test_a_trace_with_an_image(eyes: FakeBackend) -> None:
    @sgl.function
    def program(s, picture):
        s += "see " + sgl.image(picture) + sgl.gen("x")

    traced = program.trace()
    assert [type(n.node).__name__ for n in traced.nodes] == ["Text", "Picture", "Gen"]
    assert traced.constant_prefix() == "see "
    assert program.cache(backend=eyes) == "see "


@pytest.mark.parametrize(("count", "wanted", "expected"), [(10, 2, [2, 7]), (3, 5, [0, 1, 2]), (7, 3, [1, 3, 5])])
def test_frames_of_a_video(eyes: FakeBackend, tmp_path: Path, count: int, wanted: int, expected: list[int]) -> None:
    frames = [PIL.Image.new("RGB", (8, 8), (25 * i, 0, 0)) for i in range(count)]
    path = tmp_path / "film.png"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for source in (frames, str(path), path):
        fake = FakeBackend(capabilities=Capabilities(images=True))
        sgl.function(lambda s, film=source: s.__iadd__(sgl.video(film, wanted) + "?" + sgl.gen("x")))(
            backend=fake
        ).sync()
        assert [one.image for one in fake.requests[0].images] == [Image.of(frames[i]) for i in expected]


def test_what_goes_wrong_says_what_to_do(eyes: FakeBackend, backend: FakeBackend, tmp_path: Path) -> None:
    with pytest.raises(sgl.ArgumentError, match="there is no file"):
        sgl.video(str(tmp_path / "none.gif"), 4)
    for bad in (0, True, 2.5):
        with pytest.raises(sgl.ArgumentError, match="num_frames"):
            sgl.video([RED], bad)  # type: ignore[arg-type]
    with pytest.raises(sgl.ArgumentError, match="no frames"):
        sgl.video([], 1)
    with pytest.raises(sgl.ArgumentError, match="a path or a list of frames"):
        sgl.video(b"abc", 1)
    with pytest.raises(ImageError, match="nowhere"):
        sgl.image("nowhere.png")
    with pytest.raises(sgl.UnsupportedByBackendError, match="fake sees no images") as caught:
        sgl.function(lambda s: s.__iadd__(sgl.image(RED)))(backend=backend)
    assert "test_images.py" in caught.value.__notes__[0]
    with pytest.raises(sgl.AppendError, match="would take for an image"):
        sgl.function(lambda s: s.__iadd__("an <image> of mine"))(backend=eyes)
    with pytest.raises(sgl.AppendError, match="half a surrogate"):
        sgl.function(lambda s: s.__iadd__("bad \ud800 text"))(backend=eyes)
    with pytest.raises(sgl.SpanError, match=r"image\(...\) cannot stand inside"):

        @sgl.function
        def inside(s):
            with s.constrain(format="json"):
                s += sgl.image(RED)

        inside(backend=eyes)


SUPPORT = ImageSupport("<|img|>", ("<|img|>",), 8)


def parts_only(messages: Any, add_generation_prompt: bool) -> str:
    """As some templates are: text that is no list of parts is lost."""
    words = [
        "".join(
            part["text"] if part["type"] == "text" else "<|img|>" for part in m["content"] if isinstance(part, dict)
        )
        for m in messages
    ]
    return "|".join(words) + (">" if add_generation_prompt else "")


def mixed(messages: Any, add_generation_prompt: bool) -> str:
    words = [m["content"] if isinstance(m["content"], str) else parts_only([m], False) for m in messages]
    return "|".join(words) + (">" if add_generation_prompt else "")


@pytest.mark.parametrize("apply", [parts_only, mixed])
def test_templates_of_tokenizers_keep_the_marks(apply: Any) -> None:
    template = with_images(apply, SUPPORT)
    messages = [
        {"role": "user", "content": "a\ud800b\ud801"},
        {"role": "assistant", "content": "words"},
        {"role": "user", "content": "\ud802"},
    ]
    assert template.render(messages, add_generation_prompt=True) == "a\ud800b\ud801|words|\ud802>"


def test_a_template_that_leaves_an_image_out_is_an_error() -> None:
    template = with_images(lambda messages, prompt: "no image", SUPPORT)
    with pytest.raises(sgl.RoleError, match="0 of 1 images"):
        template.render([{"role": "user", "content": "\ud800"}], add_generation_prompt=True)
