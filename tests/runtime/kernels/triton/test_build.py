"""After `runtime.build`, what requests launch is compiled: no kernel is launched in a new way.

Triton compiles a kernel anew for other constants, other dtypes, and integers and addresses that stop being 1 or
multiples of 16. The interpreter does not compile, but it is told the same things.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from triton.runtime.interpreter import InterpretedFunction

from runtime.build import build
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.execution import triton_backend
from tests.runtime.kernels.triton.test_engine import requests_of
from tests.runtime.model.families import tiny_model

Variant = tuple[object, ...]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> set[Variant]:
    """All ways in which kernels have been launched, as Triton tells them apart."""
    found: set[Variant] = set()
    run = InterpretedFunction.run

    def recorded(self: Any, *arguments: Any, **named: Any) -> None:
        found.add(variant(self, arguments, named))
        run(self, *arguments, **named)

    monkeypatch.setattr(InterpretedFunction, "run", recorded)
    return found


def variant(kernel: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Variant:
    parameters = inspect.signature(kernel.fn).parameters
    given = dict(zip(parameters, arguments, strict=False)) | named
    any_number = kernel.kwargs["do_not_specialize"] or ()
    told = [
        given[name] if "constexpr" in str(parameter.annotation) else told_apart(given[name])
        for name, parameter in parameters.items()
        if name not in any_number
    ]
    return (kernel.fn.__name__, *map(str, told))


def told_apart(value: Any) -> object:
    if isinstance(value, torch.Tensor):
        return value.dtype, value.data_ptr() % 16 == 0
    return (value == 1, value % 16 == 0) if isinstance(value, int) else type(value)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "gpt_oss"])
def test_requests_launch_what_was_built(
    family: str, launched: set[Variant], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16, for float32 has no wide tiles; cut for as many programs as an H200 has."""
    monkeypatch.setattr(triton_backend, "_PROGRAMS_WITHOUT_GPU", 264)
    layers = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"]}
    settings: dict[str, Any] = {
        "model_path": tiny_model(family, tmp_path, **(layers if family == "gpt_oss" else {"num_hidden_layers": 1})),
        "attention_backend": "triton",
        "dtype": "bfloat16",
        "kv_cache_bytes": 1 << 20,
        "max_num_batched_tokens": 128,
        "num_threads": 1,
    }
    for _ in build(EngineConfig(**settings)):
        pass
    built = set(launched)
    kernels = {kernel for kernel, *_ in built}
    assert {"attend_kernel", "merge_kernel", "draw_kernel", "edit_kernel"} <= kernels
    with Engine(**settings) as engine:
        for running in [engine.submit(request) for seed in range(3) for request in requests_of(seed)]:
            running.result(200)
    assert launched == built
