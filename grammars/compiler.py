"""From a spec and a vocabulary to a `CompiledGrammar`: pure, cached, safe for threads.

In: a spec, a vocabulary, limits. Out: `CompiledGrammar`, shared by all requests with that constraint; a request has a
`Matcher` of its own. What a spec means is up to its front end, looked up by the spec's type.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial

from grammars.compiled_grammar import CompiledGrammar
from grammars.errors import CompileCancelledError, ConstraintLimitError
from grammars.front_ends import automaton_of, meaning_of
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.spec import Spec
from grammars.vocabulary import Vocabulary

_CACHED_BYTES = 64 << 20
"""Memory of all grammars that are kept for the next who asks"""
_FIRST_MASK_SECONDS = 0.25
"""What a compile may take together with making the masks that are likely to come: a batch waits for the masks of a
large constraint, while nobody need wait for its compile"""
_CANCEL_POLL_SECONDS = 0.02
_STOP_TRIES, _STOP_SECONDS = 5, 0.2


class Compiler:
    """Compiles, and keeps the grammars used last."""

    def __init__(self, cached_bytes: int = _CACHED_BYTES) -> None:
        self._cached_bytes = cached_bytes
        self._grammars: OrderedDict[tuple[Hashable, Vocabulary, Limits], CompiledGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def compile(
        self,
        spec: Spec,
        vocabulary: Vocabulary,
        limits: Limits = DEFAULT_LIMITS,
        *,
        cancel: threading.Event | None = None,
    ) -> CompiledGrammar:
        """The grammar of `spec` over `vocabulary`. Raises what `grammars.errors` lists.

        Specs that say the same share that of the first: schemas, say, that differ in titles and descriptions only.

        cancel: when it is set the compile ends with CompileCancelledError.
        """
        key = (meaning_of(spec), vocabulary, limits)
        with self._lock:
            if key in self._grammars:
                self._grammars.move_to_end(key)
                return self._grammars[key]
        task = _Compile(spec, vocabulary, limits)
        grammar = task.result(cancel)
        with self._lock:
            grammar = self._grammars.setdefault(key, grammar)
            self._grammars.move_to_end(key)
            self._forget()
        return grammar

    def _forget(self) -> None:
        """Let grammars go, those first that were not asked for longest, while all together are too large."""
        total = sum(grammar.nbytes for grammar in self._grammars.values())
        while total > self._cached_bytes and len(self._grammars) > 1:
            _, grammar = self._grammars.popitem(last=False)
            total -= grammar.nbytes


class _Compile(threading.Thread):
    """One compile in a thread of its own, so that it can be stopped wherever it is."""

    def __init__(self, spec: Spec, vocabulary: Vocabulary, limits: Limits) -> None:
        super().__init__(name="grammar compile", daemon=True)
        self._spec, self._vocabulary, self._limits = spec, vocabulary, limits
        self._grammar: CompiledGrammar | None = None
        self._error: BaseException | None = None
        self._ending = threading.Lock()
        self._ended = False

    def run(self) -> None:
        try:
            self._compile()
        except (RecursionError, MemoryError) as error:
            self._error = ConstraintLimitError(f"the constraint is nested too deeply, or too large: {error!r}")
        except BaseException as error:  # handed to the thread that waits
            self._error = error
        with self._ending:
            self._ended = True

    def _compile(self) -> None:
        began = time.thread_time()
        renew = partial(automaton_of, self._spec, self._limits)
        grammar = CompiledGrammar(self._spec, renew(), self._vocabulary, self._limits, renew)
        taken = time.thread_time() - began
        seconds = min(_FIRST_MASK_SECONDS - taken, self._limits.compile_seconds / 2)
        grammar.prepare(seconds)
        self._grammar = grammar

    def result(self, cancel: threading.Event | None) -> CompiledGrammar:
        """Wait for the grammar, within the limits."""
        until = time.monotonic() + self._limits.compile_seconds
        self.start()
        while self.is_alive():
            left = until - time.monotonic()
            if left <= 0:
                self._end_soon()
                raise ConstraintLimitError(
                    f"the constraint takes more than {self._limits.compile_seconds} s to compile"
                )
            if cancel is not None and cancel.is_set():
                self._end_soon()
                raise CompileCancelledError("the compile was cancelled")
            self.join(left if cancel is None else min(left, _CANCEL_POLL_SECONDS))
        if self._error is not None:
            raise self._error
        assert self._grammar is not None
        return self._grammar

    def _end_soon(self) -> None:
        """Raise SystemExit in the thread, at its next instruction. It holds no lock but in `with` statements.

        Again until it ends: what is raised inside of a callback of the garbage collector is lost. The loss is reported
        (`sys.unraisablehook`) in that thread too, and has to be over before the next is raised. Gives up after a
        second, as when the thread is in one long call of compiled code; it ends behind that.
        """
        for _ in range(_STOP_TRIES):
            with self._ending:  # so that no other thread can have its identity
                if self._ended:
                    return
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self.ident or 0), ctypes.py_object(SystemExit)
                )
            self.join(_STOP_SECONDS)


compile = Compiler().compile
