"""A constraint compiled for a vocabulary, shared by all requests that ask for it.

In: an automaton. Out: matchers, one a request, and what holds before the first token: the least budget, the report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grammars.automaton import DEAD, ByteAutomaton
from grammars.compose.up_to import UpToAutomaton
from grammars.errors import BudgetError, ConformError, GrammarError, UnsatisfiableConstraintError
from grammars.limits import Limits
from grammars.masks import kernels as kernel
from grammars.masks.token_mask import TokenMasks
from grammars.matcher import Matcher
from grammars.spec import Spec
from grammars.vocabulary import Vocabulary


class CompiledGrammar:
    """Immutable to its users. Inside it learns states and masks as they are reached; safe for threads."""

    def __init__(
        self,
        spec: Spec,
        automaton: ByteAutomaton,
        vocabulary: Vocabulary,
        limits: Limits,
        renew: Callable[[], ByteAutomaton] | None = None,
    ) -> None:
        """renew: makes the automaton anew, for when what has been learnt about this one takes half the memory."""
        self.spec = spec
        self._renew = renew
        self.vocabulary = vocabulary
        self.limits = limits
        self._automaton = automaton
        self._masks = TokenMasks(automaton, vocabulary, limits)
        if self._needed(automaton.start) == kernel.IMPOSSIBLE:
            raise UnsatisfiableConstraintError(
                "no tokens of this vocabulary write a text that satisfies the constraint: it lacks some bytes"
            )

    def __repr__(self) -> str:
        return f"CompiledGrammar({type(self.spec).__name__}, {self.vocabulary!r})"

    @property
    def nbytes(self) -> int:
        """Memory that tables and masks take at present, roughly."""
        return self._masks.nbytes

    def prepare(self, seconds: float) -> None:
        """Make the masks of states that are likely to come, for so long."""
        until = time.thread_time() + seconds
        texts = getattr(self._automaton, "likely_texts", None)
        with suppress(GrammarError):  # a limit that is met on the way is none of texts that go elsewhere
            if texts is None:
                self._masks.explore(self._automaton.start, until)
                return
            for text in texts(until):
                self._masks.follow(self._automaton.start, self.vocabulary.cut(text), until)
                if time.thread_time() > until:
                    break

    def matcher(self, budget: int | None = None, prefix: str | bytes = b"") -> Matcher:
        """A cursor behind `prefix`, text that is written already and takes nothing of the budget.

        budget: tokens that may be written, end tokens not counted; None: no bound.
        Raises ConformError if no text of the constraint begins with the prefix, BudgetError if no completion is known
        that fits.
        """
        if self._renew is not None and self.nbytes > self.limits.memory_bytes // 2:
            # Matchers that are under way keep the old one.
            self._automaton = self._renew()
            self._masks = TokenMasks(self._automaton, self.vocabulary, self.limits)
        state = self._state_after(prefix.encode() if isinstance(prefix, str) else prefix)
        if budget is not None and not self._masks.fits(state, budget):
            raise BudgetError(budget, self._needed(state))
        return Matcher(self._masks, state, budget)

    def min_tokens(self, prefix: str | bytes = b"") -> int:
        """Tokens of the shortest completion of `prefix` that is known: the least budget that `matcher` takes."""
        return self._needed(self._state_after(prefix.encode() if isinstance(prefix, str) else prefix))

    def report(self) -> Any:
        """What is enforced, as the constraint's front end reports it; None where it has nothing to say."""
        report = getattr(self._automaton, "report", None)
        return report() if report is not None else None

    def fill_masks(self, matchers: Iterable[Matcher], rows: NDArray[np.int32]) -> None:
        """`rows[k]` becomes the mask of the k-th matcher. rows: int32 [n, ceil(V / 32)]."""
        for matcher, row in zip(matchers, rows, strict=True):
            matcher.fill_mask(row)

    def _needed(self, state: int) -> int:
        with self._masks.lock:
            return self._masks.completions.tokens(state)

    def _state_after(self, prefix: bytes) -> int:
        transitions = self._masks.transitions
        with self._masks.lock:
            state = self._automaton.start
            for offset, byte in enumerate(prefix):
                following = transitions.step(state, byte)
                if following == DEAD:
                    raise ConformError(prefix, offset, self._expected(state))
                state = transitions.remember(state, bytes((byte,)), following)
            if isinstance(self._automaton, UpToAutomaton) and prefix:
                state = self._automaton.begin_at(state)
                if state == DEAD:
                    raise ConformError(prefix, len(prefix), f"text that can go on with {self._automaton.after!r}")
            if self._needed(state) == kernel.IMPOSSIBLE:
                raise ConformError(prefix, len(prefix), "text that this vocabulary has tokens for")
            return state

    def _expected(self, state: int) -> str:
        """What may follow `state`, in words."""
        live = np.flatnonzero(self._masks.transitions.row(state) != DEAD).tolist()
        shown = " ".join(repr(chr(byte)) if byte < 0x80 else f"0x{byte:02X}" for byte in live[:16])
        named = f"one of {shown}{' ...' if len(live) > 16 else ''}" if live else "nothing more"
        return f"the end, or {named}" if live and self._masks.is_accepting(state) else named
