"""Where the tokens of a step are images', and what goes in their place.

In comes a `ScheduledBatch`; out go its tokens' embeddings, with features where images are. Knows no pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.model.vision.encoder import Features
from runtime.prompt_layout import ProcessedImage
from runtime.scheduler.batch import ScheduledBatch


@dataclass(frozen=True, slots=True)
class ImageRows:
    """rows:  int64 [n], tokens of the step that are images', rising.
    pieces: what belongs there, one after another: rows [begin, end) of an image's features.
    """

    rows: NDArray[np.int64]
    pieces: tuple[tuple[ProcessedImage, int, int], ...]

    @classmethod
    def of(cls, batch: ScheduledBatch) -> ImageRows | None:
        """None if the step has no such token."""
        rows: list[NDArray[np.int64]] = []
        pieces: list[tuple[ProcessedImage, int, int]] = []
        before = 0
        for request in batch.requests:
            for placed in request.layout.images if request.layout is not None else ():
                first, last = int(placed.rows[0]), int(placed.rows[-1])
                if first < request.start + request.count and last >= request.start:
                    begin, end = np.searchsorted(placed.rows, (request.start, request.start + request.count)).tolist()
                    if begin < end:
                        rows.append(placed.rows[begin:end] - request.start + before)
                        pieces.append((placed.image, begin, end))
            before += request.count
        return cls(np.concatenate(rows), tuple(pieces)) if pieces else None

    @property
    def images(self) -> list[ProcessedImage]:
        """Each once."""
        return list({image.key: image for image, _, _ in self.pieces}.values())

    def put(self, embeddings: torch.Tensor, features: Mapping[bytes, Features]) -> torch.Tensor:
        """embeddings [1, T, width], changed in place, and returned."""
        rows = torch.from_numpy(self.rows).to(embeddings.device)
        values = torch.cat([features[image.key].rows[begin:end] for image, begin, end in self.pieces])
        embeddings[0, rows] = values.to(embeddings.dtype)
        return embeddings

    def deep(self, features: Mapping[bytes, Features], dtype: torch.dtype) -> list[torch.Tensor]:
        """[n, width] for each text layer that adds something to its images; empty for most families."""
        parts = [[layer[begin:end] for layer in features[image.key].deep] for image, begin, end in self.pieces]
        return [torch.cat(layer).to(dtype) for layer in zip(*parts, strict=True)]
