"""What each patch of a picture shows: labels that teach the tower to see before there are words for it.

Patches of a shape also say what follows from the whole scene: its place in the order, how many are like it. So most
questions become one look at the right patch.

Comes in: scenes. Goes out: pixels, class numbers for every patch, and the loss of a head that guesses them. The head
is thrown away after training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from transformers import PreTrainedTokenizerFast

from runtime.model.demo.network import GRID, IMAGE_SIZE
from runtime.model.demo.picture_tasks import extreme, in_order
from runtime.model.demo.scenes import COLOURS, PLACES, SHAPES, Scene, Thing, paint

CLASSES = {  # class 0 is a patch without
    "shape": len(SHAPES) + 1,
    "colour": len(COLOURS) + 1,
    "size": 4,  # small, in between, large
    "place": len(PLACES) + 2,  # the last: close to another ninth
    "rank": 10,  # among the scene's shapes in the order in which one reads
    "extreme": 4,  # the smallest, neither, the biggest
    "same shape": 10,  # how many shapes there are of this shape, of this colour, of both
    "same colour": 10,
    "same look": 10,
    "centre": 2,
    "digit": 11,
    "all": 11,  # how many shapes the scene has, and one: every patch knows
}
LOOKS = 9  # kinds that are the same all over a shape: the first ones
KINDS = list(CLASSES)
SHAPE_WEIGHT = 4.0  # shapes are the hardest to tell
DIGIT_ADVANCE = 0.79  # from one digit of a number to the next, in heights of a digit


def pixels_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """The pictures as the image processor gives them to the tower: float32 [N, 3, IMAGE_SIZE, IMAGE_SIZE]."""
    side = (IMAGE_SIZE, IMAGE_SIZE)
    pictures = [np.asarray(paint(scene).resize(side, Image.Resampling.BICUBIC)) for scene in scenes]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def labels_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """A class number for each picture, patch and kind of `CLASSES`: int64 [N, GRID**2, kinds]."""
    labels = np.zeros((len(scenes), GRID, GRID, len(CLASSES)), dtype=np.int64)
    for grid, scene in zip(labels, scenes, strict=True):
        _label(grid, scene)
    return torch.from_numpy(labels.reshape(len(scenes), GRID**2, len(CLASSES)))


def _label(grid: np.ndarray, scene: Scene) -> None:
    """Fills `grid` [GRID, GRID, kinds]."""
    across, down = scene.width / scene.shorter, scene.height / scene.shorter
    middles = (np.arange(GRID) + 0.5) / GRID
    things = in_order(scene)
    for rank, thing in enumerate(things, start=1):
        look = _look(scene, thing, rank)
        far = np.hypot(middles[None, :] * across - thing.x, middles[:, None] * down - thing.y)
        grid[far < 0.9 * thing.radius, :LOOKS] = look
        grid[_patch(thing.y, down), _patch(thing.x, across), : LOOKS + 1] = (*look, 1)
    grid[..., KINDS.index("all")] = len(things) + 1
    if scene.number:
        number = scene.number
        for place, digit in enumerate(number.text):
            x = number.x + (place - (len(number.text) - 1) / 2) * DIGIT_ADVANCE * number.height
            grid[_patch(number.y, down), _patch(x, across), KINDS.index("digit")] = int(digit) + 1


def _look(scene: Scene, thing: Thing, rank: int) -> tuple[int, ...]:
    """The classes of the first `LOOKS` kinds for the patches of this shape."""
    place, things = scene.place(thing), scene.things
    return (
        SHAPES.index(thing.shape) + 1,
        list(COLOURS).index(thing.colour) + 1,
        {"small": 1, None: 2, "large": 3}[thing.size],
        PLACES.index(place) + 1 if place else len(PLACES) + 1,
        rank,
        3 if extreme(scene, 1) is thing else 1 if extreme(scene, -1) is thing else 2,
        sum(other.shape == thing.shape for other in things),
        sum(other.colour == thing.colour for other in things),
        sum((other.shape, other.colour) == (thing.shape, thing.colour) for other in things),
    )


def _patch(at: float, side: float) -> int:
    return min(GRID - 1, max(0, int(at / side * GRID)))


class Names:
    """The words for what a patch shows, as tokens: a patch is to lie near them where the language model reads it.

    So it finds the patch that a question names as it finds a word that came before.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokens: dict[int, list[int]] = {}
        for kind, words in (("shape", SHAPES), ("colour", tuple(COLOURS))):
            ids = [tokenizer(f" {word}", add_special_tokens=False)["input_ids"] for word in words]
            if all(len(each) == 1 for each in ids):
                self.tokens[KINDS.index(kind)] = [each[0] for each in ids]

    def loss(self, rows: torch.Tensor, labels: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """The mean loss of a name, in nats. rows: what the projector makes of the patches, [N, patches, width];

        labels as `labels_of` gives them; words: the embeddings of all tokens, [vocabulary, width], left as they are.
        """
        near = functional.rms_norm(rows.float(), rows.shape[-1:]).flatten(0, 1)
        total = torch.zeros((), device=rows.device)
        for kind, tokens in self.tokens.items():
            wanted = labels[..., kind].flatten() - 1
            there = wanted >= 0
            total = total + functional.cross_entropy(near[there] @ words[tokens].detach().float().T, wanted[there])
        return total


class PatchHead(nn.Linear):
    """Guesses the labels of each patch from the tower's states, float32 [N, patches, width]."""

    def __init__(self, width: int) -> None:
        super().__init__(width, sum(CLASSES.values()))

    def loss(self, states: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean loss of a label, in nats, and the share of right guesses of each kind where there is something."""
        normed = functional.layer_norm(states.float(), states.shape[-1:])
        guesses = self(normed).flatten(0, 1).split(list(CLASSES.values()), -1)
        total, shares = torch.zeros((), device=states.device), []
        for kind, guess in enumerate(guesses):
            wanted = labels[..., kind].flatten()
            each = functional.cross_entropy(guess, wanted, reduction="none")
            there = wanted > 0
            weight = SHAPE_WEIGHT if KINDS[kind] == "shape" else 1.0
            total = total + weight * (each.mean() + each[there].sum() / there.sum().clamp(min=1))
            shares.append((guess.argmax(-1) == wanted)[there].float().mean())
        return total / (2 * len(CLASSES)), torch.stack(shares)
