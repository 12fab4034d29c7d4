"""JSON values as schemas see them: numbers exact, `1` equal to `1.0`, `true` not equal to `1`.

Comes in: JSON text. Goes out: Python values (numbers as int or Fraction), their identities, their compact text.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from fractions import Fraction
from typing import Any

from grammars.errors import ConstraintSyntaxError

_MAX_EXPONENT = 5000


def _exact(text: str) -> int | Fraction:
    exponent = text.lower().partition("e")[2]
    if exponent and abs(int(exponent)) > _MAX_EXPONENT:
        raise ConstraintSyntaxError(f"the number {text} has an exponent beyond {_MAX_EXPONENT}")
    value = Fraction(text)
    return int(value) if value.denominator == 1 else value


def _refuse_constant(text: str) -> None:
    raise ConstraintSyntaxError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(parse_float=_exact, parse_constant=_refuse_constant)
"""One for all: to make one takes longer than to decode a name"""


def loads(text: str, what: str = "the schema") -> Any:
    """Parse JSON text, numbers exact. Raises ConstraintSyntaxError where it is none."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ConstraintSyntaxError(f"{what} nests too deeply") from None
    except ValueError as error:
        raise ConstraintSyntaxError(f"{what} is not JSON: {error}") from error


def is_number(value: object) -> bool:
    """Whether a loaded value is a JSON number."""
    return isinstance(value, int | Fraction) and not isinstance(value, bool)


def identity(value: Any) -> Hashable:
    """Equal for values that JSON Schema holds equal, and only for those."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return ("object", frozenset((name, identity(part)) for name, part in value.items()))
    if isinstance(value, list):
        return ("array", tuple(identity(part) for part in value))
    return value


def dumps(value: Any) -> str:
    """Compact JSON text of a loaded value."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_fraction)


def _fraction(value: object) -> float:
    if isinstance(value, Fraction):
        return float(value)
    raise TypeError(f"{value!r} is not JSON")
