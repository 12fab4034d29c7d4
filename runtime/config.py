"""How an engine is set up: one frozen object, resolved once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal

from runtime.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """Every setting of an engine.

    model_path:         folder or Hugging Face id; None is the embedded model.
    dtype:              "auto" keeps the checkpoint's dtype (float32 on a CPU without bf16 matmul).
    device:             "auto": the GPU if there is one, else the CPU.
    context_length:     longest prompt plus output, in tokens; None: what the model was trained for.
    page_size:          tokens in a page of the KV pool.
    attention_backend:  which kernels run: "cpu" (torch's and numba's), "triton", or "auto": Triton's on a GPU.
    kv_cache_bytes:     size of the KV pool; None: derived from free memory.
    kv_cache_dtype:     "auto": the model's; "fp8" (e4m3): twice the tokens in the same memory, less exact; Triton only.
    gpu_memory_utilization: share of a GPU's memory that weights, pool and steps take together.
    cuda_graphs:        record decode steps on a GPU and replay them; takes some seconds when the engine is made.
    overlap:            start a step before the tokens of the one before it are read; None: on a GPU.
    max_num_seqs:       requests that may run in one step; never more than max_num_batched_tokens.
    max_num_batched_tokens: token budget of one step; longer prompts are computed in chunks.
    schedule_policy:    who is admitted first: "lpm" (longest cached prefix), "dfs-weight" (depth first through the
    tree,
                        fullest subtree first) or "fcfs" (first come, first served).
    eviction_policy:    which cached pages go first: "lru", "lfu" or "fifo".
    jump_forward:       append forced tokens without asking the model.
    deterministic:      bit for bit the same answer and log-probabilities whatever runs beside a request, however its
                        prompt is cut and whatever the cache holds. Several times slower with many requests; CPU only.
    max_images:         the most images that one request may bring.
    image_cache_bytes:  what a vision-language model's tower made of recent images is kept up to this size.
    """

    model_path: str | None = None
    tokenizer_path: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    token: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    context_length: int | None = None
    page_size: int = 16
    attention_backend: Literal["auto", "cpu", "triton"] = "auto"
    kv_cache_bytes: int | None = None
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    gpu_memory_utilization: float = 0.9
    cuda_graphs: bool = True
    overlap: bool | None = None
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 2048
    enable_prefix_caching: bool = True
    schedule_policy: Literal["lpm", "dfs-weight", "fcfs"] = "lpm"
    eviction_policy: Literal["lru", "lfu", "fifo"] = "lru"
    jump_forward: bool = True
    deterministic: bool = False
    max_images: int = 64
    image_cache_bytes: int = 256 << 20
    num_threads: int | None = None
    random_seed: int = 0

    @classmethod
    def of(cls, **settings: Any) -> EngineConfig:
        """As the class itself, but a setting that there is not is a RequestError that says which there are."""
        known = [field.name for field in fields(cls)]
        for name in settings:
            if name not in known:
                close = get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else "."
                raise RequestError(f"an engine has no setting {name!r}{hint} It has: {', '.join(known)}")
        return cls(**settings)

    def __post_init__(self) -> None:
        for name, least in (
            ("page_size", 1),
            ("max_num_seqs", 1),
            ("max_num_batched_tokens", 1),
            ("max_images", 0),
            ("image_cache_bytes", 0),
        ):
            if getattr(self, name) < least:
                raise RequestError(f"{name}={getattr(self, name)} must be at least {least}")
        for name, known in (
            ("schedule_policy", ("lpm", "dfs-weight", "fcfs")),
            ("eviction_policy", ("lru", "lfu", "fifo")),
            ("attention_backend", ("auto", "cpu", "triton")),
            ("kv_cache_dtype", ("auto", "fp8")),
        ):
            if getattr(self, name) not in known:
                raise RequestError(f"{name}={getattr(self, name)!r} must be one of {', '.join(known)}")
        if self.overlap and self.deterministic:
            raise RequestError("overlap=True and deterministic=True contradict each other; leave overlap at None")
        if not 0.0 < self.gpu_memory_utilization <= 1.0:
            raise RequestError(f"gpu_memory_utilization={self.gpu_memory_utilization} must be in (0, 1]")
