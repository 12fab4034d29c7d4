"""`sgl-lite build`: compile for a model ahead of time, so that first answers are as quick as later ones."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

console = Console()


def build(
    model: Annotated[str | None, typer.Argument(help="Folder or Hugging Face id. Default: the embedded model.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face model.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda: where it will run.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16.")] = "auto",
) -> None:
    """Download a model and compile what it needs on this machine, as its first requests would.

    Kernels are kept where numba and Triton keep theirs: NUMBA_CACHE_DIR (beside the code) and TRITON_CACHE_DIR
    (~/.triton).

    Example: [bold]sgl-lite build Qwen/Qwen3-0.6B[/bold]
    """
    from runtime.build import build as run  # with torch; other commands go without
    from runtime.config import EngineConfig

    config = EngineConfig(model_path=model, revision=revision, device=device, dtype=dtype)  # type: ignore[arg-type]
    table = Table("built", "seconds")
    with console.status("building"):
        for part in run(config):
            table.add_row(part.what, f"{part.seconds:.2f}")
    console.print(table)
