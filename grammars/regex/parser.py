"""Patterns to terms.

In: a pattern, flags of `re`, a dialect. Out: a term that may hold anchors and look-arounds.
"""

from __future__ import annotations

import re
from typing import Literal, TypeAlias

from grammars.errors import UnsupportedConstraintError
from grammars.regex.ecma_dialect import EcmaParser
from grammars.regex.nodes import Node
from grammars.regex.python_dialect import PythonParser

Dialect: TypeAlias = Literal["python", "ecma"]

_KNOWN_FLAGS = int(re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE)


def parse(pattern: str, flags: int, dialect: Dialect) -> Node:
    """The term of a pattern."""
    if flags & ~_KNOWN_FLAGS:
        raise UnsupportedConstraintError(f"the regex flags {flags & ~_KNOWN_FLAGS:#x} are not supported")
    if dialect == "python":
        return PythonParser(pattern, flags).parse()
    if dialect == "ecma":
        return EcmaParser(pattern, flags).parse()
    raise UnsupportedConstraintError(f"no regex dialect {dialect!r}: use 'python' or 'ecma'")
