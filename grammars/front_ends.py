"""From a spec to its automaton: one table, by the type of the spec.

In: `grammars.spec`. Out: `ByteAutomaton`. Compositions whose parts are all regular become one regular language; others
are composed of their parts' automata (`grammars.compose.composed`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from grammars import lark, regex
from grammars.automaton import ByteAutomaton
from grammars.compose.composed import ComposedAutomaton
from grammars.compose.places import ChoicePlaces, RepeatPlaces, SequencePlaces, TaggedPlaces
from grammars.compose.texts import TextsAutomaton
from grammars.compose.up_to import UpToAutomaton
from grammars.errors import ConstraintSyntaxError, UnsatisfiableConstraintError, UnsupportedConstraintError
from grammars.formats import FORMATS
from grammars.json_schema.compiling import compile_schema
from grammars.json_schema.meaning import digest_of
from grammars.limits import DEFAULT_LIMITS, Limits
from grammars.regex import Language
from grammars.spec import Choice, Ebnf, Format, JsonSchema, Lark, Literal, Regex, Repeat, Sequence, Spec, Tagged, UpTo

FrontEnd = Callable[[Any, Limits], ByteAutomaton]

_MANY_TEXTS = 64
"""A choice of more texts than this is no part of a regular language: it has an automaton that is made for many"""


def automaton_of(spec: Spec | str, limits: Limits = DEFAULT_LIMITS) -> ByteAutomaton:
    """The automaton of a spec, by the front end of its type. A str is a literal."""
    front_end = _front_end(spec)
    if isinstance(spec, str):
        spec = Literal(spec)
    if isinstance(spec, (Sequence, Repeat)) or (isinstance(spec, Choice) and not _is_plain(spec)):
        language = _language_of(spec)
        if language is not None:
            return regex.automaton(language.within(limits))
    return front_end(spec, limits)


def meaning_of(spec: Spec | str) -> Hashable:
    """A name of what a spec says, equal only for specs that allow the same; the spec itself where no other is known."""
    _front_end(spec)
    return _schema_meaning(spec) if isinstance(spec, JsonSchema) else spec


@lru_cache(maxsize=64)
def _schema_meaning(spec: JsonSchema) -> Hashable:
    digest = digest_of(spec.schema)
    return spec if digest is None else (*spec.options, digest)


def _front_end(spec: object) -> FrontEnd:
    found = FRONT_ENDS.get(Literal if isinstance(spec, str) else type(spec))
    if found is None:
        raise UnsupportedConstraintError(f"{type(spec).__name__} is no constraint; use one of grammars.spec")
    return found


def _language_of(spec: Spec | str) -> Language | None:
    """The spec as one regular language, if it is one."""
    match spec:
        case str():
            return Language.literal(spec)
        case Literal(text):
            return Language.literal(text)
        case Regex(pattern, flags, dialect):
            return Language.parse(pattern, flags, dialect)
        case Choice(options) if len(options) <= _MANY_TEXTS:
            languages = [_language_of(option) for option in options]
            return None if None in languages else Language.union(one for one in languages if one is not None)
        case Sequence(parts):
            return _concatenated(parts)
        case Repeat(part, least, most, separator):
            _check_counts(least, most)
            language = _language_of(part)
            if language is None or most == 0:
                return None if language is None else Language.epsilon()
            between = Language.literal(separator)
            repeated = language + (between + language).repeat(max(least, 1) - 1, None if most is None else most - 1)
            return repeated | Language.epsilon() if least == 0 else repeated
    return None


def _is_plain(spec: Choice) -> bool:
    return all(isinstance(option, str) for option in spec.options)


def _concatenated(parts: Iterable[Spec | str]) -> Language | None:
    whole = Language.epsilon()
    for part in parts:
        language = _language_of(part)
        if language is None:
            return None
        whole += language
    return whole


def _check_counts(least: int, most: int | None) -> None:
    if least < 0 or (most is not None and most < least):
        raise ConstraintSyntaxError(f"a Repeat of {least} to {most} times is not possible")


def _literal(spec: Literal, limits: Limits) -> ByteAutomaton:
    return TextsAutomaton([spec.text])


def _choice(spec: Choice, limits: Limits) -> ByteAutomaton:
    texts = [option for option in spec.options if isinstance(option, str)]
    options: list[ByteAutomaton] = [TextsAutomaton(texts)] if texts else []
    for option in spec.options:
        if not isinstance(option, str):
            try:
                options.append(automaton_of(option, limits))
            except UnsatisfiableConstraintError:
                continue  # an option that no text satisfies is no option
    if not options:
        raise UnsatisfiableConstraintError("no text satisfies any option of the Choice")
    return options[0] if len(options) == 1 else ComposedAutomaton(ChoicePlaces(options), limits)


def _sequence(spec: Sequence, limits: Limits) -> ByteAutomaton:
    parts = [automaton_of(part, limits) for part in spec.parts]
    return ComposedAutomaton(SequencePlaces(parts), limits)


def _repeat(spec: Repeat, limits: Limits) -> ByteAutomaton:
    _check_counts(spec.least, spec.most)
    if spec.most == 0:
        return TextsAutomaton([""])
    part, separator = automaton_of(spec.part, limits), TextsAutomaton([spec.separator])
    repeated = ComposedAutomaton(RepeatPlaces(part, separator, spec.least, spec.most), limits)
    if spec.least > 0 or repeated.is_accepting(repeated.start):
        return repeated
    return ComposedAutomaton(ChoicePlaces([TextsAutomaton([""]), repeated]), limits)


def _tagged(spec: Tagged, limits: Limits) -> ByteAutomaton:
    if not spec.tags:
        raise ConstraintSyntaxError("Tagged needs at least one tag")
    contents = [automaton_of(Sequence(tag.content, tag.end) if tag.end else tag.content, limits) for tag in spec.tags]
    begins = [tag.begin for tag in spec.tags]
    return ComposedAutomaton(TaggedPlaces(begins, contents, spec.at_least_one, spec.stop_after_first), limits)


def _up_to(spec: UpTo, limits: Limits) -> ByteAutomaton:
    language = None if spec.open else _language_of(spec.inner)
    if language is None:
        return UpToAutomaton(automaton_of(spec.inner, limits), spec.after.encode(), spec.open, limits)
    # Of a regular language only the texts that end with `after` are run: what is alive among them can be completed.
    ending = (language & (Language.any_text() + Language.literal(spec.after))).within(limits)
    if ending.is_empty():
        raise UnsatisfiableConstraintError(f"no text of the constraint goes on with {spec.after!r}")
    return UpToAutomaton(regex.automaton(ending), spec.after.encode(), False, limits)


def _format(spec: Format, limits: Limits) -> ByteAutomaton:
    made = FORMATS.find(spec.name)(limits)
    return automaton_of(made, limits) if isinstance(made, Spec) else made


FRONT_ENDS: Mapping[type, FrontEnd] = MappingProxyType(
    {
        Literal: _literal,
        Choice: _choice,
        Sequence: _sequence,
        Repeat: _repeat,
        Tagged: _tagged,
        UpTo: _up_to,
        Format: _format,
        Regex: regex.compile_regex,
        JsonSchema: compile_schema,
        Lark: lark.compile_lark,
        Ebnf: lark.compile_ebnf,
    }
)
