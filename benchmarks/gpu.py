"""How near kernels and whole steps come to what the GPU can do. Needs an NVIDIA GPU; takes less than 8 minutes.

    python -m benchmarks.gpu [--quick | --dry]

First the roof: how fast the chip copies and multiplies. Then steps of a model of Llama 2 7B's shape with random
bfloat16 weights, the engine, and single kernels, each as a share of the time that its bytes, or its products, take at
the roof. Last what there is beside it: `torch.compile` of these steps, transformers' own decode step compiled, and its
continuous batching. Writes benchmarks/results/gpu.json after every part, and prints a table. A part that fails or takes
too long is written down, and the others go on.

--quick: two layers, to see whether everything runs.
--dry: every line of this script without a GPU, on a tiny model, in Triton's interpreter (TRITON_INTERPRET=1).
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rich.console import Console
from rich.table import Table
from transformers import ContinuousBatchingConfig, GenerationConfig, StaticCache
from transformers.generation.continuous_batching.utils import WorkloadHints

from benchmarks.gpu_setting import (
    DRY,
    FULL,
    QUICK,
    Chip,
    Roof,
    Run,
    Scale,
    kv_bytes_per_token,
    loaded,
    measure_roof,
    random_llama,
    weight_bytes,
)
from benchmarks.machine import at_most
from grammars.spec import Regex
from runtime.api import GenerateRequest, SamplingParams
from runtime.config import EngineConfig
from runtime.engine import Engine
from runtime.execution.forward_batch import ForwardBatch
from runtime.execution.model_runner import ModelRunner
from runtime.execution.sampler import Sampler
from runtime.kernels import attention_items
from runtime.model.loader import LoadedModel
from runtime.scheduler.batch import SampledTokens, ScheduledBatch, ScheduledRequest, TokenHistory

RESULTS = Path(__file__).parent / "results" / "gpu.json"
SECONDS = 450.0
"""For everything."""
Results = dict[str, Any]


@dataclass
class Bench:
    """One run of this script."""

    chip: Chip
    scale: Scale
    path: Path
    results: Results
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def part(self, name: str, limit: float) -> Iterator[None]:
        """What measures something, in so many seconds at most (on a GPU)."""
        gc.collect()  # a runner that is done with may still be there, and its pool is most of the memory
        self.chip.free()
        started = time.perf_counter()
        left = max(1.0, min(limit, SECONDS - (started - self.started))) if self.chip.is_gpu else 1e4
        try:
            with at_most(left):
                yield
        except Exception as error:
            traceback.print_exc()
            self.results[f"{name}: failed"] = repr(error)
        self.results[f"{name}: seconds"] = time.perf_counter() - started
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(json.dumps(self.results, indent=1) + "\n")
        print(f"{name}: {self.results[f'{name}: seconds']:.0f} s", file=sys.stderr)

    def seconds(self, run: Run, times: int | None = None, before: Run | None = None) -> float:
        return self.chip.seconds(run, times or self.scale.times, before)

    def settings(self, **changed: Any) -> EngineConfig:
        scale = self.scale
        settings: dict[str, Any] = {"page_size": scale.page_size, "max_num_seqs": max(scale.decode)}
        if self.chip.is_gpu:
            settings |= {"max_num_batched_tokens": scale.prefill[0] * scale.prefill[1], "gpu_memory_utilization": 0.85}
        else:
            settings |= {"attention_backend": "triton", "kv_cache_bytes": 1 << 20, "overlap": True}
        return EngineConfig(**settings | changed)

    def runner(self, model: LoadedModel, **changed: Any) -> ModelRunner:
        runner = ModelRunner(model, self.settings(**changed))
        if not self.chip.is_gpu:
            runner.graphs = runner.record(max(self.scale.decode), model.context_length, _replayed)
        return runner


def _replayed(run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
    """In place of `CudaCapture`, without a GPU."""

    def replay() -> None:
        run()

    return run(), replay


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--dry", action="store_true")
    arguments.add_argument("--results", type=Path, default=RESULTS)
    given = arguments.parse_args()
    chip = Chip()
    if chip.is_gpu == given.dry:
        print(f"benchmarks/gpu.py: --dry is for machines without a GPU, and this is {chip.name}; nothing was measured")
        return
    scale = DRY if given.dry else QUICK if given.quick else FULL
    results: Results = {"chip": chip.name, "torch": torch.__version__, "transformers": transformers.__version__}
    bench = Bench(chip, scale, given.results, results)
    roof = measure_roof(chip, scale)
    results["roof"] = {"copy_gb_per_s": roof.bytes_per_second / 1e9, "matmul_tflop_per_s": roof.flops / 1e12}
    module = random_llama(chip, scale)
    measure_ours(bench, module, roof)
    with bench.part("torch.compile", 120):
        measure_compiled(bench)
    with bench.part("transformers, compiled", 120):
        measure_static_cache(bench)
    with bench.part("transformers", 90):
        results["transformers continuous batching"] = measure_transformers(bench, module)
        name = f"engine, {scale.requests} x {scale.context} + {scale.new_tokens}, tokens/s"
        results["engine over transformers"] = results[name] / results["transformers continuous batching"]["tokens/s"]
    Console().print(table_of(results))


def measure_ours(bench: Bench, module: Any, roof: Roof) -> None:
    """All that needs the model on our pool; which is gone after it."""
    model = loaded(module, bench.scale)
    made: list[ModelRunner] = []
    with bench.part("runner", 150):
        made.append(bench.runner(model))
        bench.results["runner"] = {
            "fused": made[0].decoder is not None,
            "graphs": 0 if made[0].graphs is None else len(made[0].graphs.keys),
            "pool tokens": made[0].num_pages * made[0].page_size,
        }
    for runner in made:
        with bench.part("steps", 120):
            measure_steps(bench, model, runner, roof)
        with bench.part("engine", 120):
            measure_engine(bench, model, runner)
        with bench.part("constraints", 60):
            measure_constraints(bench, model, runner)
        with bench.part("kernels", 60):
            measure_kernels(bench, model, runner, roof)


# Steps


def request(start: int, count: int, pages: np.ndarray, sampling: SamplingParams) -> ScheduledRequest:
    tokens = np.full(start + count, 5, dtype=np.int64)
    history = TokenHistory(tokens, start + count - 1, 0)
    return ScheduledRequest("r", tokens[start:], start, pages, count - 1, True, sampling, history)


def step_of(
    scale: Scale, num: int, start: int, count: int = 1, shared: int = 0, sampling: SamplingParams | None = None
) -> ScheduledBatch:
    """Requests alike, whose first `shared` tokens are in the same pages."""
    needed, common = -(-(start + count) // scale.page_size), shared // scale.page_size
    trunk, greedy = np.arange(common), SamplingParams(temperature=0.0)
    tables = [
        np.concatenate([trunk, common + i * (needed - common) + np.arange(needed - common)]).astype(np.int32)
        for i in range(num)
    ]
    return ScheduledBatch(tuple(request(start, count, table, sampling or greedy) for table in tables))


def measure_steps(bench: Bench, model: LoadedModel, runner: ModelRunner, roof: Roof) -> None:
    scale, results = bench.scale, bench.results
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    alone = copy.copy(runner)
    alone.graphs = None
    for num in scale.decode:
        batch = step_of(scale, num, scale.context - 1)
        bound = (weight_bytes(model) + num * scale.context * kv_bytes_per_token(model)) / roof.bytes_per_second
        forward = partial(runner.forward, batch)
        results[f"decode step, {num} x {scale.context}"] = ratio(bench.seconds(forward), bound) | {
            "with sampling_ms": bench.seconds(partial(draw, sampler, forward, batch)) * 1e3,
            "without graphs_ms": bench.seconds(partial(alone.forward, batch)) * 1e3,
        }
    num, count = scale.prefill
    batch = step_of(scale, num, 0, count)
    parameters = weight_bytes(model) / model.dtype.itemsize - model.vocab_size * scale.hidden
    attention = 4 * num * count**2 / 2 * sum(layer.num_heads * layer.key_dim for layer in model.layers)
    bound = (2 * parameters * num * count + attention) / roof.flops
    results[f"prefill, {num} x {count}"] = ratio(bench.seconds(partial(runner.forward, batch), 5), bound)
    batch = step_of(scale, scale.sharing, scale.long + scale.page_size, shared=scale.long)
    least, times = attention_items.MIN_SAVED_TOKENS, {}
    for name, attention_items.MIN_SAVED_TOKENS in (("tree", 1), ("alone", 1 << 60)):
        times[name] = bench.seconds(partial(runner.forward, batch))
    attention_items.MIN_SAVED_TOKENS = least
    results[f"{scale.sharing} requests sharing {scale.long}"] = {
        "ms": times["tree"] * 1e3, "each alone_ms": times["alone"] * 1e3, "times": times["alone"] / times["tree"]
    }  # fmt: skip


def draw(sampler: Sampler, forward: Callable[[], torch.Tensor], batch: ScheduledBatch) -> SampledTokens:
    return sampler.sample(forward(), batch)


def ratio(taken: float, bound: float) -> Results:
    return {"ms": taken * 1e3, "bound_ms": bound * 1e3, "of the bound": bound / taken}


def measure_kernels(bench: Bench, model: LoadedModel, runner: ModelRunner, roof: Roof) -> None:
    """Attention of one layer from a graph of many, and the sampler alone, launches counted in."""
    scale, layer = bench.scale, model.layers[0]
    keys, values = runner.pool.keys[0], runner.pool.values[0]
    repeats = 100 if bench.chip.is_gpu else 2
    for num, context in (*((num, scale.context) for num in scale.decode), (min(8, scale.sharing), scale.long)):
        step = ForwardBatch.build(step_of(scale, num, context - 1), scale.page_size, bench.chip.device)
        query = torch.randn(num, layer.num_heads, layer.key_dim, device=bench.chip.device, dtype=model.dtype)
        attend = partial(runner.backend.attention(step.ragged).attend, layer, query, keys, values, None)
        replay = bench.chip.recorded(lambda attend=attend: [attend() for _ in range(repeats)])
        bound = num * context * kv_bytes_per_token(model) / len(model.layers) / roof.bytes_per_second
        results = ratio(bench.seconds(replay, 5) / repeats, bound)
        bench.results[f"attention of a layer, {num} x {context}"] = results
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    logits = torch.randn(scale.sharing, model.vocab_size, device=bench.chip.device)
    masks = np.full((scale.sharing, -(-model.vocab_size // 32)), 0x55555555, np.int32)
    for name, sampling, mask in (
        ("greedy", SamplingParams(temperature=0.0), None),
        ("greedy, masked", SamplingParams(temperature=0.0), masks),
        ("random", SamplingParams(temperature=1.0), None),
        ("top-k, top-p", SamplingParams(temperature=1.0, top_k=50, top_p=0.9), None),
    ):
        batch = step_of(scale, scale.sharing, 8, sampling=sampling)
        taken = bench.seconds(partial(sampler.sample, logits, batch, mask))
        bench.results[f"sampling {scale.sharing} rows, {name}"] = ratio(taken, logits.nbytes / roof.bytes_per_second)


# The engine


def prompts(num: int, length: int) -> list[tuple[int, ...]]:
    rng = random.Random(0)
    return [tuple(rng.randrange(3, 250) for _ in range(length)) for _ in range(num)]


def throughput(bench: Bench, engine: Engine, constraint: Regex | None, new_tokens: int) -> float:
    """Output tokens a second."""
    sampling = SamplingParams(temperature=0.0, max_tokens=new_tokens, ignore_eos=constraint is None)
    engine.flush_cache()
    bench.chip.synchronize()
    started = time.perf_counter()
    running = [
        engine.submit(GenerateRequest(prompt=prompt, sampling=sampling, constraint=constraint))
        for prompt in prompts(bench.scale.requests, bench.scale.context)
    ]
    produced = sum(len(request.result(300).outputs[0].token_ids) for request in running)
    return produced / (time.perf_counter() - started)


def measure_engine(bench: Bench, model: LoadedModel, runner: ModelRunner) -> None:
    scale, results = bench.scale, bench.results
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    new = scale.new_tokens
    name = f"engine, {scale.requests} x {scale.context} + {new}, tokens/s"
    with Engine.from_parts(bench.settings(overlap=False), model, runner, sampler) as engine:
        throughput(bench, engine, None, 2)
        results["the same without overlap"] = throughput(bench, engine, None, new)
    with Engine.from_parts(bench.settings(), model, runner, sampler) as engine:
        throughput(bench, engine, None, 2)
        results[name] = throughput(bench, engine, None, new)
        once = SamplingParams(temperature=0.0, max_tokens=1)
        firsts: list[float] = []
        for number, prompt in enumerate(prompts(scale.firsts, scale.context)):
            started = time.perf_counter()
            engine.submit(GenerateRequest(prompt=prompt, sampling=once, cache_salt=str(number))).result(60)
            firsts.append(time.perf_counter() - started)
        results[f"first token of {scale.context}, ms"] = statistics.median(firsts[1:]) * 1e3
        results["engine stats"] = engine.stats()


def measure_constraints(bench: Bench, model: LoadedModel, runner: ModelRunner) -> None:
    scale, new = bench.scale, bench.scale.new_tokens
    sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
    letters = Regex(f"[a-z ]{{{new}}}[a-z ]*")
    with Engine.from_parts(bench.settings(), model, runner, sampler) as engine:
        throughput(bench, engine, letters, new)
        free = throughput(bench, engine, None, 2 * new)
        constrained = throughput(bench, engine, letters, 2 * new)
    bench.results[f"constrained decode, {scale.requests}"] = {
        "free": free, "constrained": constrained, "ratio": constrained / free
    }  # fmt: skip


# What there is beside it


def measure_compiled(bench: Bench) -> None:
    """A decode step of four layers: as it is fused here, as the model's own modules, and both through torch.compile."""
    scale = replace(bench.scale, layers=min(4, bench.scale.layers), long=bench.scale.context)
    model = loaded(random_llama(bench.chip, scale), scale)
    fused = bench.runner(model, kv_cache_bytes=1 << 30 if bench.chip.is_gpu else 1 << 20, cuda_graphs=False)
    plain = copy.copy(fused)
    plain.decoder = None
    backend = "inductor" if bench.chip.is_gpu else "aot_eager"
    for num in scale.decode[:2]:
        step = ForwardBatch.build(step_of(scale, num, scale.context // 2), scale.page_size, bench.chip.device)
        found = bench.results.setdefault(f"four layers, {num} x {scale.context // 2}, ms", {})
        inputs = (step.input_ids[0], step.position_ids[0], step.slots, fused.backend.attention(step.ragged))
        for name, runner in (("fused", fused), ("plain", plain)):
            for compiled in (False, True):
                decode = torch.compile(runner._decode, backend=backend) if compiled else runner._decode
                replay = bench.chip.recorded(partial(torch.inference_mode()(decode), *inputs))
                found[name + ", compiled" * compiled] = bench.seconds(replay) * 1e3
    torch._dynamo.reset()  # it holds on to the model


def measure_static_cache(bench: Bench) -> None:
    """A decode step of transformers, its own modules over its static cache, compiled and then recorded as a graph.

    Compiling all layers takes minutes, so two and four are, and each further layer is taken to add what these two add.
    """
    scale, results = bench.scale, bench.results
    for num in scale.decode[:2]:
        few, more = (compiled_step(bench, replace(scale, layers=layers), num) for layers in (2, 4))
        extrapolated = few + (scale.layers - 2) * (more - few) / 2
        found = {"2 layers_ms": few * 1e3, "4 layers_ms": more * 1e3, "extrapolated_ms": extrapolated * 1e3}
        ours = results.get(f"decode step, {num} x {scale.context}")
        if ours is not None:
            found["ours over it"] = extrapolated * 1e3 / ours["ms"]
        results[f"transformers compiled, {num} x {scale.context}, {scale.layers} layers"] = found


def compiled_step(bench: Bench, scale: Scale, num: int) -> float:
    """Seconds of a step of `num` requests whose last token is at the end of the context."""
    chip, last = bench.chip, scale.context - 1
    module = random_llama(chip, scale)
    module.set_attn_implementation("sdpa")
    cache = StaticCache(module.config, max_cache_len=scale.context)
    cache.early_initialization(num, scale.heads, scale.hidden // scale.heads, chip.dtype, chip.device)
    ids, positions = torch.full((2, num, 1), last, device=chip.device)
    ids.fill_(5)

    def rewind() -> None:
        for layer in cache.layers:
            layer.cumulative_length.fill_(last)

    compiled = torch.compile(module, backend="inductor" if chip.is_gpu else "aot_eager", dynamic=False)

    @torch.inference_mode()
    def step() -> None:
        compiled(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)

    try:
        return bench.seconds(chip.recorded(step, rewind), before=rewind)
    finally:
        torch._dynamo.reset()  # it holds on to the model


def measure_transformers(bench: Bench, module: Any) -> Results:
    """Its continuous batching on the same requests, with paged attention over torch's own kernel, once warmed up."""
    scale = bench.scale
    module.set_attn_implementation("paged|sdpa")
    settings = GenerationConfig(max_new_tokens=scale.new_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
    inputs = [list(prompt) for prompt in prompts(scale.requests, scale.context)]
    with module.continuous_batching_context_manager(
        generation_config=settings,
        continuous_batching_config=None
        if bench.chip.is_gpu
        else ContinuousBatchingConfig(num_blocks=64, max_batch_tokens=256),
        workload_hints=WorkloadHints(scale.context, scale.new_tokens, scale.requests),
        timeout=5,
    ) as manager:
        generated_by(manager, [prompt[::-1] for prompt in inputs])
        bench.chip.synchronize()
        started = time.perf_counter()
        produced = generated_by(manager, inputs)
        taken = time.perf_counter() - started
    return {"tokens/s": produced / taken, "tokens": produced, "seconds": taken, "attention": "paged|sdpa"}


def generated_by(manager: Any, inputs: list[list[int]]) -> int:
    """Tokens that transformers' manager makes for all of these."""
    waiting, produced = set(manager.add_requests(inputs=inputs)), 0
    while waiting:
        result = manager.get_result(timeout=1)
        if result is None and not manager.is_running():
            raise RuntimeError("continuous batching ended before its requests did")
        if result is not None and result.is_finished():
            if result.error is not None:
                raise RuntimeError(result.error)
            waiting.remove(result.request_id)
            produced += len(result.generated_tokens)
    return produced


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
