"""Kernels compiled ahead of time, for chips that need not be there: the same code as at run time, and what it takes.

In comes a target's compute capability; out go registers, spills and shared memory of each kernel in its usual shapes.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from runtime.kernels.attention_items import NARROW_TILE, AttentionShape
from runtime.kernels.contract import AttentionLayer
from runtime.kernels.triton.attend import attend_kernel, constants
from runtime.kernels.triton.draw_tokens import draw_kernel
from runtime.kernels.triton.edit_logits import edit_kernel
from runtime.kernels.triton.merge_parts import merge_kernel
from runtime.kernels.triton.rms_norm import rms_norm_kernel
from runtime.kernels.triton.rotate_and_write import rotate_and_write_kernel
from runtime.kernels.triton.silu_multiply import silu_multiply_kernel
from runtime.kernels.triton.write_kv import write_kernel

TARGETS = (80, 90, 100)
"""Compute capabilities times ten: A100, H100 and H200, B200."""
SHARED_MEMORY = {80: 163 << 10, 90: 227 << 10, 100: 227 << 10}
"""Bytes that a program may have."""
_NAMES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Build:
    """A kernel with its compile-time constants. types: of pointers and floats by parameter; the rest are integers."""

    name: str
    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any]
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True)
class Resources:
    """What a thread and a program of a compiled kernel take. spilled: bytes stored and loaded again, of a thread."""

    name: str
    target: int
    registers: int
    spilled: int
    shared: int
    warps: int = field(default=4)


def attention_builds(target: int) -> Iterator[Build]:
    """Decode and extend in the shapes of common models. The first is Llama 2 7B's decode."""
    for name, dtype, group, key_dim, value_dim, more in (
        ("32 heads of 128", torch.bfloat16, 1, 128, 128, {}),
        ("group of 4, 128", torch.bfloat16, 4, 128, 128, {}),
        ("group of 8, 64, window", torch.bfloat16, 8, 64, 64, {"limited": True}),
        ("group of 2, 256, capped", torch.bfloat16, 2, 256, 256, {"capped": True}),
        ("heads of 192 and 128", torch.bfloat16, 1, 192, 128, {}),
        ("group of 16, 576 and 512", torch.bfloat16, 16, 576, 512, {}),
        ("group of 4, 128, FP8", torch.bfloat16, 4, 128, 128, {"float8": True}),
        ("heads of 128, fp16", torch.float16, 1, 128, 128, {}),
        ("heads of 128, fp32", torch.float32, 1, 128, 128, {}),
    ):
        layer = AttentionLayer(0, "", group, 1, key_dim, value_dim, 1.0)
        wide = AttentionShape.of(layer, dtype.itemsize).wide_tile
        for kind, tile, direct in (
            ("decode", NARROW_TILE, True),
            ("decode, split", NARROW_TILE, False),
            ("extend", wide, True),
        ):
            chosen = constants(dtype, group, key_dim, value_dim, tile, 16, target, direct=direct, **more)
            warps, stages = chosen.pop("num_warps"), chosen.pop("num_stages")
            number, pool = "*" + _NAMES[dtype], "*u8" if more.get("float8") else "*" + _NAMES[dtype]
            types = {"query": number, "keys": pool, "values": pool, "sinks": number, "scaling": "fp32"}
            types |= {"out": number if direct else "*fp32", "out_lse": "*fp32", "softcap": "fp32"}
            types |= dict.fromkeys(("items", "rows", "first", "last", "pages"), "*i32")
            yield Build(f"{kind}: {name}", attend_kernel, types, chosen, warps, stages)


def other_builds() -> Iterator[Build]:
    """All other kernels, in the shapes of Llama 2 7B."""
    bf16 = "*bf16"
    merge = dict.fromkeys(("parts", "lse"), "*fp32") | dict.fromkeys(("row_parts", "part_starts"), "*i32")
    sizes: dict[str, Any] = {"DIM": 128, "BLOCK": 128, "HAS_SINKS": False}
    yield Build("merge of parts", merge_kernel, {"out": bf16, "sinks": bf16, **merge}, sizes, 1)
    write = {"source": bf16, "slots": "*i32"}
    sizes = {"HEADS": 32, "DIM": 128, "SOME_HEADS": 32, "BLOCK": 128}
    yield Build("write to the pool", write_kernel, {"pool": bf16, **write}, {**sizes, "FLOAT8": False})
    yield Build("write to the pool, FP8", write_kernel, {"pool": "*u8", **write}, {**sizes, "FLOAT8": True})
    rotary = dict.fromkeys(("qkv", "cos", "sin", "query"), bf16) | {"slots": "*i32"}
    sizes = {"HEADS": 32, "KV_HEADS": 32, "HALF": 64, "SOME_HEADS": 32, "BLOCK": 64}
    for name, pool, float8 in (("", bf16, False), (", FP8", "*u8", True)):
        types = {**rotary, "keys": pool, "values": pool}
        yield Build(f"rotary and write{name}", rotate_and_write_kernel, types, {**sizes, "FLOAT8": float8})
    types = {"x": bf16, "weight": bf16, "out": bf16, "epsilon": "fp32", "offset": "fp32"}
    yield Build("norm", rms_norm_kernel, types, {"WIDTH": 4096, "BLOCK": 4096}, 8)
    yield Build("gate", silu_multiply_kernel, {"gate_up": bf16, "out": bf16}, {"WIDTH": 11008, "BLOCK": 1024})
    types = {"logits": "*fp32", "at": "*i64", "factor": "*fp32", "amount": "*fp32", "replace": "*fp32"}
    yield Build("edit of logits", edit_kernel, types, {"BLOCK": 256})
    types = dict.fromkeys(("logits", "temperature", "top_p", "min_p"), "*fp32")
    types |= {"masks": "*i32", "mask_rows": "*i32", "top_k": "*i32", "uniform": "*fp64", "out": "*i64"}
    for name, masked, drawn in (
        ("greedy", False, False),
        ("greedy, masked", True, False),
        ("random", False, True),
        ("random, masked", True, True),
    ):
        sizes = {"VOCAB": 32000, "BLOCK": 4096, "MASKED": masked, "RANDOM": drawn}
        yield Build(f"draw: {name}", draw_kernel, types, sizes, 8)


def build(what: Build, target: int) -> Resources:
    """Compiles; raises what Triton raises."""
    signature, attributes = {}, {}
    for i, parameter in enumerate(what.kernel.params):
        name = parameter.name
        signature[name] = "constexpr" if name in what.constants else what.types.get(name, "i32")
        # Pointers and strides are multiples of 16 at run time, and Triton compiles for that.
        if name not in what.constants and (
            name.endswith(("_row", "_head", "_slot")) or signature[name].startswith("*")
        ):
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(what.kernel, signature, dict(what.constants), attributes)
    options = {"num_warps": what.warps, "num_stages": what.stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", target, 32), options=options)
    report = _assembler_report(compiled.asm["ptx"], target)
    registers = re.search(r"Used (\d+) registers", report)
    if registers is None:
        raise RuntimeError(f"{what.name}: the assembler did not say what it used:\n{report}")
    spilled = sum(int(number) for number in re.findall(r"(\d+) bytes spill", report))
    return Resources(what.name, target, int(registers[1]), spilled, int(compiled.metadata.shared), what.warps)


def _assembler_report(ptx: str, target: int) -> str:
    chip = re.search(r"\.target (\w+)", ptx)
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        assembler = str(tools / ("ptxas-blackwell" if target >= 100 else "ptxas"))
        command = [assembler, "-v", "--gpu-name", chip[1] if chip else f"sm_{target}", file.name, "-o", os.devnull]
        return subprocess.run(command, capture_output=True, text=True, check=True).stderr
