"""This engine beside `transformers` on a CPU: one stream, a batch, a shared prefix, JSON under schemas.

    python -m benchmarks.engines [--rounds 3] [--threads 1] [--only W1,W2,W3,W4] [--engines sgl-lite,transformers]

    W1  one stream: prompt 64, output 128
    W2  32 requests, prompts of 128 of their own, output 64
    W3  64 requests share 1,024 tokens, 32 of their own, output 16
    W4  16 requests, each with a JSON Schema of its own, 96 tokens; against the same lengths without

A model of 134.5 million random parameters (30 layers, 576 wide, 9 query and 3 KV heads), bf16, greedy, the end of
text ignored. The model and its tokenizer are made on the first run, below the user's cache folder. Engines take turns,
each in a process of its own; times are CPU seconds of that process, medians over the rounds. Writes
benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import record

MODEL = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sgl-lite" / "bench-135m"
ENGINES = ("sgl-lite", "transformers")
WORKLOADS = ("W1", "W2", "W3", "W4")
VOCAB = 49152
KV_BYTES = 256 << 20

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue", "black"]}, "maxItems": 4},
        "address": {
            "type": "object",
            "properties": {"street": {"type": "string", "maxLength": 20}, "number": {"type": "integer", "minimum": 0}},
            "required": ["street", "number"],
            "additionalProperties": False,
        },
    },
    "required": ["name", "age", "tags", "address"],
    "additionalProperties": False,
}

Row = dict[str, float]


def ids(*seed: int, count: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(300, VOCAB, count).tolist())


def make_model() -> None:
    """Random weights from a fixed seed, and a byte-level tokenizer trained on Python's own library."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    print(f"making the model in {MODEL}", file=sys.stderr)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, max_position_embeddings=8192, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(MODEL)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    trained = ByteLevelBPETokenizer()
    trained.train(
        [str(path) for path in sources], vocab_size=VOCAB, special_tokens=["<s>", "</s>"], show_progress=False
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(MODEL)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


class Ours:
    def __init__(self, threads: int) -> None:
        from runtime.engine import Engine

        self.engine = Engine(str(MODEL), dtype="bfloat16", num_threads=threads, kv_cache_bytes=KV_BYTES)

    def run(
        self, prompts: list[tuple[int, ...]], lengths: list[int], schemas: list[Any] | None = None, free: bool = True
    ) -> list[tuple[str, int]]:
        from grammars.spec import JsonSchema
        from runtime.api import GenerateRequest, SamplingParams

        running = [
            self.engine.submit(
                GenerateRequest(
                    prompt=prompt,
                    sampling=SamplingParams(max_tokens=length, temperature=0.0, ignore_eos=free),
                    constraint=None if schemas is None else JsonSchema(schemas[index]),
                )
            )
            for index, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))
        ]
        outputs = [request.result().outputs[0] for request in running]
        return [(output.text, len(output.token_ids)) for output in outputs]

    def json(self, round_: int) -> Row:
        """The same number of tokens with the constraint and without; first with new schemas, then with known ones."""
        import jsonschema

        schemas = [dict(SCHEMA, title=f"Person{round_}_{i}") for i in range(16)]
        row: Row = {"valid": 0, "of": 0}
        for again, name in enumerate(("slowdown", "slowdown, schemas known")):
            prompts = [ids(4, round_, i, again, count=64) for i in range(16)]
            constrained, answers = timed(lambda: self.run(prompts, [96] * 16, schemas, free=False))  # noqa: B023
            lengths = [length for _, length in answers]
            self.engine.flush_cache()
            free, _ = timed(lambda: self.run(prompts, lengths))  # noqa: B023
            for (text, _), schema in zip(answers, schemas, strict=True):
                jsonschema.validate(json.loads(text), schema)
                row["valid"] += 1
            row |= {"of": row["of"] + 16, name: constrained / free}
        return row


class Transformers:
    def __init__(self, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16).eval()

    def run(self, prompts: list[tuple[int, ...]], lengths: list[int]) -> None:
        import torch

        with torch.inference_mode():
            inputs = torch.tensor(prompts)
            for part in inputs.split(32):
                self.model.generate(
                    part, attention_mask=torch.ones_like(part), do_sample=False, max_new_tokens=lengths[0],
                    min_new_tokens=lengths[0], pad_token_id=0,
                )  # fmt: skip


def measure(engine: Any, workload: str, round_: int) -> Row:
    if workload == "W1":
        first, _ = timed(lambda: engine.run([ids(1, round_, 1, count=64)], [1]))
        seconds, _ = timed(lambda: engine.run([ids(1, round_, count=64)], [128]))
        return {"ms a token": (seconds - first) / 127 * 1000, "first token ms": first * 1000}
    if workload == "W2":
        seconds, _ = timed(lambda: engine.run([ids(2, round_, i, count=128) for i in range(32)], [64] * 32))
        return {"seconds": seconds, "tokens/s": 32 * 64 / seconds}
    if workload == "W3":
        prefix = ids(3, round_, count=1024)
        prompts = [prefix + ids(3, round_, 1, i, count=32) for i in range(64)]
        seconds, _ = timed(lambda: engine.run(prompts, [16] * 64))
        return {"seconds": seconds, "requests/s": 64 / seconds}
    return engine.json(round_)


def work(name: str, threads: int, round_: int, workloads: list[str]) -> None:
    """In a process of its own: prints one JSON object."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    engine: Any = (Ours if name == "sgl-lite" else Transformers)(threads)
    engine.run([ids(0, round_, count=16)], [4])
    rows = {w: measure(engine, w, round_) for w in workloads if w != "W4" or hasattr(engine, "json")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "peak MiB": peak}), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "ROUND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    workloads = options.only.split(",")
    if options.worker:
        work(options.worker[0], options.threads, int(options.worker[1]), workloads)
    if not (MODEL / "tokenizer.json").exists():
        make_model()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in options.engines.split(",")}
    for round_ in range(options.rounds):
        for name in found:
            command = [
                sys.executable,
                "-m",
                "benchmarks.engines",
                "--worker",
                name,
                str(round_),
                "--threads",
                str(options.threads),
            ]
            done = subprocess.run([*command, "--only", options.only], capture_output=True, text=True, check=True)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    table: dict[str, dict[str, Row]] = {}
    for name, rounds in found.items():
        rows = {
            w: {key: statistics.median(r["rows"][w][key] for r in rounds) for key in rounds[0]["rows"][w]}
            for w in workloads
            if w in rounds[0]["rows"]
        }
        table[name] = rows | {"memory": {"peak MiB": statistics.median(r["peak MiB"] for r in rounds)}}
        for workload, row in table[name].items():
            print(f"{name:14}{workload:8}" + "   ".join(f"{key} {value:,.2f}" for key, value in row.items()))
    record("engines", options.threads, unit="CPU seconds", medians=table, rounds=found)


if __name__ == "__main__":
    main()
