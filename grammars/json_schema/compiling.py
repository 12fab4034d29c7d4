"""From a `JsonSchema` to its byte automaton.

Comes in: the spec. Goes out: a `JsonAutomaton`, checked and satisfiable, that has looked at no more than that takes.
"""

from __future__ import annotations

from functools import partial
from typing import TypeVar

from grammars.errors import ConstraintLimitError, UnsatisfiableConstraintError, UnsupportedConstraintError
from grammars.json_schema.algebra import Algebra
from grammars.json_schema.completion import Completion
from grammars.json_schema.dialect import draft_named
from grammars.json_schema.emptiness import Emptiness
from grammars.json_schema.expressions import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING, Enforced
from grammars.json_schema.frames import Frames
from grammars.json_schema.likely import LikelyText
from grammars.json_schema.machine import JsonMachine
from grammars.json_schema.names import NameCells
from grammars.json_schema.refs import Ref, both, literal
from grammars.json_schema.resolver import Resolver
from grammars.json_schema.schemas import Schemas
from grammars.json_schema.texts import Texts
from grammars.json_schema.translate import located
from grammars.json_schema.values import loads
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.spec import JsonSchema, Whitespace

M = TypeVar("M", bound=JsonMachine)


class SchemaAutomaton(JsonMachine):
    """The automaton of a schema, with its report."""

    _report: list[Enforced]

    def report(self) -> list[Enforced]:
        """What is done about each keyword that the root can reach, by its path."""
        return list(self._report)


def compile_json(limits: Limits = DEFAULT_LIMITS, whitespace: Whitespace = "any") -> JsonMachine:
    """The automaton of all JSON texts (RFC 8259), with names as often as they come."""
    del limits  # it is small
    resolver = Resolver(True, "true", {}, draft_named(None))
    return _machine(
        Schemas(resolver), JsonSchema(True, property_order="any", whitespace=whitespace), JsonMachine, False
    )


def compile_schema(spec: JsonSchema, limits: Limits = DEFAULT_LIMITS) -> SchemaAutomaton:
    """The automaton of the JSON texts that are valid under a schema.

    Raises ConstraintSyntaxError for what is no schema, UnsupportedConstraintError for what cannot be enforced,
    UnsatisfiableConstraintError if nothing is valid, ConstraintLimitError if finding out takes too long.
    """
    del limits  # its parts have bounds of their own; the compiler keeps the time
    try:
        return _compiled(spec)
    except RecursionError:
        raise ConstraintLimitError("the schema nests too deeply") from None


def _compiled(spec: JsonSchema) -> SchemaAutomaton:
    resources = {uri: loads(text, f"resources[{uri!r}]") for uri, text in spec.resources}
    resolver = Resolver(loads(spec.schema), spec.schema, resources, draft_named(spec.draft))
    schemas = Schemas(resolver)
    report = schemas.check()
    automaton = _machine(schemas, spec, SchemaAutomaton, True)
    automaton._report = report
    return automaton


_LAST_BYTES = ((NULL, b"l"), (BOOLEAN, b"e"), (NUMBER, b"0123456789"), (STRING, b'"'), (ARRAY, b"]"), (OBJECT, b"}"))


def _last_bytes(algebra: Algebra, emptiness: Emptiness, root: Ref, whitespace: Whitespace) -> frozenset[int]:
    """The bytes that a text may end with, or some more."""
    found = set(b" \t\n\r" if whitespace == "any" else b"")
    for bits, last in _LAST_BYTES:
        if emptiness.is_alive(both(root, algebra.of_types(bits))):
            found.update(last)
    return frozenset(found)


def _try_unique_items(schemas: Schemas, algebra: Algebra, emptiness: Emptiness) -> None:
    """Raise what is wrong with `uniqueItems` next to `contains` or under `not`, wherever they are."""
    for place, scope in schemas.to_try:
        negated = place.schema.get("not")
        if isinstance(negated, dict):
            part = schemas.resolver.child(place, negated, "/not")
            refused = literal(schemas.number(part, scope))
            if any(form.unique for form in located(partial(algebra.arrays, refused), part.pointer)):
                raise UnsupportedConstraintError("arrays in which items are equal cannot be asked for", part.pointer)
        if place.schema.get("uniqueItems") and "contains" in place.schema:
            arrays = both(literal(schemas.number(place, scope)), algebra.of_types(ARRAY))
            located(partial(emptiness.is_alive, arrays), f"{place.pointer}/uniqueItems")


def _machine(schemas: Schemas, spec: JsonSchema, kind: type[M], remembers: bool) -> M:
    """Put the parts together. `remembers`: whether names must differ."""
    algebra = Algebra(schemas, spec.formats)
    texts = Texts()
    cells = NameCells(algebra, texts)
    emptiness = Emptiness(algebra, texts, cells, spec.property_order == "schema")
    algebra.try_all()
    _try_unique_items(schemas, algebra, emptiness)
    root = literal(schemas.root)
    if spec.max_depth is not None:
        root = both(root, algebra.within_depth(spec.max_depth + 1))
    if not emptiness.is_alive(root):
        raise UnsatisfiableConstraintError("no JSON value is valid under the schema")
    frames = Frames(algebra, emptiness, cells, remembers)
    completion = Completion(emptiness, texts, cells)
    automaton = kind(algebra, frames, texts, completion, root, spec.whitespace)
    automaton.last_bytes = partial(_last_bytes, algebra, emptiness, root, spec.whitespace)
    automaton.likely_texts = partial(LikelyText(algebra, emptiness, texts).of, root)
    return automaton
