"""Which kernels a model runs on: the CPU's or Triton's. The one place where triton may be missing.

In come the settings and the device; out goes a `Backend`, which makes the attention of a step, has the operations
between attentions, and the sampler.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from typing import Protocol

import torch

from runtime.config import EngineConfig
from runtime.errors import RequestError
from runtime.execution.sampler import Sampler
from runtime.kernels.contract import Attention, RaggedBatch
from runtime.kernels.cpu_attention import CpuAttention
from runtime.kernels.cpu_ops import LOADED_WITHIN, CpuOps
from runtime.model.dense_decoder import DecoderOps
from runtime.model.loader import LoadedModel


class Backend(Protocol):
    """name: as `EngineConfig.attention_backend` has it."""

    name: str

    @property
    def ops(self) -> DecoderOps: ...

    def attention(self, ragged: RaggedBatch) -> Attention:
        """Of one step."""
        ...

    def write(
        self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> None:
        """key, value [rows, kv_heads, *], any strides, into a layer's pool at slots [rows]."""
        ...

    def sampler(self, vocab_size: int, eos_token_ids: Collection[int]) -> Sampler: ...

    def finish_compiling(self) -> None:
        """Return when what is compiled beside the work is compiled and kept."""
        ...


class CpuBackend:
    """torch's CPU kernels and this package's. alone: one query at a time (`EngineConfig.deterministic`)."""

    name = "cpu"

    def __init__(self, dtype: torch.dtype, compiled: bool, alone: bool) -> None:
        self.ops = CpuOps(dtype, compiled=compiled, patience=None if alone else LOADED_WITHIN)
        self._alone = alone

    def attention(self, ragged: RaggedBatch) -> Attention:
        return CpuAttention(ragged, self.ops, self._alone)

    def write(
        self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> None:
        keys.index_copy_(0, slots, key.to(keys.dtype))
        values.index_copy_(0, slots, value.to(values.dtype))

    def sampler(self, vocab_size: int, eos_token_ids: Collection[int]) -> Sampler:
        return Sampler(vocab_size, eos_token_ids)

    def finish_compiling(self) -> None:
        self.ops.finish_compiling()


def choose_backend(model: LoadedModel, config: EngineConfig) -> Backend:
    """RequestError if it cannot run here."""
    on_gpu = model.device.type == "cuda"
    name = config.attention_backend
    if name == "auto":
        name = "triton" if on_gpu else "cpu"
    if name == "cpu":
        if config.kv_cache_dtype != "auto":
            raise RequestError(f"kv_cache_dtype={config.kv_cache_dtype!r} needs attention_backend='triton', and a GPU")
        return CpuBackend(model.dtype, compiled=not on_gpu, alone=config.deterministic)
    if config.deterministic:
        raise RequestError("deterministic=True needs attention_backend='cpu' and device='cpu'")
    try:
        room = import_module("runtime.execution.triton_backend")
    except ImportError as error:
        raise RequestError(
            f"attention_backend='triton': triton is not installed ({error}). pip install triton, or set "
            "attention_backend='cpu'"
        ) from error
    if not on_gpu and not room.INTERPRETED:
        raise RequestError(
            f"attention_backend='triton' needs a GPU, and the model is on {model.device}. Use 'auto', or set "
            "TRITON_INTERPRET=1 to try the kernels on a CPU, slowly"
        )
    backend: Backend = room.TritonBackend(model.layers, model.dtype, model.device)
    return backend
