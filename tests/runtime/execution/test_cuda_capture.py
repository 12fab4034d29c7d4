"""How graphs are recorded, with what torch would do on a GPU written down instead of done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from runtime.execution.cuda_graphs import CudaCapture

POOL = (0, 7)


class Stream:
    def __init__(self, log: list[Any]) -> None:
        log.append("a new stream")

    def wait_stream(self, other: Stream) -> None: ...


class Graph:
    def replay(self) -> None: ...


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What happened, with whether it was in inference mode."""
    log: list[Any] = []
    caller = Stream([])

    @contextmanager
    def recording(graph: Graph, *, pool: object, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        log.append(("recording", torch.is_inference_mode_enabled(), pool, capture_error_mode))
        yield
        log.append("recorded")

    @contextmanager
    def stream(of: Stream) -> Iterator[None]:
        yield

    def end(device: int, pool: object) -> None:
        log.append(("memory ended", device, pool))
        raise RuntimeError("not currently recording to mempool_id")

    for name, instead in {
        "graph_pool_handle": lambda: POOL,
        "Stream": lambda: Stream(log),
        "current_stream": lambda: caller,
        "set_stream": lambda of: log.append(("back", of is caller)),
        "current_device": lambda: 3,
        "stream": stream,
        "CUDAGraph": Graph,
        "graph": recording,
    }.items():
        monkeypatch.setattr(torch.cuda, name, instead)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end, raising=False)
    return log


@torch.inference_mode()
def test_it_is_tried_and_then_recorded(log: list[Any]) -> None:
    capture = CudaCapture()

    def run() -> torch.Tensor:
        log.append(("run", torch.is_inference_mode_enabled()))
        return torch.ones(1)

    for _ in range(2):
        logits, replay = capture(run)
        assert logits.item() == 1 and callable(replay)
    once = [("run", True), ("recording", False, POOL, "thread_local"), ("run", True), "recorded"]
    assert log == ["a new stream", "a new stream", *once, *once]
    assert torch.is_inference_mode_enabled()


def test_after_one_that_failed(log: list[Any]) -> None:
    def run() -> torch.Tensor:
        if ("recording", False, POOL, "thread_local") in log:
            raise RuntimeError("operation not permitted when stream is capturing")
        return torch.ones(1)

    with pytest.raises(RuntimeError, match="not permitted"):
        CudaCapture()(run)
    assert log[-2:] == [("back", True), ("memory ended", 3, POOL)]
