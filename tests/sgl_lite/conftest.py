"""A fresh fake backend for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    """The default backend, for the length of a test. Says "an answer" unless told otherwise."""
    fake = FakeBackend()
    sgl.set_default_backend(fake)
    yield fake
    sgl.set_default_backend(None)
