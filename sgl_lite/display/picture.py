"""What there is to see of a run: its states as a tree, with their text by origin, their tokens and their answers.

In: an interpreter with nothing left to do. Out: plain data, which `show.py` and `html_page.py` draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.images import Image
from sgl_lite.backends.base import Backend, Inspector
from sgl_lite.interpreter.interpreter import Interpreter
from sgl_lite.interpreter.segments import ForkPoint, Origin, Segment
from sgl_lite.marks import MARKS

COUNTS = {
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "written": "completion_tokens",
    "forced": "forced_tokens",
}
"""What is shown of an answer's tokens, and where its meta info has it."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of an answer. logprob: None if it was not recorded. top: the likeliest, best first, as (text, logprob).

    allowed: how many tokens the constraint allowed in its place, None without one. 1: the token was forced.
    """

    text: str
    token_id: int
    logprob: float | None = None
    top: tuple[tuple[str, float], ...] = ()
    allowed: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text. cached: it was computed before the request that read it. tokens: of the model's, if known."""

    text: str
    origin: Origin
    cached: bool = False
    tokens: tuple[Token, ...] = ()
    name: str | None = None


@dataclass(frozen=True, slots=True)
class StatePicture:
    """items: pieces and, where the state forked, its children. answers: (variable, meta info) in order.

    seeded: characters of the parent that the state began with. images: those whose marks are in the texts.
    """

    title: str
    seeded: int
    items: tuple[Piece | tuple[StatePicture, ...], ...]
    answers: tuple[tuple[str, Mapping[str, Any]], ...]
    images: tuple[Image, ...] = ()
    error: str | None = None

    def all_answers(self) -> Iterator[Mapping[str, Any]]:
        """The meta info of this state's and its children's answers."""
        yield from (meta for _, meta in self.answers)
        for item in self.items:
            if isinstance(item, tuple):
                for child in item:
                    yield from child.all_answers()


def picture_of(interpreter: Interpreter, title: str) -> StatePicture:
    """The state and its forks. Waits for the forks."""
    writer, backend = interpreter.writer, interpreter.run.backend
    items: list[Piece | tuple[StatePicture, ...]] = []
    cached = 0  # characters that the next request found computed, so the record is read from its end
    for one in reversed(writer.record.items):
        if isinstance(one, ForkPoint):
            items.append(tuple(_child(child, f"{title} › {i}") for i, child in enumerate(one.children)))
        elif one.meta is None:
            items += reversed(_with_cached(one, cached))
        else:
            cached = _cached_characters(one, writer.text, backend)
            items.append(Piece(one.text, "model", False, tokens_of(one, backend), one.name))
    answers = tuple((one.name or "unnamed", one.meta) for one in writer.record if one.meta is not None)
    error = interpreter.queue.error
    failed = None if error is None else f"{type(error).__name__}: {error}"
    return StatePicture(title, writer.seeded, tuple(reversed(items)), answers, writer.images, failed)


def ending(meta: Mapping[str, Any]) -> str:
    """Why the answer ended; of a select, the choices with their probabilities."""
    if "choices" in meta:
        chances = zip(meta["choices"], meta["probabilities"], strict=True)
        return "choice among " + ", ".join(f"{choice!r} {chance * 100:.1f} %" for choice, chance in chances)
    reason = meta["finish_reason"]
    return str(reason["type"]) if reason.get("matched") is None else f"{reason['type']} {reason['matched']!r}"


def _child(child: Interpreter, title: str) -> StatePicture:
    child.queue.changes.wait(lambda: child.queue.idle)
    return picture_of(child, title)


def _with_cached(segment: Segment, cached: int) -> list[Piece]:
    """A segment of the prompt, cut at character `cached` of the text."""
    at = max(0, cached - segment.start)
    parts = (segment.text[:at], True), (segment.text[at:], False)
    return [Piece(text, segment.origin, is_cached) for text, is_cached in parts if text]


def _cached_characters(reader: Segment, text: str, backend: Backend) -> int:
    """How much of a request's prompt had been computed before. 0 where that cannot be told: by another backend, with
    images, or since the chat template has rewritten the prompt.
    """
    meta = reader.meta or {}
    if not isinstance(backend, Inspector) or reader.request is None or MARKS.search(text):
        return 0
    for special_tokens in (True, False):
        ends = backend.token_ends(text[: reader.start], special_tokens)
        if len(ends) == meta["prompt_tokens"]:
            return ends[meta["cached_tokens"] - 1] if meta["cached_tokens"] else 0
    return 0


def tokens_of(segment: Segment, backend: Backend) -> tuple[Token, ...]:
    """The tokens whose texts join to the segment's. () where that is not known: thoughts taken out, other backends."""
    meta, request = segment.meta or {}, segment.request
    ids: Sequence[int] = meta.get("output_ids") or ()
    if not ids or request is None or not isinstance(backend, Inspector):
        return ()
    scores, tops = meta.get("output_token_logprobs") or (), meta.get("output_top_logprobs") or ()
    widths = backend.mask_widths(request, ids)
    tokens: list[Token] = []
    written = ""
    for index, token_id in enumerate(ids):
        so_far = backend.decode(ids[: index + 1]).rstrip("\ufffd")  # a character may take several tokens
        tokens.append(
            Token(
                so_far[len(written) :],
                token_id,
                scores[index][0] if index < len(scores) else None,
                tuple((backend.decode([other]), logprob) for logprob, other, _ in tops[index])
                if index < len(tops)
                else (),
                widths[index] if index < len(widths) else None,
            )
        )
        written = so_far
    return _cut(tokens, segment.text) if written.startswith(segment.text) else ()


def _cut(tokens: Sequence[Token], text: str) -> tuple[Token, ...]:
    """The tokens up to the end of `text`: a stop that ended the answer is no part of it."""
    kept: list[Token] = []
    left = len(text)
    for token in tokens:
        if left <= 0:
            break
        kept.append(replace(token, text=token.text[:left]))
        left -= len(token.text)
    return tuple(kept)
