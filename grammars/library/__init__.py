"""The formats that come with the package, each checked in the tests with a parser of the format itself.

A format is a function from `Limits` to a spec, or to an automaton where no spec says it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import TypeAlias

from grammars.automaton import ByteAutomaton
from grammars.json_schema.compiling import compile_json
from grammars.json_schema.formats import format_language
from grammars.library.xml import XmlAutomaton
from grammars.library.yaml import yaml_grammar
from grammars.limits import Limits
from grammars.regex import automaton
from grammars.spec import Lark, Regex, Spec

FormatFactory: TypeAlias = Callable[[Limits], Spec | ByteAutomaton]

_FIELD = r'(?:"(?:[^"\x00]|"")*"|[^",\r\n\x00]*)'
_RECORD = rf"{_FIELD}(?:,{_FIELD})*"
_CSV = rf"{_RECORD}(?:\r?\n{_RECORD})*"
"""RFC 4180, line ends of either kind. That all records have as many fields is left to the model."""

_VALUES = (
    "date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "iri",
    "uri-template", "uuid", "json-pointer", "regex",
)  # fmt: skip
"""What JSON Schema's `format` names, as a text of its own."""


def _grammar(name: str) -> FormatFactory:
    return lambda _: Lark(files(__name__).joinpath(f"{name}.lark").read_text("utf-8"))


def _value(name: str) -> FormatFactory:
    def compile_value(limits: Limits) -> ByteAutomaton:
        language = format_language(name, "2020-12")
        assert language is not None, name
        return automaton(language)

    return compile_value


LIBRARY: Mapping[str, FormatFactory] = MappingProxyType(
    {
        "json": compile_json,
        "yaml": lambda _: Lark(yaml_grammar()),
        "csv": lambda _: Regex(_CSV),
        "sql": _grammar("sql"),
        "python": _grammar("python"),
        "xml": XmlAutomaton,
        **{name: _value(name) for name in _VALUES},
    }
)
