"""How the prompt of a vision-language model lies: where its images are, and what attention and positions make of them.

Plain facts for scheduler and execution; no tensors but the pixels, which are opaque here. Positions are counted in
tokens of the prompt:

    0 ... image.rows[0] ............... image.rows[-1] ... num_prompt ... outputs
          |  one token for each feature row of the image, with wrapping tokens between, in some families  |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Spans = tuple[tuple[int, int], ...]
"""Half-open, rising, apart from each other."""


@dataclass(frozen=True, slots=True, eq=False)
class ProcessedImage:
    """What a family's processor makes of an image, wherever it stands in a prompt. Equal by key.

    key:      sha256 of the image and of all that the processor was told, 32 bytes.
    text:     what stands for it in the prompt's text.
    num_rows: placeholders in that text: rows of features.
    pixels:   what the tower takes, by its names; tensors on the CPU.
    """

    key: bytes
    text: str
    num_rows: int
    pixels: Mapping[str, Any]

    @property
    def num_bytes(self) -> int:
        return sum(int(tensor.nbytes) for tensor in self.pixels.values())


@dataclass(frozen=True, slots=True)
class PlacedImage:
    """rows: int64 [num_rows], the prompt's tokens that its feature rows take the place of, rising."""

    image: ProcessedImage
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PromptLayout:
    """images:    in the order of their places.
    positions:    int64 [3, num_prompt], rotary positions (time, height, width), or None: each token's own index.
    offset:       the rotary position of an output token is its index plus this.
    spans:        runs of prompt tokens that see each other in both directions; a step computes the rest of one whole.
    whole_prompt: everything computed depends on the whole prompt, so that only equal prompts may share it.
    """

    images: tuple[PlacedImage, ...] = ()
    positions: NDArray[np.int64] | None = None
    offset: int = 0
    spans: Spans = ()
    whole_prompt: bool = False

    @property
    def images_end(self) -> int:
        """The position after the last image."""
        return int(self.images[-1].rows[-1]) + 1 if self.images else 0

    def images_after(self, position: int) -> Iterator[ProcessedImage]:
        """Those with rows from `position` on."""
        return (placed.image for placed in self.images if placed.rows[-1] >= position)

    @property
    def num_image_tokens(self) -> int:
        return sum(len(placed.rows) for placed in self.images)

    def positions_of(self, start: int, end: int) -> NDArray[np.int64]:
        """int64 [3, end - start] (or, without `positions`, [1, end - start]) of the tokens [start, end)."""
        plain = np.arange(start, end)[None]
        if self.positions is None:
            return plain
        prompt = self.positions[:, start:end]
        outputs = np.broadcast_to(plain[:, prompt.shape[1] :] + self.offset, (3, end - start - prompt.shape[1]))
        return np.concatenate([prompt, outputs], axis=1)
