"""The embedded model sees: programs over scenes that its training never drew, judged by what was drawn."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel

import sgl_lite as sgl
from runtime.model.demo.data import IMAGE, of_picture_task
from runtime.model.demo.document import Document
from runtime.model.demo.picture_tasks import QUESTIONS, in_order
from runtime.model.demo.scenes import COLOURS, SHAPES, paint

pytestmark = pytest.mark.usefixtures("embedded_engine")
SIZES = [40, pytest.param(200, marks=pytest.mark.slow)]


class Thing(BaseModel):
    shape: Literal[SHAPES]  # type: ignore[valid-type]
    color: Literal[tuple(COLOURS)]  # type: ignore[valid-type]


@sgl.function
def describe_image(s, image_path, question):
    s += sgl.image(image_path)
    s += f"Question: {question}\nAnswer:"
    s += sgl.gen("answer", max_tokens=100)


@sgl.function
def list_shapes(s, picture):
    s += sgl.image(picture) + "List the shapes as a JSON array:"
    s += sgl.gen("shapes", type=list[Thing], max_tokens=160, temperature=0)


def held_out(task: str, count: int) -> list[Document]:
    """Documents whose prompt is one question in the words of the program."""
    form = f"{IMAGE}Question: "
    drawn = of_picture_task(QUESTIONS[task], f"end to end {task}", 3 * count)
    return [each for each in drawn if each.prompt.startswith(form)][:count]


@pytest.mark.parametrize("count", SIZES)
def test_questions_about_shapes_colours_and_counts(count: int) -> None:
    asked = [document for task in ("shapes", "colours", "counts") for document in held_out(task, (count + 2) // 3)]
    rows = [
        {
            "image_path": paint(document.scene),
            "question": document.prompt.removeprefix(f"{IMAGE}Question: ").removesuffix("\nAnswer:"),
        }
        for document in asked
        if document.scene
    ]
    states = describe_image.run_batch(rows, temperature=0)
    wrong = [
        (row["question"], document.answer.strip(), state["answer"])
        for row, document, state in zip(rows, asked, states, strict=True)
        if state["answer"].strip() != document.answer.strip()
    ]
    assert len(rows) >= count
    assert len(wrong) <= 0.05 * len(rows), wrong


@pytest.mark.parametrize("count", SIZES)
def test_pictures_become_valid_and_right_json(count: int) -> None:
    scenes = [
        each.scene for each in of_picture_task(QUESTIONS["JSON of all shapes"], "end to end", count) if each.scene
    ]
    states = list_shapes.run_batch([{"picture": paint(scene)} for scene in scenes])
    wrong = []
    for scene, state in zip(scenes, states, strict=True):
        given = [(thing.shape, thing.color) for thing in state.parsed("shapes")]  # 100 % valid, or this raises
        expected = [(thing.shape, thing.colour) for thing in in_order(scene)]
        if given != expected:
            wrong.append((expected, given))
    assert len(scenes) == count
    assert len(wrong) <= 0.05 * count, wrong
