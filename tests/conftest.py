"""Fixtures that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import sgl_lite as sgl

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of public test suites, or a skip that says how to have it."""
    folder = os.environ.get("SGL_LITE_TEST_DATA")
    if not folder:
        pytest.skip("set SGL_LITE_TEST_DATA to a folder with JSONTestSuite and JSON-Schema-Test-Suite")
    return Path(folder)


@pytest.fixture(scope="module")
def embedded_engine() -> Iterator[sgl.Engine]:
    """The engine of the embedded model, as the default backend of a module's programs."""
    with sgl.Engine() as engine:
        sgl.set_default_backend(engine)
        yield engine
        sgl.set_default_backend(None)
