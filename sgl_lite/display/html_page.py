"""The page of a run: the tree of its states, who wrote what, and what each answer cost.

In: a state's picture. Out: HTML that needs nothing else: no script, no font, no picture from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from runtime.images import Image
from sgl_lite.display.html_style import STYLE
from sgl_lite.display.picture import COUNTS, Piece, StatePicture, Token, ending, picture_of
from sgl_lite.interpreter.interpreter import Interpreter
from sgl_lite.marks import MARKS, data_url, index_of

_LEGEND = (
    ("program", "the program's text"),
    ("cached", "computed before"),
    ("template", "the chat template's"),
    ("model", "the model's"),
    ("forced", "the program's or the only token possible, in a constraint"),
)
_WIDEST_BAR = 8.0
_THUMBNAIL = 192
"""Pixels of the longer side of an image on the page."""


def page_of(interpreter: Interpreter) -> str:
    """The page of a state with nothing left to do."""
    name = interpreter.run.program
    picture = picture_of(interpreter, name)
    answers = list(picture.all_answers())
    totals = [f"{len(answers)} answers"] + [f"{sum(a[key] for a in answers)} {n}" for n, key in COUNTS.items()]
    legend = "".join(f'<li><span class="{kind}">&nbsp;abc&nbsp;</span> {escape(what)}</li>' for kind, what in _LEGEND)
    slowest = max((answer["e2e_latency"] for answer in answers), default=0.0)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}</title><style>{STYLE}</style></head><body>\n"
        f"<header><h1>{escape(name)}</h1><p>on {escape(interpreter.run.backend.model_name)}: "
        f"{', '.join(totals)} (tokens)</p></header>\n"
        f'<ul class="legend">{legend}<li>the rarer a token, the warmer; point at it to see its chances</li></ul>\n'
        f"{_state(picture, slowest)}\n</body></html>\n"
    )


def _state(picture: StatePicture, slowest: float) -> str:
    shared = f"<small>after {picture.seeded} characters of its parent</small>" if picture.seeded else ""
    parts = [f'<details class="state" open><summary>{escape(picture.title)}{shared}</summary>']
    text: list[str] = []
    for item in (*picture.items, ()):
        if isinstance(item, Piece):
            text.append(_piece(item, picture.images))
            continue
        if text:
            parts.append(f'<div class="text">{"".join(text)}</div>')
            text = []
        if item:
            parts.append(f'<div class="forks">{"".join(_state(child, slowest) for child in item)}</div>')
    if picture.answers:
        parts.append(_table(picture.answers, slowest))
    if picture.error is not None:
        parts.append(f'<p class="error">{escape(picture.error)}</p>')
    return "\n".join([*parts, "</details>"])


def _piece(piece: Piece, images: Sequence[Image]) -> str:
    kinds = f"{piece.origin} cached" if piece.cached else piece.origin
    inner = "".join(map(_token, piece.tokens)) if piece.tokens else _with_images(escape(piece.text), images)
    title = f' title="{escape(piece.name)}"' if piece.name and not piece.tokens else ""
    return f'<span class="{kinds}"{title}>{inner}</span>'


def _with_images(text: str, images: Sequence[Image]) -> str:
    return MARKS.sub(lambda found: _thumbnail(images[index_of(found[0])]), text)


def _thumbnail(image: Image) -> str:
    small = image.to_pil()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return f'<img src="{data_url(Image.of(small))}" alt="image of {image.width} x {image.height}">'


def _token(token: Token) -> str:
    lines = [f"{token.text!r}  id {token.token_id}"]
    style = ""
    if token.logprob is not None:
        lines.append(f"probability {_percent(token.logprob)}")
        style = f' style="--surprise:{1 - math.exp(token.logprob):.3f}"'
        lines += [f"  {_percent(logprob):>7}  {text!r}" for text, logprob in token.top]
    if token.allowed is not None:
        lines.append("forced by the constraint" if token.allowed == 1 else f"{token.allowed} tokens were allowed")
    kind = "token byforce" if token.allowed == 1 else "token"
    return f'<span class="{kind}" tabindex="0"{style} data-tip="{_attribute(lines)}">{escape(token.text)}</span>'


def _attribute(lines: Sequence[str]) -> str:
    return "&#10;".join(escape(line) for line in lines)


def _percent(logprob: float) -> str:
    return f"{math.exp(logprob) * 100:.1f} %"


def _table(answers: Sequence[tuple[str, Mapping[str, Any]]], slowest: float) -> str:
    head = "".join(f"<th>{column}</th>" for column in (*COUNTS, "first token", "all", ""))
    rows = "".join(_row(name, meta, slowest) for name, meta in answers)
    return (
        f'<div class="scroll"><table><tr><th>variable</th>{head}<th class="left">ended by</th></tr>{rows}</table></div>'
    )


def _row(name: str, meta: Mapping[str, Any], slowest: float) -> str:
    counts = "".join(f"<td>{meta[key]}</td>" for key in COUNTS.values())
    first, total = meta.get("time_to_first_token"), meta["e2e_latency"]
    width = _WIDEST_BAR * total / slowest if slowest else 0.0
    first_text = "" if first is None else f"{first * 1000:.0f} ms"
    return (
        f"<tr><td>{escape(name)}</td>{counts}<td>{first_text}</td>"
        f'<td>{total * 1000:.0f} ms</td><td class="left"><span class="bar" style="width:{width:.2f}rem"></span></td>'
        f'<td class="left">{escape(ending(meta))}</td></tr>'
    )
