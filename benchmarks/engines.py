"""This engine beside others on a CPU: one stream, a batch, a shared prefix, JSON under schemas.

    python -m benchmarks.engines [--rounds 3] [--threads 1] [--only W1,W2,W3,W4] [--tiny]
                                 [--engines sgl-lite,transformers,vllm,llama.cpp] [--vllm-python PATH]
                                 [--llamacpp-python PATH]

    W1  one stream: prompt 64, output 128
    W2  32 requests, prompts of 128 of their own, output 64
    W3  64 requests share 1,024 tokens, 32 of their own, output 16
    W4  16 requests, each with a JSON Schema of its own (another title), 96 tokens; against the same lengths without;
        then with the schemas known, and with names of their own in each, all this three times with other names, and
        with the smallest budget that will do

A model of 134.5 million random parameters (30 layers, 576 wide, 9 query and 3 KV heads), or with --tiny one of 5
million, bf16, greedy, the end of text ignored. The model and its tokenizer are made on the first run, below the user's
cache folder. Engines take turns, each in a process of its own; times are CPU seconds of that process, medians over
the rounds. "start" is the first token after the process began. vLLM's CPU build and llama.cpp live in environments of
their own, which `--vllm-python` and `--llamacpp-python` name. Writes benchmarks/results/engines.json, or with --tiny
engines_tiny.json.
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

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sgl-lite"
MODEL, TINY = CACHE / "bench-135m", CACHE / "bench-5m"
SHAPES = {
    MODEL: {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
            "num_key_value_heads": 3, "vocab_size": 49152},
    TINY: {"hidden_size": 256, "intermediate_size": 688, "num_hidden_layers": 4, "num_attention_heads": 4,
           "num_key_value_heads": 2, "vocab_size": 8192},
}  # fmt: skip
WORKLOADS = ("W1", "W2", "W3", "W4")
VOCAB = 49152
KV_BYTES = 256 << 20
REPEATS = 3
"""Runs of each kind with schemas, in a round."""

SCHEMA: dict[str, Any] = {
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


def ids(*seed: int, count: int, vocab: int = VOCAB) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(300, vocab, count).tolist())


def make_model(path: Path = MODEL) -> None:
    """Random weights from a fixed seed, and a byte-level tokenizer trained on Python's own library."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    print(f"making the model in {path}", file=sys.stderr)
    torch.manual_seed(0)
    config = LlamaConfig(
        **SHAPES[path], tie_word_embeddings=True, max_position_embeddings=8192, bos_token_id=0, eos_token_id=1
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    trained = ByteLevelBPETokenizer()
    trained.train(
        [str(path) for path in sources],
        vocab_size=config.vocab_size,
        special_tokens=["<s>", "</s>"],
        show_progress=False,
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>")
    tokenizer.save_pretrained(path)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


class Ours:
    def __init__(self, path: Path, threads: int) -> None:
        from runtime.engine import Engine

        self.engine = Engine(str(path), dtype="bfloat16", num_threads=threads, kv_cache_bytes=KV_BYTES)
        self.answers: list[tuple[str, Any]] = []

    def run(
        self, prompts: list[tuple[int, ...]], lengths: list[int], schemas: list[Any] | None = None
    ) -> list[tuple[str, int]]:
        from grammars.spec import JsonSchema
        from runtime.api import GenerateRequest, SamplingParams

        running = [
            self.engine.submit(
                GenerateRequest(
                    prompt=prompt,
                    sampling=SamplingParams(max_tokens=length, temperature=0.0, ignore_eos=schemas is None),
                    constraint=None if schemas is None else JsonSchema(schemas[index]),
                )
            )
            for index, (prompt, length) in enumerate(zip(prompts, lengths, strict=True))
        ]
        outputs = [request.result().outputs[0] for request in running]
        return [(output.text, len(output.token_ids)) for output in outputs]

    def json(self, round_: int) -> Row:
        """`json_runs`, then with as few tokens as will do."""
        row, few = slowdowns(self, json_runs(round_), round_), titled(round_ * REPEATS)
        return row | slowdowns(self, [("slowdown, least tokens", few)], round_, self._least_tokens(few[0]))

    def forget(self) -> None:
        self.engine.flush_cache()

    def _least_tokens(self, schema: Any) -> int:
        from grammars.errors import BudgetError

        try:
            self.run([ids(5, count=8)], [1], [schema])
        except BudgetError as error:
            return error.min_tokens
        return 1


class Vllm:
    """Its CPU build, compiled; XGrammar for JSON, which it does not let write whitespace without end."""

    def __init__(self, path: Path, threads: int) -> None:
        os.environ |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1",
        }  # fmt: skip
        from vllm import LLM

        self.llm = LLM(
            str(path), dtype="bfloat16", max_model_len=2048, max_num_seqs=64, max_num_batched_tokens=2048, seed=0,
            structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
        )  # fmt: skip
        self.answers: list[tuple[str, Any]] = []

    def run(
        self, prompts: list[tuple[int, ...]], lengths: list[int], schemas: list[Any] | None = None
    ) -> list[tuple[str, int]]:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        free = schemas is None
        sampling = [
            SamplingParams(
                temperature=0.0, max_tokens=length, ignore_eos=free,
                structured_outputs=None if schemas is None else StructuredOutputsParams(json=schemas[index]),
            )
            for index, length in enumerate(lengths)
        ]  # fmt: skip
        done = self.llm.generate([{"prompt_token_ids": list(prompt)} for prompt in prompts], sampling, use_tqdm=False)
        return [(one.outputs[0].text, len(one.outputs[0].token_ids)) for one in done]

    def json(self, round_: int) -> Row:
        """As `Ours.json`, without the least tokens, of which it knows nothing."""
        return slowdowns(self, json_runs(round_), round_)

    def forget(self) -> None:
        self.llm.reset_prefix_cache()


def slowdowns(engine: Ours | Vllm, runs: list[tuple[str, list[Any]]], round_: int, budget: int = 96) -> Row:
    """What the same number of tokens takes with schemas, against without: of each name, the median of its runs."""
    ratios: dict[str, list[float]] = {}
    for again, (name, schemas) in enumerate(runs):
        prompts = [ids(4, round_, i, again, count=64) for i in range(16)]
        constrained, answers = timed(lambda: engine.run(prompts, [budget] * 16, schemas))  # noqa: B023
        engine.forget()
        free, _ = timed(lambda: engine.run(prompts, [length for _, length in answers]))  # noqa: B023
        engine.forget()
        engine.answers += [(text, schema) for (text, _), schema in zip(answers, schemas, strict=True)]
        ratios.setdefault(name, []).append(constrained / free)
    return {name: statistics.median(found) for name, found in ratios.items()}


def titled(own: int) -> list[Any]:
    """16 schemas with titles of their own."""
    return [dict(SCHEMA, title=f"Person{own}_{i}") for i in range(16)]


def named(run: int) -> list[Any]:
    """16 schemas that differ in what they allow: the same but for the first property's name."""
    first, *others = SCHEMA["properties"]
    schemas = []
    for i in range(16):
        own = f"name {run} {i}"
        properties = {own: SCHEMA["properties"][first], **{name: SCHEMA["properties"][name] for name in others}}
        schemas.append(SCHEMA | {"properties": properties, "required": [own, *others]})
    return schemas


def json_runs(round_: int) -> list[tuple[str, list[Any]]]:
    """Each kind several times, with schemas that the engine has not seen: one ratio alone is right to a few percent."""
    runs = []
    for own in range(round_ * REPEATS, (round_ + 1) * REPEATS):
        runs += [
            ("slowdown", titled(own)),
            ("slowdown, schemas known", titled(own)),
            ("slowdown, names of their own", named(own)),
        ]
    return runs


def num_valid(answers: list[tuple[str, Any]]) -> int:
    """Texts that satisfy their schemas."""
    import jsonschema

    valid = 0
    for text, schema in answers:
        try:
            jsonschema.validate(json.loads(text), schema)
            valid += 1
        except (ValueError, jsonschema.ValidationError):
            pass
    return valid


class Transformers:
    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()

    def run(self, prompts: list[tuple[int, ...]], lengths: list[int]) -> None:
        import torch

        with torch.inference_mode():
            inputs = torch.tensor(prompts)
            for part in inputs.split(32):
                self.model.generate(
                    part, attention_mask=torch.ones_like(part), do_sample=False, max_new_tokens=lengths[0],
                    min_new_tokens=lengths[0], pad_token_id=0,
                )  # fmt: skip


def measure(engine: Any, workload: str, round_: int, vocab: int) -> Row:
    if workload == "W1":
        first, _ = timed(lambda: engine.run([ids(1, round_, 1, count=64, vocab=vocab)], [1]))
        seconds, _ = timed(lambda: engine.run([ids(1, round_, count=64, vocab=vocab)], [128]))
        return {"ms a token": (seconds - first) / 127 * 1000, "first token ms": first * 1000}
    if workload == "W2":
        prompts = [ids(2, round_, i, count=128, vocab=vocab) for i in range(32)]
        seconds, _ = timed(lambda: engine.run(prompts, [64] * 32))
        return {"seconds": seconds, "tokens/s": 32 * 64 / seconds}
    if workload == "W3":
        prefix = ids(3, round_, count=1024, vocab=vocab)
        prompts = [prefix + ids(3, round_, 1, i, count=32, vocab=vocab) for i in range(64)]
        seconds, _ = timed(lambda: engine.run(prompts, [16] * 64))
        return {"seconds": seconds, "requests/s": 64 / seconds}
    return engine.json(round_)


def work(options: argparse.Namespace) -> None:
    """In a process of its own: prints one JSON object."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    name, round_ = options.worker[0], int(options.worker[1])
    path = TINY if options.tiny else MODEL
    made: dict[str, Callable[[Path, int], Any]] = {"sgl-lite": Ours, "transformers": Transformers, "vllm": Vllm}
    if name == "llama.cpp":
        from benchmarks.llamacpp import LlamaCpp

        made[name] = LlamaCpp
    engine = made[name](path, options.threads)
    vocab = int(SHAPES[path]["vocab_size"])
    engine.run([ids(0, round_, count=16, vocab=vocab)], [1])
    rows: dict[str, Row] = {"start": {"seconds": time.process_time()}}
    for i, count in enumerate((1, 16)):  # every shape once, on other tokens
        engine.run([ids(9, round_, i, j, count=64, vocab=vocab) for j in range(count)], [4] * count)
    for workload in options.only.split(","):
        if workload != "W4" or (hasattr(engine, "json") and not options.tiny):
            rows[workload] = measure(engine, workload, round_, vocab)
    rows["memory"] = {"peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if "W4" in rows:  # only now: what judges answers takes memory too
        rows["W4"] = {"valid": num_valid(engine.answers), "of": len(engine.answers)} | rows["W4"]
    print(json.dumps(rows), flush=True)
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(WORKLOADS))
    parser.add_argument("--engines", default="sgl-lite,transformers")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--vllm-python", help="the interpreter that has vLLM")
    parser.add_argument("--llamacpp-python", help="the interpreter that has llama-cpp-python and gguf")
    parser.add_argument("--worker", nargs=2, metavar=("ENGINE", "ROUND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options)
    path = TINY if options.tiny else MODEL
    if not (path / "tokenizer.json").exists():
        make_model(path)
    found: dict[str, list[dict[str, Row]]] = {name: [] for name in options.engines.split(",")}
    pythons = {"vllm": options.vllm_python, "llama.cpp": options.llamacpp_python}
    for name, flag in (("vllm", "--vllm-python"), ("llama.cpp", "--llamacpp-python")):
        if name in found and not pythons[name]:
            parser.error(f"--engines {name} needs {flag}, the interpreter that has it")
    if "llama.cpp" in found:
        subprocess.run([pythons["llama.cpp"], "-m", "benchmarks.llamacpp", str(path)], check=True)
    for round_ in range(options.rounds):
        for name in found:
            command = [pythons.get(name, sys.executable), "-m", "benchmarks.engines", "--worker", name, str(round_)]
            command += ["--only", options.only, "--threads", str(options.threads)] + ["--tiny"] * options.tiny
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=_environment())
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
            print(name, done.stdout.splitlines()[-1], flush=True)
            write(options, found)


def _environment() -> dict[str, str]:
    """Python keeps what it has compiled, as on users' machines: else every process compiles its imports anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def write(options: argparse.Namespace, found: dict[str, list[dict[str, Row]]]) -> None:
    """What is known so far."""
    table: dict[str, dict[str, Row]] = {}
    for name, rounds in found.items():
        table[name] = {
            workload: {key: statistics.median(r[workload][key] for r in rounds) for key in rounds[0][workload]}
            for workload in (rounds[0] if rounds else ())
        }
        for workload, row in table[name].items():
            print(f"{name:14}{workload:8}" + "   ".join(f"{key} {value:,.2f}" for key, value in row.items()))
    name = "engines" + "_tiny" * options.tiny + "_two_threads" * (options.threads == 2)
    record(name, options.threads, unit="CPU seconds", medians=table, rounds=found)


if __name__ == "__main__":
    main()
