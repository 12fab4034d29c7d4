"""What the Triton kernels take on each target, compiled ahead of time: no GPU is needed.

    python -m benchmarks.triton_resources

Writes benchmarks/results/triton_resources.json and prints a table. Registers are of a thread, spills in bytes of a
thread, shared memory in bytes of a program. At most 255 registers can be used; what does not fit is spilled.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
import triton
from rich.console import Console
from rich.progress import track
from rich.table import Table

from runtime.kernels.triton.builds import SHARED_MEMORY, TARGETS, Resources, attention_builds, build, other_builds

RESULTS = Path(__file__).parent / "results" / "triton_resources.json"


def main() -> None:
    builds = [[*attention_builds(target), *other_builds()] for target in TARGETS]
    pairs = [(what, target) for same in zip(*builds, strict=True) for what, target in zip(same, TARGETS, strict=True)]
    found = [build(what, target) for what, target in track(pairs, "compiling", transient=True)]
    RESULTS.parent.mkdir(exist_ok=True)
    versions = {"triton": triton.__version__, "torch": torch.__version__}
    RESULTS.write_text(json.dumps({**versions, "kernels": [asdict(r) for r in found]}, indent=1) + "\n")
    Console().print(_table(found))


def _table(found: list[Resources]) -> Table:
    table = Table("kernel", *(f"sm_{target}" for target in TARGETS), title="registers / spilled / shared KiB")
    for first in range(0, len(found), len(TARGETS)):
        row = found[first : first + len(TARGETS)]
        cells = [
            f"{r.registers} / {r.spilled} / {r.shared / 1024:.0f}"
            + ("" if r.shared <= SHARED_MEMORY[r.target] else " (too much)")
            for r in row
        ]
        table.add_row(row[0].name, *cells)
    return table


if __name__ == "__main__":
    main()
