"""Constraints of running requests.

In: specs, drawn tokens. Out: token masks, forced tokens, and whether a text is complete.

A constraint is compiled and its matcher made in the thread that submits, so that every error is raised at the line
that caused it; from then on the loop owns the matcher. Where only one text can follow, its tokens are *forced*: they
are taken without asking the model, all at once (`jump_forward`) or one in each step by a mask of one token. The
tokens are the same either way, so the text is too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

import grammars
from grammars.spec import JsonSchema, Spec
from runtime.errors import RuntimeFault

MaskRow = NDArray[np.int32]
ALL_ALLOWED = np.int32(-1)
_EXAMPLE = JsonSchema({"type": "boolean"})


class OutputConstraint:
    """What one completion must satisfy, and how far it is. ends: tokens that may end it besides the vocabulary's."""

    def __init__(
        self, grammar: grammars.CompiledGrammar, matcher: grammars.Matcher, prefix: str, ends: Sequence[int]
    ) -> None:
        self._grammar = grammar
        self._matcher = matcher
        self._prefix = prefix
        self._ends = tuple(ends)
        self._forced: deque[int] = deque(matcher.forced_tokens())

    def fork(self) -> OutputConstraint:
        copied = OutputConstraint(self._grammar, self._matcher.fork(), self._prefix, self._ends)
        copied._forced = self._forced.copy()
        return copied

    @property
    def next_forced(self) -> int | None:
        """The token that must come next; None if the model may choose."""
        return self._forced[0] if self._forced else None

    def fill_mask(self, row: MaskRow) -> None:
        """Write all of `row`, int32 [ceil(V / 32)]: bit 1 = allowed."""
        if self._forced:
            row[:] = 0
            _allow(row, self._forced[0])
            return
        self._matcher.fill_mask(row)
        if self._ends and self._matcher.is_accepting():
            for token_id in self._ends:
                _allow(row, token_id)

    def advance(self, token_id: int) -> None:
        """Take the next token of the text (not one that ends it)."""
        if not self._matcher.advance(token_id):
            raise RuntimeFault(f"token {token_id} was drawn, but its constraint does not allow it here")
        if self._forced:
            self._forced.popleft()
        if not self._forced:
            self._forced.extend(self._matcher.forced_tokens())

    def is_accepting(self) -> bool:
        """Whether the text may end here."""
        return self._matcher.is_accepting()

    def is_complete(self) -> bool:
        """Whether the text must end here."""
        return self._matcher.is_complete()

    def accepts(self, text: str) -> bool:
        """Whether the completion could have been `text`, a beginning of what it is."""
        return self._grammar.matcher(prefix=self._prefix + text).is_accepting()


class GrammarRunner:
    """Compiles specs for one vocabulary, which is made when it is first needed, and fills masks for a step."""

    def __init__(self, make_vocabulary: Callable[[], grammars.Vocabulary], mask_width: int) -> None:
        self._make_vocabulary = make_vocabulary
        self._lock = threading.Lock()
        self._vocabulary: grammars.Vocabulary | None = None
        self.mask_width = mask_width

    def prepare(self) -> None:
        """Have a thread import the compiler and lay out the vocabulary, so that the first constraint need not."""
        threading.Thread(target=self._prepare, name="sgl-lite-vocabulary", daemon=True).start()

    def _prepare(self) -> None:
        with suppress(Exception):  # nothing is kept of what failed: it fails again where a constraint is submitted
            self.open(_EXAMPLE, 8, "", ()).fill_mask(np.empty(self.mask_width, dtype=np.int32))

    @property
    def vocabulary(self) -> grammars.Vocabulary:
        """VocabularyError if the tokenizer's tokens are no bytes."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = self._make_vocabulary()
            return self._vocabulary

    def compile(self, spec: Spec) -> grammars.CompiledGrammar:
        return grammars.compile(spec, self.vocabulary)

    def check(self, spec: Spec, text: str) -> None:
        """Raises what is wrong with the spec, or ConformError if `text` begins no text of it."""
        self.compile(spec).matcher(prefix=text)

    def open(self, spec: Spec, budget: int, prefix: str, ends: Sequence[int]) -> OutputConstraint:
        """The constraint at its start. Raises what `grammars.errors` lists: BudgetError if `budget` is too small."""
        grammar = self.compile(spec)
        return OutputConstraint(grammar, grammar.matcher(budget=budget, prefix=prefix), prefix, ends)

    def fill_masks(
        self, constraints: Sequence[OutputConstraint | None]
    ) -> tuple[NDArray[np.int32] | None, dict[int, grammars.GrammarError]]:
        """int32 [len(constraints), mask_width], or None if nothing is restricted; and by row what could not be
        filled.
        """
        failures: dict[int, grammars.GrammarError] = {}
        if not any(constraints):
            return None, failures
        masks = np.empty((len(constraints), self.mask_width), dtype=np.int32)
        for index, constraint in enumerate(constraints):
            if constraint is None:
                masks[index] = ALL_ALLOWED
                continue
            try:
                constraint.fill_mask(masks[index])
            except grammars.GrammarError as error:
                masks[index] = ALL_ALLOWED
                failures[index] = error
        return masks, failures


def _allow(row: MaskRow, token_id: int) -> None:
    row[token_id >> 5] |= _bit(token_id)


def _bit(token_id: int) -> np.int32:
    """The bit of a token in its word of a mask."""
    return np.int32(-(1 << 31) if token_id & 31 == 31 else 1 << (token_id & 31))
