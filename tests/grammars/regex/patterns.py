"""Random patterns in Python's syntax, and texts to try them on."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

LETTERS = "ab \n_é"
SHORT_TEXTS = ["".join(letters) for size in range(4) for letters in itertools.product(LETTERS, repeat=size)]

_CHARACTERS = st.sampled_from(["a", "b", " ", "\\n", "_", "é"])
_CLASSES = st.sampled_from([".", "\\w", "\\W", "\\s", "\\S", "\\d", "[ab]", "[^a]", "[a-z]", "[^\\w]", "[\\s_]"])
_ANCHORS = st.sampled_from(["^", "$", "\\b", "\\B", "\\A", "\\Z"])
_QUANTIFIERS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{0,3}", "{,2}", "{2,}", "*?", "+?", "??"])
_FIXED = st.lists(st.sampled_from(["a", "b", "é", ".", "\\w", "[ab]", "\\b", "^", "$"]), min_size=1, max_size=3)


def _quantified(atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(str.__add__, atoms, _QUANTIFIERS)


def _branches(atoms: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    branch = st.lists(atoms, max_size=4).map("".join)
    return st.lists(branch, min_size=1, max_size=2).map("|".join)


def _groups(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    opening = st.sampled_from(["(?:", "(", "(?i:", "(?s:", "(?m:", "(?-s:", "(?=", "(?!", "(?P<name>"])
    group = st.builds(lambda start, body: f"{start}{body})", opening, _branches(inner))
    behind = st.builds(lambda start, body: f"{start}{''.join(body)})", st.sampled_from(["(?<=", "(?<!"]), _FIXED)
    return _quantified(group) | behind


ATOMS = st.recursive(_quantified(_CHARACTERS | _CLASSES) | _ANCHORS, _groups, max_leaves=12)
PATTERNS = _branches(ATOMS)
TEXTS = st.text(alphabet=LETTERS, max_size=10)
