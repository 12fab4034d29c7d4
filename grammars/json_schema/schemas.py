"""Schemas by number, and the check that walks all that can be reached from the root before anything is generated.

Comes in: a resolver. Goes out: for each subschema (in its dynamic scope) a number, the same for the same content
where that is cheap to see; and the report of what is enforced. Knows keywords only by the tables of `dialect` and
`keywords`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from grammars.errors import ConstraintSyntaxError
from grammars.json_schema.dialect import APPLICATORS
from grammars.json_schema.expressions import Enforced, Expression
from grammars.json_schema.formats import PARTIAL
from grammars.json_schema.keywords import KEYWORDS, check_shapes
from grammars.json_schema.refs import TRUE_NUMBER
from grammars.json_schema.resolver import Place, Resolver, Scope, escape
from grammars.json_schema.values import identity

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
TRIED = frozenset(("pattern", "patternProperties", "multipleOf", "uniqueItems", "not"))
_SMALL = 40
"""Schemas of at most so many keywords, entries and parts are told apart by content, not by place."""


class Schemas:
    """Numbers for subschemas, given out when they are first asked for. Number 1 is `true`."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._numbers: dict[object, int] = {}
        self._content: dict[Hashable, int] = {}
        self._places: list[tuple[Place, Scope] | Expression | None] = [None]
        self.to_try: list[tuple[Place, Scope]] = []
        """Found by `check`: subschemas with keywords whose values may turn out to be beyond us."""
        self.has_partial_formats = False
        """Found by `check`: whether a format is named whose language is but a part of it."""
        root, scope = resolver.start()
        self._places.append((Place(True, root.resource, ""), ()))
        self.root = self.number(root, scope)

    def __getitem__(self, number: int) -> tuple[Place, Scope] | Expression:
        """What a number stands for: a place and its scope, or an expression made for it."""
        entry = self._places[number]
        assert entry is not None
        return entry

    def number(self, place: Place, scope: Scope) -> int:
        """The number of a subschema. `true` is 1, `false` is -1."""
        schema = place.schema
        if isinstance(schema, bool):
            return TRUE_NUMBER if schema else -TRUE_NUMBER
        if not isinstance(schema, dict):
            raise ConstraintSyntaxError(f"{place.pointer or '/'}: a schema is an object or a boolean, not {schema!r}")
        scope = self.resolver.enter(scope, place.resource)
        key = (id(schema), scope, place.resource)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = self._new(place, scope)
        return number

    def _new(self, place: Place, scope: Scope) -> int:
        schema = place.schema
        if len(schema) == 1 and "$ref" in schema and not self.resolver.has_dynamic:
            seen = {id(schema)}
            while isinstance(place.schema, dict) and len(place.schema) == 1 and "$ref" in place.schema:
                place = self.resolver.reference(place, "$ref", scope)
                if id(place.schema) in seen:
                    break
                seen.add(id(place.schema))
            else:
                return self.number(place, scope)
        content = _Content(place, self.resolver.has_dynamic).key
        if content is not None and content in self._content:
            return self._content[content]
        self._places.append((place, scope))
        number = len(self._places) - 1
        if content is not None:
            self._content[content] = number
        return number

    def made(self, key: object, expression: Expression) -> int:
        """The number of an expression that no schema spells out; the same for the same key."""
        number = self._numbers.get(key)
        if number is None:
            self._places.append(expression)
            number = self._numbers[key] = len(self._places) - 1
        return number

    # -- the check -------------------------------------------------------------------------------

    def check(self) -> list[Enforced]:
        """Walk every subschema that the root can reach; return the report.

        Raises ConstraintSyntaxError for what is no schema, UnsupportedConstraintError for references that lead nowhere.
        """
        report: list[Enforced] = []
        seen: set[object] = set()
        stack = [self.resolver.start()]
        while stack:
            place, scope = stack.pop()
            scope = self.resolver.enter(scope, place.resource)
            schema = place.schema
            if isinstance(schema, bool) or (id(schema), scope) in seen:
                continue
            if not isinstance(schema, dict):
                raise ConstraintSyntaxError(f"{place.pointer or '/'}: a schema is an object or a boolean")
            seen.add((id(schema), scope))
            stack.extend((part, scope) for part in self._check_one(place, scope, report))
        return report

    def _check_one(self, place: Place, scope: Scope, report: list[Enforced]) -> Iterator[Place]:
        schema, draft, path = place.schema, place.resource.draft, place.pointer
        if draft <= 7 and "$ref" in schema:
            report.append(Enforced(path, "$ref", "exact"))
            report.extend(Enforced(path, keyword, "annotation") for keyword in schema if keyword != "$ref")
            yield self.resolver.reference(place, "$ref", scope)
            return
        check_shapes(schema, draft, path)
        if isinstance(schema.get("format"), str) and schema["format"] in PARTIAL:
            self.has_partial_formats = True
        if not TRIED.isdisjoint(schema):
            self.to_try.append((place, scope))
        known, holders = KEYWORDS[draft], APPLICATORS[draft]
        for keyword, value in schema.items():
            report.append(Enforced(path, keyword, "exact" if keyword in known else "annotation"))
            if keyword not in known:
                continue
            if keyword in REFERENCES:
                yield self.resolver.reference(place, keyword, scope)
            elif keyword in holders:
                yield from self._parts(place, keyword, value)

    def _parts(self, place: Place, keyword: str, value: Any) -> Iterator[Place]:
        suffix = f"/{escape(keyword)}"
        if isinstance(value, list):
            for index, part in enumerate(value):
                yield self.resolver.child(place, part, f"{suffix}/{index}")
        elif APPLICATORS[place.resource.draft][keyword] in ("map", "dependencies"):
            for name, part in value.items():
                if isinstance(part, dict):
                    yield self.resolver.child(place, part, f"{suffix}/{escape(name)}")
        else:
            yield self.resolver.child(place, value, suffix)


class _Content:
    """What a small schema says: `key` is equal for equal meanings, None for a schema that is not small."""

    def __init__(self, place: Place, has_dynamic: bool) -> None:
        self._draft = place.resource.draft
        self._has_dynamic = has_dynamic
        self._left = _SMALL
        self._refers = False
        found = self._of(place.schema)
        resource = place.resource if self._refers else None
        self.key = None if found is None else (self._draft, place.resource.validates, resource, found)

    def _of(self, schema: Any) -> Hashable | None:
        if not isinstance(schema, dict):
            return identity(schema)
        parts = []
        for keyword in sorted(schema):
            if keyword == "id" or (keyword.startswith("$") and (keyword != "$ref" or self._has_dynamic)):
                return None
            if keyword in KEYWORDS[self._draft]:
                value = self._of_value(keyword, schema[keyword])
                if value is None:
                    return None
                parts.append((keyword, value))
        return ("schema", *parts)

    def _of_value(self, keyword: str, value: Any) -> Hashable | None:
        self._left -= len(value) if isinstance(value, list | dict) else 1
        if self._left < 0:
            return None
        self._refers |= keyword == "$ref"
        shape = APPLICATORS[self._draft].get(keyword)
        if shape is None:
            return None if _holds_containers(value) else ("value", identity(value))
        if isinstance(value, list):
            parts = [self._of(part) for part in value]
            return None if None in parts else ("list", *parts)
        if shape not in ("map", "dependencies"):
            return self._of(value)
        if not isinstance(value, dict):
            return None  # no schema: `check` says so
        named = [(name, self._of(part)) for name, part in value.items()]
        return None if any(part is None for _, part in named) else ("map", *named)


def _holds_containers(value: Any) -> bool:
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    return any(isinstance(part, list | dict) for part in parts)
