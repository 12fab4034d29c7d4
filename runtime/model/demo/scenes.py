"""Scenes: coloured shapes and a number on a plain background, drawn at random and painted with PIL.

Comes in: `Dice`. Goes out: a `Scene`, and its picture. A scene belongs for ever to one of two splits, by the checksum
of what it shows; the scores use only scenes of the split that training never saw. This module does not know what is
asked about a scene (that is `picture_tasks`), nor what a model sees of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from runtime.model.demo.words import Dice

Rgb = tuple[int, int, int]

SHAPES = ("circle", "square", "triangle", "star", "cross", "diamond")
COLOURS: dict[str, tuple[Rgb, ...]] = {
    "red": ((255, 0, 0), (220, 30, 30), (200, 0, 20)),
    "orange": ((255, 165, 0), (250, 140, 20), (255, 128, 0)),
    "yellow": ((255, 255, 0), (250, 225, 40), (255, 235, 60)),
    "green": ((0, 128, 0), (0, 255, 0), (40, 160, 60)),
    "blue": ((0, 0, 255), (40, 80, 220), (30, 60, 180)),
    "purple": ((128, 0, 128), (130, 40, 170), (150, 50, 200)),
    "pink": ((255, 192, 203), (255, 105, 180), (250, 140, 190)),
    "brown": ((139, 69, 19), (120, 70, 30), (110, 60, 40)),
    "gray": ((128, 128, 128), (110, 110, 115), (150, 150, 150)),
    "black": ((0, 0, 0), (20, 20, 20), (15, 15, 25)),
    "white": ((255, 255, 255), (250, 250, 250), (245, 248, 255)),
}
BACKGROUNDS: dict[str, tuple[Rgb, ...]] = {
    "white": ((255, 255, 255), (255, 255, 255), (250, 250, 250)),
    "light": ((240, 236, 225), (222, 232, 242), (225, 240, 225), (228, 228, 228)),
    "black": ((0, 0, 0), (15, 15, 15), (25, 25, 35)),
}
TOO_NEAR = {"white": ("white",), "light": ("white",), "black": ("black",)}  # colours not to be told from a background
PLACES = ("top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right")
SMALL, LARGE = (0.09, 0.11), (0.135, 0.165)  # radius in shares of the shorter side; what lies between has no name


@dataclass(frozen=True, slots=True)
class Thing:
    """A shape. Its centre `x`, `y` and its `radius` are shares of the shorter side of the picture; `turn` degrees."""

    shape: str
    colour: str
    rgb: Rgb
    x: float
    y: float
    radius: float
    turn: float = 0.0

    @property
    def size(self) -> str | None:
        """ "small", "large", or nothing in between."""
        if self.radius <= SMALL[1]:
            return "small"
        return "large" if self.radius >= LARGE[0] else None


@dataclass(frozen=True, slots=True)
class Number:
    """A number, written in digits. `x`, `y` is its centre, `height` that of its digits, all as in `Thing`."""

    text: str
    rgb: Rgb
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture of `width` x `height` pixels shows. `background` names its kind of background."""

    width: int
    height: int
    background: str
    rgb: Rgb
    things: tuple[Thing, ...]
    number: Number | None = None

    @property
    def shorter(self) -> int:
        return min(self.width, self.height)

    def place(self, thing: Thing | Number) -> str | None:
        """The name of the ninth of the picture that the centre lies in; nothing if it is close to another ninth."""
        column, row = (3 * thing.x * self.shorter / self.width, 3 * thing.y * self.shorter / self.height)
        if any(abs(value - line) < 0.14 for value in (column, row) for line in (1, 2)):
            return None
        return PLACES[3 * min(2, int(row)) + min(2, int(column))]

    def summary(self) -> str:
        """What the scene shows, whatever its exact colours, sizes and pixels: decides which split it belongs to."""
        things = sorted(f"{thing.colour} {thing.shape} {self.place(thing)}" for thing in self.things)
        return "; ".join([*things, self.number.text if self.number else ""])


def draw_scene(dice: Dice, most: int = 5) -> Scene:
    """A new scene of this split: up to `most` shapes, with or without a number."""
    while True:
        scene = _draw_scene(dice, most)
        if dice.belongs(scene.summary()):
            return scene


def _draw_scene(dice: Dice, most: int) -> Scene:
    width, height = _canvas(dice)
    background = dice.pick(("white", "white", "white", "light", "black"))
    rgb = dice.pick(BACKGROUNDS[background])
    colours = [colour for colour in COLOURS if colour not in TOO_NEAR[background]]
    if dice.chance(0.4):  # few colours and shapes, so that some come more than once
        colours = dice.some(colours, 1, 3)
    shapes = dice.some(SHAPES, 1, 3) if dice.chance(0.4) else list(SHAPES)
    if dice.chance(0.06):
        return Scene(width, height, background, rgb, (), _big_number(dice, background, width, height))
    count = min(most, dice.pick((1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 5)))
    looks = [(dice.pick(shapes), dice.pick(colours)) for _ in range(count)]
    if count <= 2 and dice.chance(0.4):
        return Scene(width, height, background, rgb, _loose(dice, looks, width, height))
    cells = dice.some(range(9), count + 1, count + 1)
    things = tuple(_in_cell(dice, look, cell, width, height) for look, cell in zip(looks, cells[1:], strict=True))
    number = _small_number(dice, background, cells[0], width, height) if dice.chance(0.15) else None
    return Scene(width, height, background, rgb, things, number)


def _canvas(dice: Dice) -> tuple[int, int]:
    """Width and height in pixels: square, or up to 4:3 either way."""
    side = dice.pick((64, 80, 96, 96, 96, 128, 160, 200, 256))
    other = side if dice.chance(0.6) else int(side * (1 + dice.rng.random() / 3))
    return (side, other) if dice.chance(0.5) else (other, side)


def _thing(dice: Dice, look: tuple[str, str], x: float, y: float, radius: float) -> Thing:
    shape, colour = look
    rgb = dice.pick(COLOURS[colour])
    low, high = max(-12, -min(rgb)), min(12, 255 - max(rgb))
    shifted = (rgb[0] + dice.number(low, high), rgb[1] + dice.number(low, high), rgb[2] + dice.number(low, high))
    turn = 0.0 if dice.chance(0.6) else (dice.rng.random() - 0.5) * 20
    return Thing(shape, colour, shifted, x, y, radius, turn)


def _centre(dice: Dice, cell: int, width: int, height: int, room: float) -> tuple[float, float]:
    """A point of this ninth of the picture, up to `room` off its middle."""
    shorter = min(width, height)
    x, y = (cell % 3 + 0.5) / 3 * width / shorter, (cell // 3 + 0.5) / 3 * height / shorter
    return x + (2 * dice.rng.random() - 1) * room, y + (2 * dice.rng.random() - 1) * room


def _in_cell(dice: Dice, look: tuple[str, str], cell: int, width: int, height: int) -> Thing:
    low, high = dice.pick((SMALL, LARGE))
    radius = low + dice.rng.random() * (high - low)
    return _thing(dice, look, *_centre(dice, cell, width, height, 0.175 - radius), radius)


def _loose(dice: Dice, looks: list[tuple[str, str]], width: int, height: int) -> tuple[Thing, ...]:
    """One shape anywhere, of any size up to the whole picture, or two that keep apart."""
    across, down = width / min(width, height), height / min(width, height)
    while True:
        things = []
        for look in looks:
            radius = 0.07 + dice.rng.random() * (0.4 if len(looks) == 1 else 0.2)
            x, y = (radius + dice.rng.random() * max(0.0, side - 2 * radius) for side in (across, down))
            things.append(_thing(dice, look, x, y, radius))
        if len(things) == 1 or math.dist((things[0].x, things[0].y), (things[1].x, things[1].y)) > 1.15 * sum(
            thing.radius for thing in things
        ):
            return tuple(things)


def _ink(dice: Dice, background: str) -> Rgb:
    """A colour to write with on this background."""
    names = ("white", "yellow") if background == "black" else ("black", "black", "blue", "red")
    return dice.pick(COLOURS[dice.pick(names)])


def _small_number(dice: Dice, background: str, cell: int, width: int, height: int) -> Number:
    text = str(dice.number(0, 99) if dice.chance(0.7) else dice.number(0, 9))
    tall = 0.16 + dice.rng.random() * 0.05
    return Number(text, _ink(dice, background), *_centre(dice, cell, width, height, 0.02), tall)


def _big_number(dice: Dice, background: str, width: int, height: int) -> Number:
    text = str(dice.number(0, 10 ** dice.number(1, 3) - 1))
    tall = 0.2 + dice.rng.random() * (0.4 if len(text) == 1 else 0.6 / len(text))
    return Number(text, _ink(dice, background), *_centre(dice, 4, width, height, 0.08), tall)


def paint(scene: Scene) -> Image.Image:
    """The scene's picture, RGB, `width` x `height` pixels."""
    picture = Image.new("RGB", (scene.width, scene.height), scene.rgb)
    pen = ImageDraw.Draw(picture)
    for thing in scene.things:
        if thing.shape == "circle":
            x, y, radius = (value * scene.shorter for value in (thing.x, thing.y, thing.radius))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=thing.rgb)
        else:
            pen.polygon(outline(thing, scene.shorter), fill=thing.rgb)
    if scene.number:
        number = scene.number
        font = ImageFont.load_default(number.height * scene.shorter / 0.72)  # its digits are 0.72 of its size
        pen.text((number.x * scene.shorter, number.y * scene.shorter), number.text, number.rgb, font, anchor="mm")
    return picture


def outline(thing: Thing, shorter: int) -> list[tuple[float, float]]:
    """The corners of a shape that is not a circle, in pixels."""
    if thing.shape == "square":
        corners = [(45 + 90 * step, 1.1) for step in range(4)]
    elif thing.shape == "diamond":
        corners = [(0, 0.75), (90, 1.1), (180, 0.75), (270, 1.1)]
    elif thing.shape == "triangle":
        corners = [(90, 1.05), (215, 1.15), (325, 1.15)]
    elif thing.shape == "star":
        corners = [(90 + 36 * step, 0.45 if step % 2 else 1.15) for step in range(10)]
    else:  # a cross: three corners at the end of each arm
        corners = [
            (angle + 90 * arm, share) for arm in range(4) for angle, share in ((-18, 1.05), (18, 1.05), (45, 0.46))
        ]
    points = []
    for angle, share in corners:
        turned, length = math.radians(angle + thing.turn), share * thing.radius
        points.append(
            ((thing.x + length * math.cos(turned)) * shorter, (thing.y - length * math.sin(turned)) * shorter)
        )
    return points
