"""Documents, their identifiers, and where a `$ref` leads. Nothing is ever fetched.

Comes in: the schema and the resources that the caller gave. Goes out: `Place`s. Knows no meaning of any keyword but
of those that name and point: `$id`, `$anchor`, `$ref`, `$dynamicRef`, `$recursiveRef` and their kin.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urljoin

from grammars.errors import ConstraintSyntaxError, UnsupportedConstraintError
from grammars.json_schema.dialect import SUBSCHEMAS, Draft, draft_of_uri, identifier_keyword
from grammars.json_schema.standard import standard_schema

VALIDATION_VOCABULARY = {
    2019: "https://json-schema.org/draft/2019-09/vocab/validation",
    2020: "https://json-schema.org/draft/2020-12/vocab/validation",
}


@dataclass(eq=False)
class Resource:
    """A schema with an identifier of its own, or a document.

    root: the schema; pointer: where it lies in its document, for messages.
    validates: whether its meta-schema's vocabularies hold the validation keywords.
    """

    uri: str
    root: Any
    draft: Draft
    pointer: str
    document: Resource | None = None
    validates: bool = True
    anchors: dict[str, tuple[Any, str]] = field(default_factory=dict)
    dynamic: dict[str, tuple[Any, str]] = field(default_factory=dict)
    recursive: bool = False


class Place(NamedTuple):
    """A subschema where it stands."""

    schema: Any
    resource: Resource
    pointer: str


Scope = tuple[Resource, ...]
"""The resources entered on the way, outermost first, each once, and only those with dynamic anchors."""


def escape(part: object) -> str:
    """A part of a JSON pointer."""
    return str(part).replace("~", "~0").replace("/", "~1")


def subschemas(schema: Mapping[str, Any], draft: Draft) -> Iterator[tuple[str, Any]]:
    """(pointer suffix, subschema) of all that stands in a schema position."""
    table = SUBSCHEMAS[draft]
    for keyword, value in schema.items():
        shape = table.get(keyword)
        if shape is None:
            continue
        if isinstance(value, dict) and shape in ("map", "dependencies"):
            for name, part in value.items():
                if isinstance(part, dict | bool):
                    yield f"/{escape(keyword)}/{escape(name)}", part
        elif isinstance(value, list) and shape in ("list", "one or list"):
            for index, part in enumerate(value):
                yield f"/{escape(keyword)}/{index}", part
        elif shape in ("one", "one or list"):
            yield f"/{escape(keyword)}", value


class Resolver:
    """All documents of one compile, loaded when they are first referred to."""

    def __init__(self, schema: Any, text: str, resources: Mapping[str, Any], draft: Draft) -> None:
        self._given = {uri.rstrip("#"): value for uri, value in resources.items()}
        self._default = draft
        self._resources: dict[str, Resource] = {}
        self._at: dict[int, Resource] = {}
        self.has_dynamic = False
        self._resolved: dict[tuple[Resource, str], tuple[Place, str]] = {}
        self.root = self._load("", schema, _has_identifiers(text))

    # -- loading ---------------------------------------------------------------------------------

    def _load(self, uri: str, schema: Any, scan: bool) -> Resource:
        document = Resource(uri, schema, self._default, f"{uri}#" if uri else "")
        self._dialect(document, schema)
        identifier = schema.get(identifier_keyword(document.draft)) if isinstance(schema, dict) else None
        if isinstance(identifier, str) and not identifier.startswith("#"):
            document.uri = urldefrag(_join(uri, identifier))[0]
            self._resources.setdefault(document.uri, document)
        self._resources[uri] = document
        if isinstance(schema, dict):
            self._at[id(schema)] = document
        if scan:
            self._scan(schema, document, document.pointer)
        return document

    def _dialect(self, resource: Resource, schema: Any) -> None:
        """Set draft and vocabularies by the `$schema` of a resource."""
        named = schema.get("$schema") if isinstance(schema, dict) else None
        if not isinstance(named, str):
            return
        seen = set()
        while isinstance(named, str) and named not in seen:
            seen.add(named)
            draft = draft_of_uri(named)
            if draft is not None:
                resource.draft = draft
                return
            meta = self._given.get(named.rstrip("#"))
            if not isinstance(meta, dict):
                return
            vocabulary = meta.get("$vocabulary")
            if isinstance(vocabulary, dict) and not any(uri in vocabulary for uri in VALIDATION_VOCABULARY.values()):
                resource.validates = False
            named = meta.get("$schema")

    def _scan(self, root: Any, document: Resource, base: str) -> None:
        """Find the identifiers and anchors of a document."""
        stack: list[tuple[Any, Resource, str]] = [(root, document, base)]
        while stack:
            schema, resource, pointer = stack.pop()
            if not isinstance(schema, dict):
                continue
            masked = resource.draft <= 7 and "$ref" in schema
            if schema is not root and not masked:
                resource = self._identify(schema, resource, pointer, document)
            self._anchors(schema, resource, pointer, masked)
            for suffix, part in subschemas(schema, resource.draft):
                stack.append((part, resource, pointer + suffix))

    def _identify(self, schema: dict[str, Any], parent: Resource, pointer: str, document: Resource) -> Resource:
        """The resource that a subschema begins, or its parent."""
        identifier = schema.get(identifier_keyword(parent.draft))
        if not isinstance(identifier, str) or identifier.startswith("#"):
            return parent
        uri = urldefrag(_join(parent.uri, identifier))[0]
        resource = Resource(uri, schema, parent.draft, pointer, document, parent.validates)
        self._dialect(resource, schema)
        self._resources.setdefault(uri, resource)
        self._at[id(schema)] = resource
        return resource

    def _anchors(self, schema: dict[str, Any], resource: Resource, pointer: str, masked: bool) -> None:
        draft = resource.draft
        if draft <= 7:
            identifier = schema.get(identifier_keyword(draft))
            if isinstance(identifier, str) and not masked and "#" in identifier:
                fragment = urldefrag(identifier)[1]
                if fragment:
                    resource.anchors.setdefault(fragment, (schema, pointer))
            return
        anchor = schema.get("$anchor")
        if isinstance(anchor, str):
            resource.anchors.setdefault(anchor, (schema, pointer))
        dynamic = schema.get("$dynamicAnchor")
        if isinstance(dynamic, str) and draft >= 2020:
            resource.anchors.setdefault(dynamic, (schema, pointer))
            resource.dynamic.setdefault(dynamic, (schema, pointer))
            self.has_dynamic = True
        if schema.get("$recursiveAnchor") is True and schema is resource.root:
            resource.recursive = True
            self.has_dynamic = True

    # -- following -------------------------------------------------------------------------------

    def start(self) -> tuple[Place, Scope]:
        """The whole schema."""
        return Place(self.root.root, self.root, ""), self.enter((), self.root)

    def child(self, place: Place, schema: Any, suffix: str) -> Place:
        """A subschema of a place."""
        resource = self._at.get(id(schema), place.resource) if isinstance(schema, dict) else place.resource
        return Place(schema, resource, place.pointer + suffix)

    def enter(self, scope: Scope, resource: Resource) -> Scope:
        """The dynamic scope inside of a resource."""
        if not self.has_dynamic or resource in scope or not (resource.dynamic or resource.recursive):
            return scope
        return (*scope, resource)

    def reference(self, place: Place, keyword: str, scope: Scope) -> Place:
        """Where `$ref`, `$dynamicRef` or `$recursiveRef` of a place leads."""
        value = place.schema[keyword]
        if not isinstance(value, str):
            raise ConstraintSyntaxError(f"{place.pointer}/{keyword}: a reference is a string, not {value!r}")
        known = self._resolved.get((place.resource, value))
        if known is None:
            known = self._resolved[place.resource, value] = self._resolve(place, value, keyword)
        target, fragment = known
        if keyword == "$dynamicRef" and target.resource.dynamic.get(fragment, (None, ""))[0] is target.schema:
            for resource in scope:
                if fragment in resource.dynamic:
                    schema, pointer = resource.dynamic[fragment]
                    return Place(schema, resource, pointer)
        if keyword == "$recursiveRef" and target.resource.recursive:
            for resource in scope:
                if resource.recursive:
                    return Place(resource.root, resource, resource.pointer)
        return target

    def _resolve(self, place: Place, value: str, keyword: str) -> tuple[Place, str]:
        path = f"{place.pointer}/{keyword}"
        uri, fragment = urldefrag(_join(place.resource.uri, value))
        fragment = unquote(fragment)
        resource = place.resource if uri == place.resource.uri else self._resource(uri)
        if resource is None:
            raise UnsupportedConstraintError(
                f"{value!r} refers to {uri!r}, which is not here and never fetched; give it in `resources`", path
            )
        if fragment in resource.anchors:
            schema, pointer = resource.anchors[fragment]
            return Place(schema, self._at.get(id(schema), resource), pointer), fragment
        found = self._pointed(resource, fragment)
        if found is None and resource.document is not None:
            found = self._pointed(resource.document, fragment)
        if found is None:
            raise UnsupportedConstraintError(f"{value!r} refers to nothing", path)
        return found, fragment

    def _pointed(self, resource: Resource, fragment: str) -> Place | None:
        """The schema at a JSON pointer of a resource."""
        value, owner = resource.root, resource
        if fragment and not fragment.startswith("/"):
            return None
        for raw in fragment.split("/")[1:]:
            part = raw.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict) and part in value:
                value = value[part]
            elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
                value = value[int(part)]
            else:
                return None
            if isinstance(value, dict):
                owner = self._at.get(id(value), owner)
        return Place(value, owner, resource.pointer + fragment)

    def _resource(self, uri: str) -> Resource | None:
        """The resource of a URI, loaded now if it was not yet."""
        if uri in self._resources:
            return self._resources[uri]
        if uri in self._given:
            return self._load(uri, self._given[uri], True)
        for given, schema in list(self._given.items()):  # a resource may name itself by its identifier
            if given not in self._resources and isinstance(schema, dict) and schema.get("$id") == uri:
                return self._load(given, schema, True)
        standard = standard_schema(uri)
        return None if standard is None else self._load(uri, standard, True)


def _has_identifiers(text: str) -> bool:
    """Whether a document can hold identifiers at all: most do not, and then nobody need look."""
    return any(f'"{name}"' in text for name in ("$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor"))


def _join(base: str, reference: str) -> str:
    if reference.startswith("#"):
        return base + reference
    if not reference:
        return base
    return urljoin(base, reference)
