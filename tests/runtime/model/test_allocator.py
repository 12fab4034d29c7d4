"""What is asked of the C library's allocator, where there is one that can be asked, and where there is none."""

from __future__ import annotations

import ctypes

import pytest

from runtime.model.allocator import keep_freed_memory


@pytest.mark.parametrize("error", [OSError, AttributeError, TypeError])
def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(name: str | None) -> None:
        raise error

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    keep_freed_memory()


def test_glibc_takes_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        pytest.skip("not glibc")
    told: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, option: int, value: int) -> int:
            told.append((option, value))
            return int(library.mallopt(option, value))

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    keep_freed_memory()
    assert told
    assert all(library.mallopt(option, value) == 1 for option, value in told)
