"""Where a training stands, on disk: written whole or not at all.

Comes in: an optimiser (which holds all weights) and `Progress`. Goes out: a file, and the same again. Two are kept
beside the model's folder: `steady`, from which any longer training goes on, and `finishing`, while the rate falls.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from runtime.model.demo.optimiser import Optimiser


@dataclass(slots=True)
class Progress:
    """How far a training has come. `look_steps` and `pictures` are of the time before the first answer."""

    look_steps: int = 0
    pictures: int = 0
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    longest: int = 0


def checkpoint_path(out: Path, kind: str) -> Path:
    """The file of this kind, "steady" or "finishing", that lies beside the model's folder `out`."""
    return out.with_name(f"{out.name}.{kind}.pt")


def save_checkpoint(path: Path, optimiser: Optimiser, progress: Progress, minutes: float) -> None:
    """`minutes` is the length of the training that the checkpoint is of."""
    partly = path.with_suffix(".partly")
    torch.save({"optimiser": optimiser.state(), "progress": asdict(progress), "minutes": minutes}, partly)
    os.replace(partly, path)


def load_checkpoint(out: Path, optimiser: Optimiser, minutes: float, device: torch.device) -> Progress | None:
    """Loads the checkpoint that a training of `minutes` goes on from; nothing if there is none.

    That is the one in the fall of the rate if it fell for the same end, else the steady one.
    """
    for kind in ("finishing", "steady"):
        path = checkpoint_path(out, kind)
        if not path.exists():
            continue
        saved = torch.load(path, map_location=device)
        if kind == "steady" or saved["minutes"] == minutes:
            optimiser.load(saved["optimiser"])
            return Progress(**saved["progress"])
    return None
