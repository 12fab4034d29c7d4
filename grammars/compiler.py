"""From a spec and a vocabulary to a `CompiledGrammar`: pure, cached, safe for threads.

In: a spec, a vocabulary, limits. Out: `CompiledGrammar`, shared by all requests with that constraint; a request has a
`Matcher` of its own. What a spec means is up to its front end, looked up by the spec's type.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from grammars.compiled_grammar import CompiledGrammar
from grammars.front_ends import automaton_of
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.spec import Spec
from grammars.vocabulary import Vocabulary

_CACHED_BYTES = 128 << 20
"""Memory of all grammars that are kept for the next who asks"""
_PREPARED_SECONDS = 0.005
"""Time after a compile for the masks that come first"""


class Compiler:
    """Compiles, and keeps the grammars used last."""

    def __init__(self, cached_bytes: int = _CACHED_BYTES) -> None:
        self._cached_bytes = cached_bytes
        self._grammars: OrderedDict[tuple[Spec, Vocabulary, Limits], CompiledGrammar] = OrderedDict()
        self._lock = threading.Lock()

    def compile(self, spec: Spec, vocabulary: Vocabulary, limits: Limits = DEFAULT_LIMITS) -> CompiledGrammar:
        """The grammar of `spec` over `vocabulary`. Raises what `grammars.errors` lists."""
        key = (spec, vocabulary, limits)
        with self._lock:
            if key in self._grammars:
                self._grammars.move_to_end(key)
                return self._grammars[key]
        grammar = CompiledGrammar(spec, automaton_of(spec, limits), vocabulary, limits)
        grammar.prepare(_PREPARED_SECONDS)
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


compile = Compiler().compile
