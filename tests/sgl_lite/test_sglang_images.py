"""SGLang's image and video programs, written anew: only the import differs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import PIL.Image
import pytest

import sgl_lite as sgl
from runtime.images import Image
from sgl_lite.backends.base import Capabilities
from sgl_lite.chat.templates import templates
from tests.sgl_lite.fake_backend import FakeBackend


@pytest.fixture
def backend() -> FakeBackend:
    """Speaks as a LLaVA model; says how many images it was shown."""
    fake = FakeBackend(
        lambda request: f"{len(request.images)} images",
        capabilities=Capabilities(images=True),
        template=templates.get("vicuna_v1.1"),
    )
    sgl.set_default_backend(fake)
    yield fake  # type: ignore[misc]
    sgl.set_default_backend(None)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = []
    for index, colour in enumerate(("red", "green", "blue")):
        path = tmp_path / f"{colour}.png"
        PIL.Image.new("RGB", (20 + index, 10), colour).save(path)
        paths.append(str(path))
    return paths


@sgl.function
def image_qa(s, image_file, question):
    s += sgl.user(sgl.image(image_file) + question)
    s += sgl.assistant(sgl.gen("answer", max_tokens=64))


def test_a_question_about_a_picture(backend: FakeBackend, files: list[str]) -> None:
    state = image_qa.run(image_file=files[0], question="What is it?")
    assert state["answer"] == "1 images"
    assert state.messages()[0]["content"][1] == {"type": "text", "text": "What is it?"}
    (request,) = backend.requests
    assert str(request.prompt).endswith("USER:What is it? ASSISTANT:")
    assert [one.image for one in request.images] == [Image.of(files[0])]
    assert str(request.prompt)[: request.images[0].at].endswith("USER:")


def test_streaming_an_answer_about_a_picture(backend: FakeBackend, files: list[str]) -> None:
    state = image_qa.run(image_file=files[1], question="What?", temperature=0, stream=True)
    assert "".join(state.text_iter("answer")) == "1 images"

    async def collect() -> str:
        state = image_qa.run(image_file=files[1], question="What?", stream=True)
        return "".join([piece async for piece in state.text_async_iter("answer")])

    assert asyncio.run(collect()) == "1 images"


def test_a_batch_of_pictures(backend: FakeBackend, files: list[str]) -> None:
    states = image_qa.run_batch([{"image_file": f, "question": "What?"} for f in files], max_new_tokens=32)
    assert [state["answer"] for state in states] == ["1 images"] * 3
    assert {r.images[0].image for r in backend.requests} == {Image.of(f) for f in files}


def test_several_pictures_in_a_message_and_a_second_question(backend: FakeBackend, files: list[str]) -> None:
    @sgl.function
    def compare(s, first, second, third):
        with s.user():
            s += "First " + sgl.image(first)
            s += " and second " + sgl.image(second)
        s += sgl.assistant(sgl.gen("both"))
        s += sgl.user(sgl.image(third) + "And with this one?")
        s += sgl.assistant(sgl.gen("all"))

    state = compare(*files)
    assert (state["both"], state["all"]) == ("2 images", "3 images")
    assert [len(m["content"]) for m in state.messages()][::2] == [4, 2]
    assert [one.image for one in backend.requests[1].images] == [Image.of(f) for f in files]


def test_branches_over_one_picture(backend: FakeBackend, files: list[str]) -> None:
    @sgl.function
    def dimensions(s, picture):
        s += sgl.user(sgl.image(picture) + "Describe it.")
        forks = s.fork(3)
        for fork, what in zip(forks, ("colour", "size", "mood"), strict=True):
            fork += sgl.user(f"Its {what}?") + sgl.assistant(sgl.gen("judgement"))
        forks.join()
        s += sgl.assistant(sgl.gen("summary"))

    state = dimensions(files[2])
    assert state["judgement"] == ["1 images"] * 3 and state["summary"] == "1 images"
    assert {r.images[0].image for r in backend.requests} == {Image.of(files[2])}


def test_choosing_by_a_picture(backend: FakeBackend, files: list[str]) -> None:
    @sgl.function
    def pick(s, picture):
        s += sgl.user(sgl.image(picture) + "Which colour?")
        s += sgl.assistant("It is " + sgl.select("colour", ["red", "blue"]))

    state = pick(files[0])
    assert state["colour"] in ("red", "blue")
    assert all(request.images for request in backend.requests)


def test_a_question_about_a_video(backend: FakeBackend, tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (16, 16), (0, 0, 20 * i)) for i in range(12)]
    film = tmp_path / "film.png"
    frames[0].save(film, save_all=True, append_images=frames[1:])

    @sgl.function
    def video_qa(s, num_frames, video_path, question):
        s += sgl.user(sgl.video(video_path, num_frames) + question)
        s += sgl.assistant(sgl.gen("answer"))

    state = video_qa.run(num_frames=4, video_path=str(film), question="What happens?")
    assert state["answer"] == "4 images"
    places = {one.at for one in backend.requests[0].images}
    assert len(places) == 1, "frames stand side by side"
