"""Triton's kernels as a `Backend`, for a GPU, or for CPU tensors in the interpreter."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.execution.device_sampler import DeviceSampler
from runtime.execution.staging import Capacities, send
from runtime.kernels.attention_items import AttentionItems, AttentionShape, StepItems, cut_step
from runtime.kernels.contract import AttentionLayer, RaggedBatch
from runtime.kernels.triton.attention import DeviceItems, TritonAttention, as_bytes
from runtime.kernels.triton.interpreted import INTERPRETED as INTERPRETED
from runtime.kernels.triton.ops import TritonOps
from runtime.kernels.triton.write_kv import write_kv

_PROGRAMS_ON_EACH = 2
"""Programs for each multiprocessor: while one waits for memory, another computes."""
_PROGRAMS_WITHOUT_GPU = 8
ITEM_ARRAYS = ("narrow", "wide", "first", "last", "rows", "row_parts", "part_starts")


class TritonBackend:
    """See `runtime.execution.backends.Backend`. shapes: of the model's layers."""

    name = "triton"

    def __init__(self, layers: Sequence[AttentionLayer], dtype: torch.dtype, device: torch.device) -> None:
        self.ops = TritonOps()
        self.device = device
        self.shapes = tuple(dict.fromkeys(AttentionShape.of(layer, dtype.itemsize) for layer in layers))
        self.num_programs = _PROGRAMS_WITHOUT_GPU
        if device.type == "cuda":
            self.num_programs = _PROGRAMS_ON_EACH * torch.cuda.get_device_properties(device).multi_processor_count

    def attention(self, ragged: RaggedBatch) -> TritonAttention:
        step = cut_step(ragged, self.shapes, self.num_programs)
        num_parts = [0 if items.direct else items.num_parts for items in step.items.values()]
        return self.attention_of(send(self.arrays_of(step), self.device), num_parts, ragged.page_size)

    def arrays_of(self, step: StepItems) -> dict[str, NDArray[Any]]:
        """All that the kernels read, by name; pages, of which there may be many, last."""
        arrays = {
            _named(number, name): getattr(step.items[shape], name)
            for number, shape in enumerate(self.shapes)
            for name in ITEM_ARRAYS
        }
        return arrays | {"pages": step.pages}

    def attention_of(
        self, tensors: Mapping[str, torch.Tensor], num_parts: Sequence[int], page_size: int
    ) -> TritonAttention:
        """tensors: as `arrays_of` names them. num_parts: of each shape, 0 where nothing is merged."""
        items = {
            shape: DeviceItems(**{name: tensors[_named(number, name)] for name in ITEM_ARRAYS}, num_parts=parts)
            for number, (shape, parts) in enumerate(zip(self.shapes, num_parts, strict=True))
        }
        return TritonAttention(items, tensors["pages"], page_size)

    def capacities(self, lengths: Sequence[Mapping[str, int]], num_pages: int) -> Capacities:
        """Room for arrays of at most these lengths: one mapping for each shape, by array."""
        found: Capacities = {
            _named(number, name): ((of_shape[name], *AttentionItems.columns(name)), np.int32)
            for number, of_shape in enumerate(lengths)
            for name in ITEM_ARRAYS
        }
        return found | {"pages": ((num_pages,), np.int32)}

    def write(
        self, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> None:
        write_kv(as_bytes(keys), as_bytes(values), slots, _dense(key), _dense(value))

    def sampler(self, vocab_size: int, eos_token_ids: Collection[int]) -> DeviceSampler:
        return DeviceSampler(vocab_size, eos_token_ids)

    def finish_compiling(self) -> None:
        """Nothing: Triton compiles when a kernel is launched first."""


def _named(number: int, name: str) -> str:
    return f"{number}.{name}"


def _dense(rows: torch.Tensor) -> torch.Tensor:
    """Kernels step through the last dimension one by one."""
    return rows if rows.stride(-1) == 1 else rows.contiguous()
