"""How near kernels and whole steps come to what the GPU can do. Needs an NVIDIA GPU; takes less than 8 minutes.

    python benchmarks/gpu.py [--quick]

First the roof: how fast the chip copies and multiplies. Then kernels and steps of a model of Llama 2 7B's shape with
random bfloat16 weights, each as a share of the time that its bytes, or its products, take at the roof. Last the engine,
beside transformers' own continuous batching. Writes benchmarks/results/gpu.json, after every part, and prints tables.
--quick: a model of two layers and no comparison, to see whether everything runs.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GenerationConfig, LlamaConfig, PreTrainedTokenizerFast

from grammars.spec import Regex
from runtime.api import GenerateRequest, SamplingParams
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.execution.forward_batch import ForwardBatch
from runtime.execution.model_runner import ModelRunner
from runtime.execution.sampler import Sampler
from runtime.kernels import attention_plan
from runtime.model.discovery import attach, discover, freeze_rope, use_paged_attention
from runtime.model.loader import LoadedModel
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest, TokenHistory

RESULTS = Path(__file__).parent / "results" / "gpu.json"
CONTEXT = 512
LONG = 8192
SETTINGS: dict[str, Any] = {"max_num_seqs": 128, "max_num_batched_tokens": 16384, "gpu_memory_utilization": 0.85}
Results = dict[str, Any]


@dataclass(frozen=True)
class Roof:
    """Measured. bytes_per_second: read and written together, by a copy. flops: of a bfloat16 product, per second."""

    bytes_per_second: float
    flops: float


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true")
    quick = arguments.parse_args().quick
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py: this torch sees no GPU; nothing was measured")
        return
    results: Results = {"chip": torch.cuda.get_device_name(), "torch": torch.__version__, "quick": quick}
    results["transformers"] = transformers.__version__
    roof = measure_roof()
    results["roof"] = {"copy_gb_per_s": roof.bytes_per_second / 1e9, "matmul_tflop_per_s": roof.flops / 1e12}
    module = random_llama(layers=2 if quick else 32)
    if not quick:
        with part(results, "transformers"):
            results["transformers continuous batching"] = transformers_throughput(module)
    model = loaded(module)
    started = time.perf_counter()
    runner = ModelRunner(model, EngineConfig(**SETTINGS))
    results["runner"] = {
        "seconds to make": time.perf_counter() - started,
        "fused": runner.decoder is not None,
        "graphs": 0 if runner.graphs is None else len(runner.graphs.keys),
        "pool tokens": runner.num_pages * runner.page_size,
    }
    with part(results, "steps"):
        measure_steps(results, model, runner, roof)
    with part(results, "kernels"):
        measure_kernels(results, model, runner, roof)
    with part(results, "engine"):
        measure_engine(results, model, runner)
    Console().print(table_of(results))


@contextmanager
def part(results: Results, name: str) -> Iterator[None]:
    """What fails is written down, and the rest goes on; results are kept after each part."""
    started = time.perf_counter()
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        results[f"{name}: failed"] = repr(error)
    results[f"{name}: seconds"] = time.perf_counter() - started
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    gc.collect()
    torch.cuda.empty_cache()
    print(f"{name}: {results[f'{name}: seconds']:.0f} s", file=sys.stderr)


def seconds(run: Callable[[], object], times: int = 10) -> float:
    """Median time of a call and all that it starts, after two calls that warm up."""
    found = []
    for number in range(times + 2):
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        if number >= 2:
            found.append(time.perf_counter() - started)
    return statistics.median(found)


def measure_roof() -> Roof:
    source = torch.randn(1 << 30, device="cuda")
    target = torch.empty_like(source)
    copy = seconds(lambda: target.copy_(source))
    size = 8192
    a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product = seconds(lambda: a @ b)
    return Roof(2 * source.nbytes / copy, 2 * size**3 / product)


# The model


def random_llama(layers: int) -> Any:
    """Llama 2 7B's shape, with positions for the long tests."""
    config = LlamaConfig(
        vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=layers, num_attention_heads=32,
        num_key_value_heads=32, max_position_embeddings=2 * LONG, rms_norm_eps=1e-5, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval().requires_grad_(False)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, from 3 on."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, **{character: 3 + i for i, character in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def loaded(module: Any) -> LoadedModel:
    """As `runtime.model.loader` makes it of a checkpoint."""
    layers = discover(module.config, "random Llama")
    use_paged_attention(module, "random Llama")
    freeze_rope(module, 2 * LONG)
    attach(module, layers)
    return LoadedModel("random Llama", module, byte_tokenizer(), 2 * LONG, 32000, frozenset({2}), layers=layers)


def weight_bytes(model: LoadedModel) -> int:
    """What a decode step reads: all but the embedding, of which it reads some rows."""
    embedding: Any = model.module.get_input_embeddings()
    return sum(int(p.nbytes) for p in model.module.parameters()) - int(embedding.weight.nbytes)


def kv_bytes_per_token(model: LoadedModel) -> int:
    return sum(layer.num_kv_heads * (layer.key_dim + layer.value_dim) * 2 for layer in model.layers)


# Steps


def request(start: int, count: int, pages: np.ndarray) -> ScheduledRequest:
    tokens = np.full(start + count, 5, dtype=np.int64)
    sampling = SamplingParams(temperature=0.0)
    history = TokenHistory(tokens, start + count, 0)
    return ScheduledRequest("r", tokens[start:], start, pages, count - 1, True, sampling, history)


def step_of(num: int, start: int, count: int, page_size: int, shared: int = 0) -> ScheduledBatch:
    """Requests alike, whose first `shared` tokens are in the same pages."""
    needed, common = -(-(start + count) // page_size), shared // page_size
    trunk = np.arange(common)
    tables = [
        np.concatenate([trunk, common + i * (needed - common) + np.arange(needed - common)]).astype(np.int32)
        for i in range(num)
    ]
    return ScheduledBatch(tuple(request(start, count, table) for table in tables))


def measure_steps(results: Results, model: LoadedModel, runner: ModelRunner, roof: Roof) -> None:
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    for num in (1, 32, 128):
        batch = step_of(num, CONTEXT - 1, 1, runner.page_size)
        forward = seconds(partial(runner.forward, batch), 20)
        whole = seconds(partial(draw, runner, sampler, batch), 20)
        bound = (weight_bytes(model) + num * CONTEXT * kv_bytes_per_token(model)) / roof.bytes_per_second
        results[f"decode step, {num} x {CONTEXT}"] = ratio(forward, bound) | {"with sampling_ms": whole * 1e3}
    batch = step_of(8, 0, 2048, runner.page_size)
    parameters = weight_bytes(model) / 2 - model.vocab_size * model.module.config.hidden_size
    attention = 4 * 8 * 2048**2 / 2 * sum(layer.num_heads * layer.key_dim for layer in model.layers)
    products = 2 * parameters * 8 * 2048 + attention
    results["prefill, 8 x 2048"] = ratio(seconds(lambda: runner.forward(batch), 5), products / roof.flops)
    batch = step_of(64, LONG + 64, 1, runner.page_size, shared=LONG)
    tree = seconds(lambda: runner.forward(batch))
    worthwhile = attention_plan.MIN_SAVED_TOKENS
    attention_plan.MIN_SAVED_TOKENS = 1 << 60
    alone = seconds(lambda: runner.forward(batch))
    attention_plan.MIN_SAVED_TOKENS = worthwhile
    results[f"64 requests sharing {LONG}"] = {"ms": tree * 1e3, "each alone_ms": alone * 1e3, "times": alone / tree}


def draw(runner: ModelRunner, sampler: Sampler, batch: ScheduledBatch) -> SampledTokens:
    return sampler.sample(runner.forward(batch), batch)


def ratio(taken: float, bound: float) -> Results:
    return {"ms": taken * 1e3, "bound_ms": bound * 1e3, "of the bound": bound / taken}


def measure_kernels(results: Results, model: LoadedModel, runner: ModelRunner, roof: Roof) -> None:
    """Attention of one layer and the sampler, each alone; launches are counted in, without a graph."""
    layer = model.layers[0]
    keys, values = runner.pool.keys[0], runner.pool.values[0]
    for num, context in ((1, CONTEXT), (32, CONTEXT), (128, CONTEXT), (8, LONG)):
        step = graph_time_of(runner, layer, keys, values, num, context)
        bound = num * context * kv_bytes_per_token(model) / len(model.layers) / roof.bytes_per_second
        results[f"attention of a layer, {num} x {context}"] = ratio(step, bound)
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    logits = torch.randn(64, model.vocab_size, device="cuda")
    for name, sampling in (
        ("greedy", SamplingParams(temperature=0.0)),
        ("random", SamplingParams(temperature=1.0)),
        ("top-k, top-p", SamplingParams(temperature=1.0, top_k=50, top_p=0.9)),
    ):
        history = TokenHistory(np.zeros(9, np.int64), 4, 1)
        share = ScheduledRequest("r", np.zeros(1, np.int64), 8, np.zeros(1, np.int32), 0, True, sampling, history)
        batch = ScheduledBatch((share,) * 64)
        bound = logits.nbytes / roof.bytes_per_second
        results[f"sampling 64 rows, {name}"] = ratio(seconds(partial(sampler.sample, logits, batch)), bound)


def graph_time_of(
    runner: ModelRunner, layer: Any, keys: torch.Tensor, values: torch.Tensor, num: int, context: int
) -> float:
    """Seconds of one attention, from a graph of a hundred."""
    forward = ForwardBatch.build(step_of(num, context - 1, 1, runner.page_size), runner.page_size, keys.device)
    attention = runner.backend.attention(forward.ragged)
    query = torch.randn(num, layer.num_heads, layer.key_dim, device=keys.device, dtype=keys.dtype)
    attention.attend(layer, query, keys, values, None)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(100):
            attention.attend(layer, query, keys, values, None)
    return seconds(graph.replay, 5) / 100


# The engine


def prompts(num: int, length: int) -> list[tuple[int, ...]]:
    rng = random.Random(0)
    return [tuple(rng.randrange(3, 250) for _ in range(length)) for _ in range(num)]


def engine_throughput(engine: Engine, constraint: Regex | None, new_tokens: int = 128) -> float:
    """Output tokens a second of 64 requests with 512 tokens of prompt."""
    sampling = SamplingParams(temperature=0.0, max_tokens=new_tokens, ignore_eos=constraint is None)
    engine.flush_cache()
    torch.cuda.synchronize()
    started = time.perf_counter()
    running = [
        engine.submit(GenerateRequest(prompt=prompt, sampling=sampling, constraint=constraint))
        for prompt in prompts(64, CONTEXT)
    ]
    produced = sum(len(request.result(300).outputs[0].token_ids) for request in running)
    return produced / (time.perf_counter() - started)


def measure_engine(results: Results, model: LoadedModel, runner: ModelRunner) -> None:
    config = EngineConfig(**SETTINGS)
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    with Engine.from_parts(config, model, runner, sampler) as engine:
        engine_throughput(engine, None, 8)
        results["engine, 64 x 512 + 128, tokens/s"] = engine_throughput(engine, None)
        length = 128
        letters = Regex(f"[a-z ]{{{length}}}[a-z ]*")
        engine_throughput(engine, letters, 8 + length)
        free = engine_throughput(engine, None, 256)
        constrained = engine_throughput(engine, letters, 256)
        results["constrained decode, 64"] = {"free": free, "constrained": constrained, "ratio": constrained / free}
        once = SamplingParams(temperature=0.0, max_tokens=1)
        firsts: list[float] = []
        for prompt in prompts(12, CONTEXT):
            started = time.perf_counter()
            engine.submit(GenerateRequest(prompt=prompt, sampling=once, cache_salt=str(len(firsts)))).result(60)
            firsts.append(time.perf_counter() - started)
        results["first token of 512, ms"] = statistics.median(firsts[2:]) * 1e3
        results["engine stats"] = engine.stats()
    ours, theirs = (
        results.get(name) for name in ("engine, 64 x 512 + 128, tokens/s", "transformers continuous batching")
    )
    if theirs:
        results["engine over transformers"] = ours / theirs["tokens/s"]


def transformers_throughput(module: Any) -> Results:
    """Its continuous batching on the same requests, with paged attention over torch's own kernel."""
    module.set_attn_implementation("paged|sdpa")
    settings = GenerationConfig(max_new_tokens=128, do_sample=False, eos_token_id=-1, pad_token_id=0)
    inputs = [list(prompt) for prompt in prompts(64, CONTEXT)]
    module.generate_batch(inputs=inputs[:2], generation_config=settings)
    torch.cuda.synchronize()
    started = time.perf_counter()
    outputs = module.generate_batch(inputs=inputs, generation_config=settings)
    taken = time.perf_counter() - started
    produced = sum(len(output.generated_tokens) for output in outputs.values())
    return {"tokens/s": produced / taken, "tokens": produced, "seconds": taken, "attention": "paged|sdpa"}


def table_of(results: Results) -> Table:
    table = Table("what", "measured", title=f"{results['chip']}, torch {results['torch']}")
    for name, value in results.items():
        if name == "engine stats":
            continue
        if isinstance(value, dict):
            value = ", ".join(
                f"{key} {item:.3g}" if isinstance(item, float) else f"{key} {item}" for key, item in value.items()
            )
        table.add_row(name, f"{value:.4g}" if isinstance(value, float) else str(value))
    return table


if __name__ == "__main__":
    main()
