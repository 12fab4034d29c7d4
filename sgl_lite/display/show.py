"""A run in a terminal: the program's text dim, the model's bright, and a table of its answers."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sgl_lite.interpreter.segments import Segment
from sgl_lite.marks import shown

_COLUMNS = {
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "written": "completion_tokens",
    "forced": "forced_tokens",
}


def show(title: str, segments: Iterable[Segment], console: Console | None = None) -> None:
    """Print the segments of one state. Columns count tokens; ms is the time from sending to the last token."""
    text, table = Text(), Table("variable", *_COLUMNS, "ms", "ended by", box=None, pad_edge=False)
    for segment in segments:
        text.append(shown(segment.text), "dim" if segment.meta is None else "bold green")
        if segment.meta is not None:
            meta = segment.meta
            reason = meta["finish_reason"]
            ended = reason["type"] if reason.get("matched") is None else f"{reason['type']} {reason['matched']!r}"
            counts = [str(meta[key]) for key in _COLUMNS.values()]
            table.add_row(segment.name or "-", *counts, f"{meta['e2e_latency'] * 1000:.0f}", ended)
    (console or Console()).print(Panel(Group(text, "", table), title=title, title_align="left"))
