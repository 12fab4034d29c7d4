"""Building goes through every kind of step, of models that read and of models that see."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.build import build
from runtime.config import EngineConfig
from runtime.errors import ModelLoadError
from tests.runtime.vision.checkpoints import FAMILIES, write_family

SMALL = {"num_threads": 1, "kv_cache_bytes": 8 << 20, "max_num_batched_tokens": 128}


def test_the_embedded_model() -> None:
    parts = list(build(EngineConfig(**SMALL)))  # type: ignore[arg-type]
    assert all(part.seconds > 0 for part in parts)
    assert {"a constraint", "a long prompt, in chunks"} <= {part.what for part in parts}


@pytest.mark.slow
def test_a_model_that_sees(tmp_path: Path) -> None:
    write_family(FAMILIES["llava"], tmp_path)
    config = EngineConfig(model_path=str(tmp_path), **SMALL)  # type: ignore[arg-type]
    assert "an image" in [part.what for part in build(config)]


def test_no_such_model() -> None:
    with pytest.raises(ModelLoadError):
        next(build(EngineConfig(model_path="/no/such/model")))
