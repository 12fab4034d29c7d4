"""What a program is written with: `gen`, `select`, roles. Each makes a node; arguments are checked at its line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

from grammars.spec import Spec
from sgl_lite.choices import ChoicesSamplingMethod, method_of
from sgl_lite.constraints import checked_choices, constraint_of
from sgl_lite.errors import ArgumentError
from sgl_lite.nodes import Gen, Node, Parts, RoleBegin, RoleEnd, Select, flatten
from sgl_lite.reasoning import reasoning_format
from sgl_lite.settings import SamplingOptions, SamplingSettings


def gen(
    name: str | None = None,
    max_tokens: int | None = None,
    *,
    regex: str | None = None,
    json_schema: Any = None,
    grammar: str | Spec | None = None,
    format: str | None = None,
    dtype: Any = None,
    type: Any = None,
    choices: Sequence[str] | None = None,
    choices_method: ChoicesSamplingMethod | str | None = None,
    tools: Sequence[Callable[..., Any]] | None = None,
    check: Callable[[Any], bool] | None = None,
    retries: int = 2,
    **sampling: Unpack[SamplingOptions],
) -> Gen | Select:
    """An answer of the model, kept in variable `name`.

    At most one of these says what the answer must be:
      regex:       a pattern that the whole answer matches.
      json_schema: a schema as dict or JSON text, or a Python type.
      grammar:     a Lark grammar, an EBNF one (with `::=`), or a spec of `sgl_lite.spec`.
      format:      "json", "yaml", "date", ...
      dtype:       int, float, bool, str, written as Python does; any other type: as JSON.
      type:        a Python type, as JSON.
      choices:     the best of these, by `choices_method`: this is a `select`.
      tools:       a call of one of these functions, as JSON; `s.parsed(name)` is a `ToolCall` to be called.
    check:   called with the answer (parsed, if it is constrained); while it returns False the answer is drawn again, at
             most `retries` times, then the variable's read raises `CheckError`.
    sampling: see `SamplingSettings`; what is not given is as the run says.
    """
    _check_name(name)
    constraint = constraint_of(
        regex=regex,
        json_schema=json_schema,
        grammar=grammar,
        format=format,
        dtype=dtype,
        type=type,
        choices=choices,
        tools=tools,
    )
    if choices is not None:
        return select(name, choices, choices_method=choices_method)
    if retries < 0:
        raise ArgumentError(f"retries={retries} must be at least 0")
    if check is not None and not callable(check):
        raise ArgumentError(f"check={check!r} must be a function that takes the answer and returns True or False")
    return Gen(
        name, SamplingSettings.of({"max_tokens": max_tokens, **sampling}), constraint, check, retries if check else 0
    )


def gen_int(name: str | None = None, max_tokens: int | None = None, **sampling: Unpack[SamplingOptions]) -> Node:
    """`gen` of a whole number."""
    return gen(name, max_tokens, dtype=int, **sampling)


def gen_string(name: str | None = None, max_tokens: int | None = None, **sampling: Unpack[SamplingOptions]) -> Node:
    """`gen` of a string in double quotes."""
    return gen(name, max_tokens, dtype=str, **sampling)


def select(
    name: str | None = None,
    choices: Sequence[str] | None = None,
    temperature: float = 0.0,
    choices_method: ChoicesSamplingMethod | str | None = None,
    *,
    seed: int | None = None,
) -> Select:
    """The best of `choices`, kept in variable `name`; probabilities are in its meta info.

    choices_method: one of `sgl_lite.choices` or its name: "token_length_normalized" (default),
                    "greedy_token_selection", "unconditional_likelihood_normalized", "probability".
    temperature:    above 0 draws one of the choices, by the method's scores.
    """
    _check_name(name)
    if choices is None:
        raise ArgumentError("select needs choices=[...]")
    if temperature < 0:
        raise ArgumentError(f"temperature={temperature} must be at least 0")
    return Select(name, checked_choices(choices), method_of(choices_method), temperature, seed)


def separate_reasoning(content: Any, model_type: str) -> Parts:
    """Keep the thoughts of the gens in `content` apart: variable `name` is the answer, `<name>_reasoning_content` the
    thoughts, and only the answer is in the text.

    model_type: "deepseek-r1", "qwen3", "kimi", "gpt-oss", ...: see `reasoning.py`.
    """
    how = reasoning_format(model_type)
    parts: list[Node] = []
    for node in flatten(content):
        if isinstance(node, Gen):
            if node.constraint is not None or node.name is None:
                raise ArgumentError(
                    f"{node.label()} must have a name and no constraint to have its reasoning separated"
                )
            node = replace(node, reasoning=how)
        parts.append(node)
    return Parts(tuple(parts))


def _role(role: str, content: Any) -> Parts:
    return Parts((RoleBegin(role), *(() if content is None else flatten(content)), RoleEnd(role)))


def system(content: Any = None) -> Parts:
    """A system message."""
    return _role("system", content)


def user(content: Any = None) -> Parts:
    """A message of the user."""
    return _role("user", content)


def assistant(content: Any = None) -> Parts:
    """A message of the model: `s += assistant(gen("answer"))`."""
    return _role("assistant", content)


def system_begin() -> RoleBegin:
    return RoleBegin("system")


def system_end() -> RoleEnd:
    return RoleEnd("system")


def user_begin() -> RoleBegin:
    return RoleBegin("user")


def user_end() -> RoleEnd:
    return RoleEnd("user")


def assistant_begin() -> RoleBegin:
    return RoleBegin("assistant")


def assistant_end() -> RoleEnd:
    return RoleEnd("assistant")


def _check_name(name: object) -> None:
    if name is not None and not isinstance(name, str):
        raise ArgumentError(f"the name of a variable must be a str, not {name!r}; write gen('answer', ...)")
