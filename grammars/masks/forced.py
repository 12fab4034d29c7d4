"""Text that must come next, and its tokens.

In: a state, and the tokens written so far. Out: the tokens of the only text that can follow, cut as the tokenizer would
cut the whole. Nothing is taken here: the matcher does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grammars.automaton import DEAD, LOCAL_MASK
from grammars.masks import kernels as kernel
from grammars.masks.transitions import Transitions
from grammars.vocabulary import Vocabulary

_LONGEST = 4096
"""Bytes of forced text found at once"""
_CONTEXTS = (8, 2, 0)
"""How many tokens before the forced text are cut anew with it; the first that come out unchanged count"""
_ANCHORS = ("", "\n")
"""Texts put before, for tokenizers that add a space to the beginning of a text"""
_REMEMBERED = 10_000


class ForcedText:
    """What must come next in each state of one automaton. Callers hold the lock of `TokenMasks`."""

    def __init__(self, transitions: Transitions, vocabulary: Vocabulary) -> None:
        self._transitions = transitions
        self._vocabulary = vocabulary
        self._texts: dict[int, bytes] = {}

    def is_final(self, state: int) -> bool:
        """Whether no byte can follow."""
        return self._transitions.only_byte(state) < 0

    def tokens(self, state: int, written: Sequence[int]) -> list[int]:
        """The tokens that must come next behind the tokens `written`.

        Held back is the end of the text that could merge with what comes after it: text from which some token of the
        vocabulary begins and goes on into text that may follow.
        """
        text = self._texts.get(state)
        if text is None:
            if len(self._texts) >= _REMEMBERED:
                self._texts.clear()
            text = self._texts[state] = self._settled(*self._only_text(state))
        return self._cut(text, written) if text else []

    def _only_text(self, state: int) -> tuple[bytes, int]:
        """The longest text that every continuation of `state` begins with, and the state after it.

        The text cannot end within it.
        """
        text = bytearray()
        while len(text) < _LONGEST and not self._transitions.is_accepting(state):
            byte = self._transitions.only_byte(state)
            if byte == kernel.SEVERAL:
                byte = self._transitions.automaton.canonical_byte(state & LOCAL_MASK)
            if byte == DEAD:
                break
            text.append(byte)
            state = self._transitions.remember(state, bytes((byte,)), self._transitions.step(state, byte))
        return bytes(text), state

    def _settled(self, text: bytes, end: int) -> bytes:
        """`text` up to where a token could begin that goes beyond its end, from the state `end`."""
        trie = self._vocabulary.trie
        keys, children = self._vocabulary.child_index
        for start in range(max(0, len(text) - trie.max_depth), len(text)):
            node = -1
            for byte in text[start:]:
                node = kernel.child_of(keys, children, node, byte)
                if node < 0:
                    break
            if node >= 0 and self._transitions.goes_on(trie, node, end):
                return text[:start]
        return text

    def _cut(self, text: bytes, written: Sequence[int]) -> list[int]:
        """Tokens of the beginning of `text`, whole characters, as the tokenizer cuts it behind `written`."""
        for tokens in self._encodings(text, written):
            if b"".join(self._vocabulary.text_tokens[token] for token in tokens) == text:
                return tokens
        return self._vocabulary.longest(text)

    def _encodings(self, text: bytes, written: Sequence[int]) -> Iterator[list[int]]:
        encode = self._vocabulary.encode
        if encode is None:
            return
        for count in _CONTEXTS:
            context = list(written[-count:]) if count else []
            if len(context) < count and count != _CONTEXTS[0]:
                continue
            before = b"".join(self._vocabulary.text_tokens[token] for token in context)
            try:
                whole = (before + text).decode()
            except UnicodeDecodeError:
                continue
            for anchor in _ANCHORS:
                fixed = [*encode(anchor), *context] if anchor else context
                tokens = list(encode(anchor + whole))
                if tokens[: len(fixed)] == fixed:
                    yield tokens[len(fixed) :]
