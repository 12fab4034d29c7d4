"""A run in a terminal: the tree of its states, who wrote what, and a table of each state's answers.

In: a state's picture. Out: what rich prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sgl_lite.display.picture import COUNTS, Piece, StatePicture, ending
from sgl_lite.marks import shown

_STYLES = {"program": "", "cached": "blue", "template": "dim", "model": "bold green", "forced": "magenta"}


def show(picture: StatePicture, console: Console | None = None) -> None:
    """Print the state and its forks. Columns count tokens; ms is the time from sending to the last token."""
    legend = Text(" · ").join(Text(*one) for one in _STYLES.items())
    (console or Console()).print(_panel(picture, legend))


def _panel(picture: StatePicture, subtitle: Text | None = None) -> Panel:
    parts: list[RenderableType] = []
    text = Text()
    for item in (*picture.items, ()):
        if isinstance(item, Piece):
            text.append_tokens(_styled(item))
            continue
        parts += [text] if text else []
        parts += map(_panel, item)
        text = Text()
    if picture.answers:
        parts += ["", _table(picture.answers)]
    if picture.error is not None:
        parts += ["", Text(picture.error, "bold red")]
    return Panel(Group(*parts), title=picture.title, title_align="left", subtitle=subtitle, subtitle_align="right")


def _styled(piece: Piece) -> Iterator[tuple[str, str]]:
    """The piece's text with its styles; of an answer, each token's."""
    if not piece.tokens:
        yield shown(piece.text), _STYLES["cached" if piece.cached else piece.origin]
    for token in piece.tokens:
        yield token.text, _STYLES["forced" if token.allowed == 1 else "model"]


def _table(answers: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    table = Table("variable", *COUNTS, "ms", "ended by", box=None, pad_edge=False)
    for name, meta in answers:
        counts = [str(meta[key]) for key in COUNTS.values()]
        table.add_row(name, *counts, f"{meta['e2e_latency'] * 1000:.0f}", Text(ending(meta)))
    return table
