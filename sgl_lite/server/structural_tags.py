"""`response_format: {"type": "structural_tag"}` in both of its forms. In: the body's field. Out: a constraint.

The older form lists `structures` and `triggers`; the newer one nests formats: tags, sequences, choices, schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from grammars.spec import Choice, JsonSchema, Literal, Regex, Repeat, Spec, Tag, Tagged
from grammars.spec import Sequence as InTurn
from sgl_lite.constraints import from_grammar
from sgl_lite.server.errors import invalid

Checked = Callable[[str, Any], Any]
"""(path, constraint) -> the same constraint, if it is neither too long nor too deep."""
ANY_TEXT = Regex(r"(?s).*")
MAX_NESTING = 32


def structural_tag(asked: Mapping[str, Any], path: str, check: Checked) -> Spec:
    """Errors: `ApiError` that names the field."""
    check(path, dict(asked))
    if asked.get("format") is not None:
        if asked.get("structures") is not None or asked.get("triggers") is not None:
            raise invalid(path, "format is given together with structures; give one of them")
        return _Formats(check).spec(asked["format"], f"{path}.format", MAX_NESTING)
    structures, triggers = asked.get("structures"), asked.get("triggers")
    if not structures or not triggers:
        raise invalid(path, "structures and triggers are needed, or format")
    tags = []
    for index, one in enumerate(structures):
        begin = one["begin"]
        if not any(begin.startswith(trigger) for trigger in triggers):
            raise invalid(f"{path}.structures.{index}.begin", f"{begin!r} begins with none of the triggers {triggers}")
        tags.append(Tag(begin, JsonSchema(one["schema"]), one["end"]))
    return _triggered(tags, triggers, at_least_one=False, stop_after_first=False)


def _triggered(tags: list[Tag], triggers: list[str], *, at_least_one: bool, stop_after_first: bool) -> Tagged:
    """Once a trigger is written, one of the tags that begin with it follows."""
    ours = []
    for trigger in triggers:
        rest = [
            InTurn(tag.begin[len(trigger) :], tag.content, tag.end) for tag in tags if tag.begin.startswith(trigger)
        ]
        if rest:
            ours.append(Tag(trigger, rest[0] if len(rest) == 1 else Choice(rest)))
    return Tagged(tuple(ours), at_least_one=at_least_one, stop_after_first=stop_after_first)


class _Formats:
    """Each method makes the spec of one type of format."""

    def __init__(self, check: Checked) -> None:
        self._check = check

    def spec(self, asked: Any, path: str, levels: int) -> Spec:
        if not isinstance(asked, Mapping):
            raise invalid(path, "it must be an object with a type")
        kind = asked.get("type")
        make = _MAKERS.get(kind) if isinstance(kind, str) else None
        if make is None:
            raise invalid(f"{path}.type", f"{kind!r} is not one of {', '.join(_MAKERS)}")
        if levels == 0:
            raise invalid(path, f"formats nest deeper than {MAX_NESTING} levels", "constraint_too_large")
        return make(self, asked, path, levels - 1)

    def _const(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return Literal(self._text(asked, "value", path))

    def _json_schema(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        schema = asked.get("json_schema")
        if not isinstance(schema, Mapping | bool):
            raise invalid(f"{path}.json_schema", "it must be a schema")
        return JsonSchema(schema)

    def _regex(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return Regex(self._text(asked, "pattern", path))

    def _grammar(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return from_grammar(self._text(asked, "grammar", path)).spec

    def _any_text(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return ANY_TEXT

    def _sequence(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return InTurn(*self._all(asked, "elements", path, levels))

    def _or(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        return Choice(self._all(asked, "elements", path, levels))

    def _tag(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        tag = self._one_tag(asked, path, levels)
        return InTurn(tag.begin, tag.content, tag.end)

    def _triggered_tags(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        triggers = asked.get("triggers")
        if not isinstance(triggers, list) or not triggers or not all(isinstance(t, str) and t for t in triggers):
            raise invalid(f"{path}.triggers", "it must be a list of texts")
        tags = self._tags(asked, path, levels)
        for index, tag in enumerate(tags):
            if not any(tag.begin.startswith(trigger) for trigger in triggers):
                raise invalid(f"{path}.tags.{index}.begin", f"{tag.begin!r} begins with none of the triggers")
        return _triggered(
            tags,
            triggers,
            at_least_one=asked.get("at_least_one") is True,
            stop_after_first=asked.get("stop_after_first") is True,
        )

    def _tags_with_separator(self, asked: Mapping[str, Any], path: str, levels: int) -> Spec:
        tags = [InTurn(tag.begin, tag.content, tag.end) for tag in self._tags(asked, path, levels)]
        separator = self._text(asked, "separator", path)
        least = 1 if asked.get("at_least_one") is True else 0
        return Repeat(Choice(tags), least, 1 if asked.get("stop_after_first") is True else None, separator)

    def _tags(self, asked: Mapping[str, Any], path: str, levels: int) -> list[Tag]:
        tags = asked.get("tags")
        if not isinstance(tags, list) or not tags:
            raise invalid(f"{path}.tags", "it must be a list of tags")
        return [self._one_tag(one, f"{path}.tags.{index}", levels) for index, one in enumerate(tags)]

    def _one_tag(self, asked: Any, path: str, levels: int) -> Tag:
        if not isinstance(asked, Mapping):
            raise invalid(path, "it must be an object with begin, content and end")
        content = self.spec(asked.get("content"), f"{path}.content", levels)
        return Tag(self._text(asked, "begin", path), content, self._text(asked, "end", path))

    def _all(self, asked: Mapping[str, Any], name: str, path: str, levels: int) -> list[Spec]:
        inner = asked.get(name)
        if not isinstance(inner, list) or not inner:
            raise invalid(f"{path}.{name}", "it must be a list of formats")
        return [self.spec(one, f"{path}.{name}.{index}", levels) for index, one in enumerate(inner)]

    def _text(self, asked: Mapping[str, Any], name: str, path: str) -> str:
        text = asked.get(name)
        if not isinstance(text, str):
            raise invalid(f"{path}.{name}", "it must be a text")
        return text


_MAKERS: Mapping[str, Callable[[_Formats, Mapping[str, Any], str, int], Spec]] = {
    "const_string": _Formats._const,
    "json_schema": _Formats._json_schema,
    "regex": _Formats._regex,
    "grammar": _Formats._grammar,
    "any_text": _Formats._any_text,
    "sequence": _Formats._sequence,
    "or": _Formats._or,
    "tag": _Formats._tag,
    "triggered_tags": _Formats._triggered_tags,
    "tags_with_separator": _Formats._tags_with_separator,
}
