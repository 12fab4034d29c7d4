"""Writes one state's text: one method a node.

In: nodes in the order in which they can be carried out. Out: text, messages and filled variables. Knows nothing of what
the program adds later, nor of who reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from grammars.errors import ConformError
from grammars.spec import UpTo
from runtime.api import GenerateRequest, PromptImage
from runtime.images import Image
from sgl_lite.backends.base import Message, TokenizedText, tokenizes
from sgl_lite.chat.messages import ChatLog
from sgl_lite.constraints import Constraint
from sgl_lite.errors import SpanError
from sgl_lite.interpreter.answer import Answer
from sgl_lite.interpreter.meta import read_ahead_meta
from sgl_lite.interpreter.node_queue import NodeQueue
from sgl_lite.interpreter.run import Run
from sgl_lite.interpreter.segments import ForkPoint, Origin, Record, Segment
from sgl_lite.interpreter.selection import Selection
from sgl_lite.interpreter.spans import Placed
from sgl_lite.interpreter.speculation import Speculation
from sgl_lite.interpreter.variables import Cell
from sgl_lite.marks import IMAGE_TEXT, mark, placed, shown
from sgl_lite.nodes import (
    Fork,
    Gen,
    Node,
    Picture,
    RoleBegin,
    RoleEnd,
    Select,
    SpanBegin,
    SpanEnd,
    SpanGen,
    SpanSelect,
    SpanText,
    Text,
    VarBegin,
    VarEnd,
)


class Span:
    """The open constrained text. text: all of it so far, with its opener."""

    __slots__ = ("constraint", "gens", "text")

    def __init__(self, constraint: Constraint, text: str) -> None:
        self.constraint, self.text, self.gens = constraint, text, 0


class Writer:
    """One state's text.

    text:     all so far, with a mark for each image; only whole nodes are in it. Its first `seeded` characters are the
              parent's.
    images:   those that the marks stand for.
    record:   who wrote what, in order.
    coming:   the cells of the gens and selects to come, in program order; `scopes` those of the `var_scope`s.
    queue:    where the nodes come from; told when an answer is there. failed: told of errors after a node was sent.
    """

    def __init__(self, run: Run, queue: NodeQueue, failed: Callable[[BaseException, Placed], None]) -> None:
        self.run = run
        self.text = ""
        self.images: tuple[Image, ...] = ()
        self.seeded = 0
        self.record = Record()
        self.chat = ChatLog(run.backend.chat_template)
        self.coming: deque[Cell] = deque()
        self.scopes: deque[Cell] = deque()
        self._queue, self._failed = queue, failed
        self._open_scopes: list[tuple[Cell, int]] = []
        self._answering: Cell | None = None
        self._span: Span | None = None
        least = run.num_api_spec_tokens if run.backend.capabilities.reads_ahead else None
        self._speculation = None if least is None else Speculation(least)
        self._tokens: TokenizedText | None = None

    def carry_out(self, placed: Placed) -> bool:
        """Do what the node says. Returns whether the state now waits for the model."""
        return _METHODS[type(placed.node)](self, placed.node, placed)

    def seed(self, parent: Writer) -> None:
        """Begin with the parent's text."""
        self.text, self.chat, self.seeded = parent.text, parent.chat.copy(), len(parent.text)
        self.images, self._tokens = parent.images, parent._tokens

    def visible_text(self) -> str:
        """All text, with the answer that is being written."""
        with self._queue.changes.lock:
            text = self.text + (self._answering.partial if self._answering is not None else "")
        return self.shown(text)

    def shown(self, text: str) -> str:
        """A part of the text as people see it."""
        return shown(text, getattr(self.chat.template(), "image_text", IMAGE_TEXT)) if self.images else text

    def messages(self) -> list[Message]:
        """The messages of a chat, in OpenAI's form."""
        return list(self.chat.sent(self.images))

    def abandon_answer(self) -> None:
        """The answer that is being written will not be finished."""
        self._answering = None

    def abandon_span(self) -> None:
        """The open constrain block was left by an exception."""
        self._span = None

    def conforms(self, constraint: Constraint, text: str) -> bool:
        """Whether `text` begins a text of the constraint."""
        try:
            self.run.backend.check_constraint(constraint.spec, text)
        except ConformError:
            return False
        return True

    # ------------------------------------------------------------------ plain nodes

    def _text(self, node: Text, placed: Placed) -> bool:
        self._append(node.text, "program")
        return False

    def _picture(self, node: Picture, placed: Placed) -> bool:
        self._append(mark(len(self.images)), "program")
        self.images += (node.image,)
        return False

    def _append(self, text: str, origin: Origin) -> None:
        if self._speculation is not None:
            self._speculation.wrote(text)
        self.record.add(Segment(text, origin, len(self.text)))
        self.text += text

    def _gen(self, node: Gen, placed: Placed) -> bool:
        constraint = node.constraint
        request = self._request(node, extra_stop=constraint.stops if constraint else ())
        if constraint is not None:
            request = replace(request, constraint=constraint.spec)
        ahead = self._speculation
        if ahead is not None and (constraint is not None or node.check is not None or node.reasoning is not None):
            ahead.drop()
            ahead = None
        if ahead is not None and (found := ahead.take(request.sampling)) is not None:
            text, stop = found
            self._write(text, self.coming.popleft(), text, read_ahead_meta(stop), request)
            self._queue.notify()
            return False
        self._answer(node, placed, request, ahead if ahead is not None and ahead.applies(request.sampling) else None)
        return True

    def _select(self, node: Select, placed: Placed, choices: tuple[str, ...] | None = None) -> bool:
        cell = self.coming.popleft()
        self._open_message()

        def done(choice: str, meta: dict[str, Any]) -> None:
            self._write(choice, cell, choice, meta, None)
            self._queue.resume()

        Selection(
            self.run,
            node if choices is None else replace(node, choices=choices),
            self.text,
            self.images,
            self.chat.active,
            None if self.images else self._tokenized(),
            done,
            lambda error: self._failed(error, placed),
        ).start()
        return True

    def _role_begin(self, node: RoleBegin, placed: Placed) -> bool:
        self._rewrite(self.chat.begin(self.text, node.role), len(self.text))
        return False

    def _role_end(self, node: RoleEnd, placed: Placed) -> bool:
        start = self.chat.start
        self._rewrite(self.chat.end(self.text, node.role), start)
        return False

    def _open_message(self) -> None:
        """Have the chat template write what stands before the open message's content, if one is open."""
        start = self.chat.start
        self._rewrite(self.chat.open(self.text), start)

    def _rewrite(self, text: str, start: int) -> None:
        """The chat template made `text` of this state's, whose open message begins at `start`."""
        if text != self.text:
            self.record.template_wrote(self.text, text, start)
            if self._speculation is not None and text.startswith(self.text):
                self._speculation.wrote(text[len(self.text) :])
            elif self._speculation is not None:
                self._speculation.drop()
            self.text = text

    def _var_begin(self, node: VarBegin, placed: Placed) -> bool:
        self._open_scopes.append((self.scopes.popleft(), len(self.text)))
        return False

    def _var_end(self, node: VarEnd, placed: Placed) -> bool:
        cell, start = self._open_scopes.pop()
        with self._queue.changes.lock:
            cell.fill(self.shown(self.text[start:]))
        self._queue.notify()
        return False

    def _fork(self, node: Fork, placed: Placed) -> bool:
        self.record.add(ForkPoint(node.children))
        for child in node.children:
            child.seed(self)
        return False

    # ------------------------------------------------------------------ constrained spans

    def _open_span(self) -> Span:
        if self._span is None:
            raise SpanError("the constrain block was left by an exception")
        return self._span

    def _span_begin(self, node: SpanBegin, placed: Placed) -> bool:
        self._span = Span(node.constraint, node.opener)
        return False

    def _span_text(self, node: SpanText, placed: Placed) -> bool:
        span = self._open_span()
        self.run.backend.check_constraint(span.constraint.spec, span.text + node.text)
        span.text += node.text
        self._append(node.text, "forced")
        return False

    def _span_gen(self, node: SpanGen, placed: Placed) -> bool:
        span = self._open_span()
        whole = node.ends == "complete"
        spec = span.constraint.spec
        if node.after or not whole:
            spec = UpTo(spec, node.after, open=not whole)
        request = self._request(node.gen, extra_stop=(node.after,) if node.after else ())
        request = replace(request, constraint=spec, constraint_prefix=span.text)
        before, sole, parse = span.text, whole and not span.gens, span.constraint.parse
        span.gens += 1
        self.coming[0].parse = (lambda text: parse(before + text + node.after)) if sole else _part_of_a_text
        self._answer(node.gen, placed, request)
        return True

    def _span_select(self, node: SpanSelect, placed: Placed) -> bool:
        span = self._open_span()
        choices = tuple(c for c in node.select.choices if self.conforms(span.constraint, span.text + c))
        if not choices:
            self.run.backend.check_constraint(span.constraint.spec, span.text + node.select.choices[0])
        span.gens += 1
        return self._select(node.select, placed, choices)

    def _span_end(self, node: SpanEnd, placed: Placed) -> bool:
        span, self._span = self._open_span(), None
        if node.verify:
            self.run.backend.check_constraint(span.constraint.spec, span.text, complete=True)
        return False

    # ------------------------------------------------------------------ asking the model

    def _request(self, node: Gen, extra_stop: tuple[str, ...]) -> GenerateRequest:
        self._open_message()
        stops = extra_stop + (self.chat.template().stop if self.chat.active else ())
        settings = node.settings.over(self.run.settings)
        prompt, images = self._prompt()
        return GenerateRequest(
            prompt=prompt, sampling=settings.params(stops), timeout=self.run.remaining(), images=images
        )

    def _prompt(self) -> tuple[str | tuple[int, ...], tuple[PromptImage, ...]]:
        """The text, as tokens if the backend tokenises it here: then only what is new is tokenised. With images it is
        text always: what stands for them is the model's business.
        """
        if self.images:
            return placed(self.text, self.images)
        tokens = self._tokenized()
        return (self.text if tokens is None else tokens.ids), ()

    def _tokenized(self) -> TokenizedText | None:
        backend = self.run.backend
        if tokenizes(backend):
            self._tokens = backend.tokenized(self.text, not self.chat.active, self._tokens)
        return self._tokens

    def _answer(self, node: Gen, placed: Placed, request: GenerateRequest, ahead: Speculation | None = None) -> None:
        """Ask for a gen's answer; it fills the variable and takes the state on. ahead: keeps what is past the stop."""
        cell = self._answering = self.coming.popleft()
        thinking = self.coming.popleft() if node.reasoning is not None else None

        def growing(text: str) -> None:
            if ahead is None:
                cell.partial = text
                self._queue.notify()

        def done(texts: list[str], thoughts: list[str], meta: dict[str, Any]) -> None:
            several = request.sampling.n > 1
            if ahead is not None:
                texts[0], stop = ahead.cut(texts[0], request.sampling)
                if stop is not None:
                    meta = meta | {"finish_reason": {"type": "stop", "matched": stop}}
            self._write(texts[0], cell, texts if several else texts[0], meta, request)
            if thinking is not None:
                thinking.fill(thoughts if several else thoughts[0], meta)
            self._queue.resume()

        Answer(
            self.run,
            node,
            cell.parse,
            request if ahead is None else replace(request, sampling=replace(request.sampling, stop=())),
            self.chat.conversation(self.text, self.images),
            growing=growing,
            done=done,
            failed=lambda error: self._failed(error, placed),
        ).start()

    def _write(self, text: str, cell: Cell, value: Any, meta: dict[str, Any], request: GenerateRequest | None) -> None:
        """What the model wrote is part of the text, and the variable's value."""
        with self._queue.changes.lock:
            self.record.add(
                Segment(text, "model", len(self.text), cell.name, meta, request and _without_prompt(request))
            )
            self.text += text
            if self._span is not None:
                self._span.text += text
            self._answering = None
            cell.fill(value, meta)


def _without_prompt(request: GenerateRequest) -> GenerateRequest:
    return GenerateRequest(
        prompt="",
        sampling=request.sampling,
        constraint=request.constraint,
        constraint_prefix=request.constraint_prefix,
    )


def _part_of_a_text(text: str) -> Any:
    raise SpanError(
        "this variable is only a part of a constrained text; "
        "name the whole with s.constrain(..., name='x') and read s.parsed('x')"
    )


_METHODS: Mapping[type[Node], Callable[[Writer, Any, Placed], bool]] = {
    Text: Writer._text,
    Picture: Writer._picture,
    Gen: Writer._gen,
    Select: Writer._select,
    RoleBegin: Writer._role_begin,
    RoleEnd: Writer._role_end,
    VarBegin: Writer._var_begin,
    VarEnd: Writer._var_end,
    Fork: Writer._fork,
    SpanBegin: Writer._span_begin,
    SpanText: Writer._span_text,
    SpanGen: Writer._span_gen,
    SpanSelect: Writer._span_select,
    SpanEnd: Writer._span_end,
}
"""Each returns whether the state now waits for the model."""
