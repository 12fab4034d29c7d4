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

_CACHED = 256


class Compiler:
    """Compiles, and keeps the grammars used last."""

    def __init__(self, cached: int = _CACHED) -> None:
        self._cached = cached
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
        with self._lock:
            grammar = self._grammars.setdefault(key, grammar)
            while len(self._grammars) > self._cached:
                self._grammars.popitem(last=False)
        return grammar


compile = Compiler().compile
