"""Checkpoints are written once a session, each when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.vision.checkpoints import write_checkpoint

Checkpoint = Callable[[str], Path]


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folders: dict[str, Path] = {}

    def written(name: str) -> Path:
        if name not in folders:
            folders[name] = write_checkpoint(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return written
