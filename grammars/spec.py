"""What a user can ask for: frozen, hashable descriptions of a constraint. They are the cache key of a compile.

A spec knows no vocabulary and checks only its own shape; `grammars.compile` turns it into a `CompiledGrammar`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias, get_args
from typing import Literal as OneOf

from grammars.errors import ConstraintLimitError, ConstraintSyntaxError

PropertyOrder: TypeAlias = OneOf["schema", "any"]
Whitespace: TypeAlias = OneOf["model", "compact", "any"]
"""`model`: as models write JSON (", ", ": ", or a newline and indentation), never an unbounded run. `compact`: none
outside strings but one space after `,` and `:`. `any`: what RFC 8259 allows, in runs of bounded length."""


class _Shaped:
    """Checks the types of its fields as soon as it is made."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for place in fields(self):  # type: ignore[arg-type]
            shape = _SHAPES.get(str(place.type))
            value = getattr(self, place.name)
            if shape is not None and not shape.fits(value):
                raise ConstraintSyntaxError(
                    f"{type(self).__name__}: {place.name} must be {shape.name}, not {value!r:.200}"
                )


@dataclass(frozen=True, slots=True)
class Literal(_Shaped):
    """Exactly this text."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice(_Shaped):
    """One of these texts or specs."""

    options: tuple[Spec | str, ...]

    def __init__(self, options: Iterable[Spec | str]) -> None:
        given = isinstance(options, Iterable) and not isinstance(options, str)
        object.__setattr__(self, "options", tuple(options) if given else options)
        self.__post_init__()
        if not self.options:
            raise ConstraintSyntaxError("Choice needs at least one option")


@dataclass(frozen=True, slots=True)
class Regex(_Shaped):
    """A full match of `pattern`. `dialect`: "python" (as `re`) or "ecma" (as JSON Schema's `pattern`)."""

    pattern: str
    flags: int = 0
    dialect: OneOf["python", "ecma"] = "python"


@dataclass(frozen=True, slots=True, init=False)
class JsonSchema:
    """A JSON text valid under `schema`.

    schema: a dict, a bool, or JSON text. Held as JSON text, keys in the order given.
    property_order: "schema" writes keys in the order of `properties`; "any" leaves the order to the model.
    draft: for schemas without `$schema`: "draft4", "draft6", "draft7", "2019-09", "2020-12" (None: 2020-12).
    resources: `{uri: schema}` for `$ref` to other documents; nothing is ever fetched.
    formats: whether `format` is enforced (unknown formats are annotations either way).
    max_depth: how deep arrays and objects may nest below the root, None for no bound.
    """

    schema: str
    property_order: PropertyOrder
    whitespace: Whitespace
    draft: str | None
    resources: tuple[tuple[str, str], ...]
    formats: bool
    max_depth: int | None

    def __init__(
        self,
        schema: Mapping[str, Any] | bool | str,
        *,
        property_order: PropertyOrder = "schema",
        whitespace: Whitespace = "model",
        draft: str | None = None,
        resources: Mapping[str, Any] | None = None,
        formats: bool = True,
        max_depth: int | None = None,
    ) -> None:
        text = schema if isinstance(schema, str) else _json_text(schema, "the schema")
        extra = tuple((uri, _json_text(value, f"resources[{uri!r}]")) for uri, value in (resources or {}).items())
        for name, value in (
            ("schema", text),
            ("property_order", property_order),
            ("whitespace", whitespace),
            ("draft", draft),
            ("resources", extra),
            ("formats", formats),
            ("max_depth", max_depth),
        ):
            object.__setattr__(self, name, value)

    @property
    def options(self) -> tuple[Hashable, ...]:
        """All but the schema itself."""
        return (self.property_order, self.whitespace, self.draft, self.resources, self.formats, self.max_depth)


def _json_text(value: Any, what: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ConstraintLimitError(f"{what} nests too deeply, or holds itself") from None
    except (TypeError, ValueError) as error:
        raise ConstraintSyntaxError(f"{what} is not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Lark(_Shaped):
    """A text that the Lark grammar derives from its start rule."""

    grammar: str
    start: str = "start"


@dataclass(frozen=True, slots=True)
class Ebnf(_Shaped):
    """A text that the EBNF grammar (the notation of llama.cpp's GBNF and SGLang's `ebnf`) derives from `root`."""

    grammar: str
    root: str = "root"


@dataclass(frozen=True, slots=True)
class Format(_Shaped):
    """A text in a named format: "json", "yaml", "csv", "sql", "python", "xml", "date", ... or a registered one."""

    name: str


@dataclass(frozen=True, slots=True)
class Sequence(_Shaped):
    """The parts, one after the other: `Sequence("a", Regex("b+"))`."""

    parts: tuple[Spec | str, ...]

    def __init__(self, *parts: Spec | str) -> None:
        object.__setattr__(self, "parts", parts)
        self.__post_init__()


@dataclass(frozen=True, slots=True)
class Repeat(_Shaped):
    """`part` at least `least` and at most `most` times (None: no bound), `separator` between."""

    part: Spec | str
    least: int = 0
    most: int | None = None
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Tag(_Shaped):
    """`begin`, then a text of `content`, then `end`."""

    begin: str
    content: Spec
    end: str = ""


@dataclass(frozen=True, slots=True)
class Tagged(_Shaped):
    """Free text; wherever `begin` of one of the tags is written, that tag's content and end must follow.

    at_least_one: the text holds at least one tag. stop_after_first: nothing follows the first tag.
    """

    tags: tuple[Tag, ...]
    at_least_one: bool = False
    stop_after_first: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.tags, list):
            object.__setattr__(self, "tags", tuple(self.tags))
        _Shaped.__post_init__(self)


@dataclass(frozen=True, slots=True)
class UpTo(_Shaped):
    """The texts `x` for which `x + after` satisfies `inner`, and those texts with `after` written at their end.

    What a gen inside a constrained span may write when the program itself goes on with `after`: the model ends the gen
    by writing the delimiter, or by stopping. `open=True`: `x + after` need only begin a text of `inner`.
    """

    inner: Spec
    after: str
    open: bool = False


Spec: TypeAlias = Literal | Choice | Regex | JsonSchema | Lark | Ebnf | Format | Sequence | Repeat | Tagged | UpTo


class _Shape(NamedTuple):
    """What the values of a type are called, and which they are."""

    name: str
    fits: Callable[[Any], bool]


def _is_part(value: object) -> bool:
    return isinstance(value, (str, *get_args(Spec)))


_SHAPES = {
    "str": _Shape("a str", lambda value: isinstance(value, str)),
    "int": _Shape("an int", lambda value: isinstance(value, int)),
    "int | None": _Shape("an int or None", lambda value: value is None or isinstance(value, int)),
    "Spec": _Shape("a constraint", lambda value: isinstance(value, get_args(Spec))),
    "Spec | str": _Shape("a text or a constraint", _is_part),
    "tuple[Spec | str, ...]": _Shape(
        "texts and constraints", lambda value: isinstance(value, tuple) and all(map(_is_part, value))
    ),
    "tuple[Tag, ...]": _Shape(
        "Tags", lambda value: isinstance(value, tuple) and all(isinstance(tag, Tag) for tag in value)
    ),
}
"""By the annotation of a field; others are checked by the front ends."""
