"""What `benchmarks/gpu.py` measures on: the chip, its roof, how large everything is, and a model of random weights."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from benchmarks.machine import chip
from runtime.model.discovery import attach, discover, freeze_rope, use_paged_attention
from runtime.model.loader import LoadedModel

Run = Callable[[], Any]


@dataclass(frozen=True)
class Scale:
    """Sizes. The model's; tokens of context, and of a long one; requests and tokens of each measurement.

    times: a call is repeated. roof: numbers that are copied; width of the square matrices that are multiplied.
    """

    layers: int = 32
    hidden: int = 4096
    inner: int = 11008
    heads: int = 32
    vocab: int = 32000
    context: int = 512
    long: int = 8192
    decode: tuple[int, ...] = (1, 32, 128)
    prefill: tuple[int, int] = (8, 2048)
    sharing: int = 64
    requests: int = 64
    new_tokens: int = 128
    firsts: int = 12
    times: int = 10
    roof: tuple[int, int] = (1 << 30, 8192)
    page_size: int = 16


FULL = Scale()
QUICK = Scale(layers=2)
DRY = Scale(
    layers=1, hidden=64, inner=96, heads=2, vocab=300, context=20, long=32, decode=(1, 2), prefill=(2, 6), sharing=2,
    requests=2, new_tokens=3, firsts=2, times=1, roof=(1 << 16, 64), page_size=4,
)  # fmt: skip


class Chip:
    """A GPU; without one the CPU, on which the same calls do the same, slowly, and times mean nothing."""

    def __init__(self) -> None:
        self.is_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.is_gpu else "cpu")
        self.name = torch.cuda.get_device_name() if self.is_gpu else chip()
        self.dtype = torch.bfloat16 if self.is_gpu else torch.float32

    def synchronize(self) -> None:
        if self.is_gpu:
            torch.cuda.synchronize()

    def free(self) -> None:
        if self.is_gpu:
            torch.cuda.empty_cache()

    def recorded(self, run: Run, before: Run | None = None) -> Run:
        """What `run` launches, as a graph. It is run before, until all is compiled. before: see `seconds`."""
        for _ in range(2):
            if before is not None:
                before()
            run()
        self.synchronize()
        if not self.is_gpu:
            return run
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        return graph.replay

    def seconds(self, run: Run, times: int, before: Run | None = None) -> float:
        """Median time of a call and all that it starts, after a call that warms up.

        before: what precedes each call, and is not timed.
        """
        found = []
        for _ in range(times + 1):
            if before is not None:
                before()
            self.synchronize()
            started = time.perf_counter()
            run()
            self.synchronize()
            found.append(time.perf_counter() - started)
        return statistics.median(found[1:])


@dataclass(frozen=True)
class Roof:
    """Measured. bytes_per_second: read and written together, by a copy. flops: of a product of matrices, per second."""

    bytes_per_second: float
    flops: float


def measure_roof(chip: Chip, scale: Scale) -> Roof:
    numbers, size = scale.roof
    source = torch.randn(numbers, device=chip.device)
    target = torch.empty_like(source)
    copy = chip.seconds(lambda: target.copy_(source), scale.times)
    a, b = (torch.randn(size, size, device=chip.device, dtype=chip.dtype) for _ in range(2))
    product = chip.seconds(lambda: a @ b, scale.times)
    return Roof(2 * source.nbytes / copy, 2 * size**3 / product)


def random_llama(chip: Chip, scale: Scale) -> Any:
    """Llama 2 7B's shape at full scale, with positions for the long tests."""
    config = LlamaConfig(
        vocab_size=scale.vocab, hidden_size=scale.hidden, intermediate_size=scale.inner,
        num_hidden_layers=scale.layers, num_attention_heads=scale.heads, num_key_value_heads=scale.heads,
        max_position_embeddings=2 * scale.long, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    with chip.device:
        return AutoModelForCausalLM.from_config(config, dtype=chip.dtype).eval().requires_grad_(False)


def loaded(module: Any, scale: Scale) -> LoadedModel:
    """As `runtime.model.loader` makes it of a checkpoint."""
    layers = discover(module.config, "random Llama")
    use_paged_attention(module, "random Llama")
    freeze_rope(module, 2 * scale.long)
    attach(module, layers)
    context = 2 * scale.long
    return LoadedModel("random Llama", module, byte_tokenizer(), context, scale.vocab, frozenset({2}), layers=layers)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, from 3 on."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, **{character: 3 + i for i, character in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def weight_bytes(model: LoadedModel) -> int:
    """What a decode step reads: all but the embedding, of which it reads some rows."""
    embedding: Any = model.module.get_input_embeddings()
    return sum(int(p.nbytes) for p in model.module.parameters()) - int(embedding.weight.nbytes)


def kv_bytes_per_token(model: LoadedModel) -> int:
    return sum(layer.num_kv_heads * (layer.key_dim + layer.value_dim) for layer in model.layers) * model.dtype.itemsize
