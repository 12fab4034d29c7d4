"""Scenes and what is asked about them: painted where they say, split in two, every answer true of the scene."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image

from runtime.model.demo import picture_tasks as pictures
from runtime.model.demo.data import of_picture_task
from runtime.model.demo.patch_labels import CLASSES, labels_of
from runtime.model.demo.scenes import COLOURS, PLACES, SHAPES, Scene, Thing, draw_scene, paint
from runtime.model.demo.words import Dice


def scenes(count: int, held_out: bool = False) -> list[Scene]:
    dice = Dice(random.Random(7), held_out)
    return [draw_scene(dice) for _ in range(count)]


def scene_of(*things: Thing, number: None = None) -> Scene:
    return Scene(96, 96, "white", (255, 255, 255), things, number)


def thing(shape: str, colour: str, x: float, y: float, radius: float = 0.15) -> Thing:
    return Thing(shape, colour, COLOURS[colour][0], x, y, radius)


def test_a_picture_has_the_scenes_size_and_its_colours_where_the_shapes_are() -> None:
    for scene in scenes(200):
        picture = paint(scene)
        assert (picture.mode, picture.size) == ("RGB", (scene.width, scene.height))
        for each in scene.things:
            x, y = int(each.x * scene.shorter), int(each.y * scene.shorter)
            assert picture.getpixel((min(x, scene.width - 1), min(y, scene.height - 1))) == each.rgb


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_fills_its_own_share_of_the_picture(shape: str) -> None:
    picture = paint(scene_of(thing(shape, "black", 0.5, 0.5, 0.3)))
    dark = (np.asarray(picture) == 0).all(-1).mean()
    shares = {"circle": 0.283, "square": 0.218, "triangle": 0.173, "star": 0.137, "cross": 0.205, "diamond": 0.149}
    assert dark == pytest.approx(shares[shape], rel=0.12)


def test_no_scene_is_in_both_splits_and_the_same_seed_draws_the_same() -> None:
    trained, kept = ({scene.summary() for scene in scenes(800, held_out)} for held_out in (False, True))
    assert not trained & kept
    assert scenes(50) == scenes(50)


def test_shapes_keep_apart() -> None:
    for scene in scenes(300):
        for index, one in enumerate(scene.things):
            for other in scene.things[:index]:
                assert ((one.x - other.x) ** 2 + (one.y - other.y) ** 2) ** 0.5 > 0.9 * (one.radius + other.radius)


def test_counts_are_true() -> None:
    for document in of_picture_task(pictures.QUESTIONS["counts"], "counts", 200):
        assert document.scene
        question = document.prompt.split("How many ")[1]
        asked = question.replace(" are there?", "").replace(" do you see?", "").split("\n")[0].split()
        count = 0
        for each in document.scene.things:
            known = {each.colour, pictures.PLURALS[each.shape], "shapes"}
            count += all(word in known for word in asked)
        assert document.answer.strip() == str(count)


@pytest.mark.parametrize("name", ["colours", "shapes", "places", "sizes", "yes or no", "numbers"])
def test_an_answer_is_one_of_those_that_the_scene_allows(name: str) -> None:
    for document in of_picture_task(pictures.QUESTIONS[name], name, 100):
        assert document.scene
        things, answer = document.scene.things, document.answer.strip()
        allowed = {
            "colours": {each.colour for each in things},
            "shapes": {each.shape for each in things},
            "places": {document.scene.place(each) for each in things}
            | {f"{each.colour} {each.shape}" for each in things}
            | {"yes", "no"},
            "sizes": {each.size for each in things} | {f"{each.colour} {each.shape}" for each in things},
            "yes or no": {"yes", "no"},
            "numbers": {"yes", "no", document.scene.number.text if document.scene.number else "no"},
        }[name]
        assert answer in allowed


def test_only_what_is_clear_is_asked() -> None:
    two_circles = scene_of(thing("circle", "red", 0.2, 0.2), thing("circle", "blue", 0.8, 0.8))
    names = pictures.names_of(two_circles, two_circles.things[0])
    assert "the circle" not in names
    assert {"the red circle", "the shape at the top left"} <= set(names)
    assert not any("red" in name for name in pictures.names_of(two_circles, two_circles.things[0], "colour"))
    assert pictures.extreme(two_circles, 1) is None
    assert two_circles.place(thing("circle", "red", 0.34, 0.2)) is None


def test_json_answers_are_json_of_shapes_and_colours() -> None:
    for document in of_picture_task(pictures.QUESTIONS["JSON"], "json", 100):
        value = json.loads(document.answer)
        assert value.get("shape", "star") in SHAPES
        assert value.get("color", value.get("colour", "red")) in COLOURS


def test_labels_mark_the_patches_of_a_shape() -> None:
    labels = labels_of([scene_of(thing("star", "blue", 0.5, 0.25, 0.165))])
    assert labels.shape == (1, 64, len(CLASSES))
    grid = labels.view(8, 8, len(CLASSES))
    look = [SHAPES.index("star") + 1, list(COLOURS).index("blue") + 1, 3]
    assert grid[2, 4].tolist() == [*look, PLACES.index("top") + 1, 1, 2, 1, 1, 1, 1, 0, 2]
    assert (grid[5:, :, :-1] == 0).all()
    assert (grid[..., -1] == 2).all()


def test_labels_count_what_is_alike() -> None:
    things = [
        thing("star", "blue", 0.2, 0.2, 0.1),
        thing("star", "red", 0.8, 0.2, 0.15),
        thing("cross", "red", 0.5, 0.8, 0.1),
    ]
    grid = labels_of([scene_of(*things)]).view(8, 8, len(CLASSES))
    kinds = [list(CLASSES).index(kind) for kind in ("rank", "extreme", "same shape", "same colour", "same look")]
    assert grid[1, 1, kinds].tolist() == [1, 2, 2, 1, 1]
    assert grid[1, 6, kinds].tolist() == [2, 3, 2, 2, 1]
    assert grid[6, 4, kinds].tolist() == [3, 2, 1, 2, 1]


def test_a_scene_of_another_size_keeps_its_content() -> None:
    small = scene_of(thing("circle", "red", 0.5, 0.5, 0.2))
    large = Scene(300, 200, small.background, small.rgb, (thing("circle", "red", 0.75, 0.5, 0.2),))
    assert small.summary() == large.summary()
    assert paint(large).resize((96, 96), Image.Resampling.BICUBIC).getpixel((48, 48)) == (255, 0, 0)
