"""`sgl-lite models`: what is here, what loads, and why not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import sgl_lite as sgl

console = Console()
KV_BYTES = 16 << 20
"""Enough to try a model."""


def models(
    names: Annotated[
        list[str] | None, typer.Argument(help="Models to load and try: folders or Hugging Face ids.")
    ] = None,
) -> None:
    """List the models on this machine; of those that are named, say whether they load, and why not.

    Example: [bold]sgl-lite models Qwen/Qwen3-0.6B[/bold]
    """
    if not names:
        table = Table("model", "size", "")
        table.add_row("embedded", "", "the default")
        for name, size in _downloaded():
            table.add_row(name, size, "")
        console.print(table)
        console.print("[dim]sgl-lite models NAME tries one[/dim]")
        return
    failed = False
    for name in names:
        try:
            with sgl.Engine(model_path=None if name == "embedded" else name, kv_cache_bytes=KV_BYTES) as engine:
                sees = "sees images" if engine.image_support is not None else "text only"
                console.print(f"[green]{escape(name)} runs[/green]: {engine.context_length} tokens of context, {sees}")
        except (sgl.RuntimeFault, sgl.GrammarError) as error:
            failed = True
            console.print(f"[red]{escape(name)} does not run[/red]: {escape(str(error))}")
    if failed:
        raise typer.Exit(1)


def _downloaded() -> list[tuple[str, str]]:
    """Models in the cache of Hugging Face, with their size on disk."""
    from huggingface_hub import CacheNotFound, scan_cache_dir  # comes with transformers; other commands go without

    try:
        repos = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted((repo.repo_id, repo.size_on_disk_str) for repo in repos if repo.repo_type == "model")
