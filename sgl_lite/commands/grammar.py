"""`sgl-lite grammar`: look at a constraint without a model."""

from __future__ import annotations

import random
import string
from collections import deque
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import grammars
from grammars.automaton import CROSS, DEAD, UNFILLED, ByteAutomaton, pack
from grammars.front_ends import automaton_of
from grammars.spec import Choice, JsonSchema, Regex, Spec
from sgl_lite.commands.schemas import read_schema
from sgl_lite.constraints import from_grammar

grammar_app = typer.Typer(no_args_is_help=True, help="Look at a constraint without a model.")
console, errors = Console(), Console(stderr=True)
_END = 256
_PLAIN = string.ascii_letters + string.digits + ' -.,:_[]{}"'
"""What samples are written in where the schema allows it."""

Schema = Annotated[str | None, typer.Argument(help="A JSON Schema: a file, JSON text, or - for standard input.")]
Pattern = Annotated[str | None, typer.Option("--regex", help="This pattern instead.")]
Choices = Annotated[list[str] | None, typer.Option("--choice", help="One of these instead. Repeat the option.")]
GrammarFile = Annotated[Path | None, typer.Option("--grammar", help="A file in Lark's notation or EBNF instead.")]


@grammar_app.command()
def check(schema: Schema = None, regex: Pattern = None, choice: Choices = None, grammar: GrammarFile = None) -> None:
    """Say whether a constraint is enforced, and of a schema what and where. Ends with 1 if something cannot be.

    Example: [bold]sgl-lite grammar check person.json[/bold]
    """
    compiled = _compile(_spec(schema, regex, choice, grammar))
    report = compiled.report()
    known = "every keyword is enforced" if report is not None else "it is enforced"
    console.print(f"[green]{known}[/green]; the shortest text takes {compiled.min_tokens()} bytes")
    if report is None:
        return
    table = Table("where", "keyword", "how")
    for row in report:
        table.add_row(row.path or "/", row.keyword, row.how)
    console.print(table)


@grammar_app.command()
def sample(
    schema: Schema = None,
    regex: Pattern = None,
    choice: Choices = None,
    grammar: GrammarFile = None,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    max_bytes: Annotated[int, typer.Option(help="No text is longer.")] = 200,
) -> None:
    """Write a random text that satisfies a constraint.

    Example: [bold]sgl-lite grammar sample '{"type": "array", "items": {"type": "integer"}}' --seed 7[/bold]
    """
    compiled = _compile(_spec(schema, regex, choice, grammar))
    matcher, rng, out = compiled.matcher(budget=max_bytes), random.Random(seed), bytearray()
    mask = np.empty(compiled.vocabulary.mask_width, np.int32)
    while not matcher.is_complete():
        matcher.fill_mask(mask)
        allowed = np.flatnonzero(np.unpackbits(mask.view(np.uint8), bitorder="little"))
        plain = [byte for byte in allowed if chr(byte) in _PLAIN or byte == _END]
        byte = int(rng.choice(plain or allowed.tolist()))
        if byte == _END:
            break
        matcher.advance(byte)
        out.append(byte)
    print(out.decode())


@grammar_app.command()
def show(
    schema: Schema = None,
    regex: Pattern = None,
    choice: Choices = None,
    grammar: GrammarFile = None,
    max_states: Annotated[int, typer.Option(help="Draw no more than so many.", min=1)] = 60,
    dot: Annotated[bool, typer.Option(help="As text for Graphviz: pipe it into `dot -Tsvg`.")] = False,
) -> None:
    """Draw the automaton of a constraint: its states, and which bytes lead from one to another.

    Example: [bold]sgl-lite grammar show --regex "[a-c]+(-[0-9]{2})?"[/bold]
    """
    spec = _spec(schema, regex, choice, grammar)
    try:
        edges, accepting, more = explore(automaton_of(spec), max_states)
    except grammars.GrammarError as error:
        raise _refused(error) from None
    if dot:
        print(_dot(edges, accepting))
        return
    table = Table("state", "reads", "goes to", title="(n) ends a text; 0 is the start")
    for state, row in enumerate(edges):
        name = f"({state})" if state in accepting else str(state)
        for label, target in row or [("nothing", None)]:
            table.add_row(name, escape(label), "" if target is None else str(target))
            name = ""
    console.print(table)
    if more:
        console.print(f"[dim]... and more than {max_states} states; --max-states draws more[/dim]")


def _spec(schema: str | None, regex: str | None, choice: list[str] | None, grammar: Path | None) -> Spec:
    """The one constraint that is given. Errors: `BadParameter`."""
    if sum(one is not None for one in (schema, regex, choice or None, grammar)) != 1:
        raise typer.BadParameter("give one of a schema, --regex, --choice and --grammar")
    if regex is not None:
        return Regex(regex)
    if choice:
        return Choice(choice)
    if grammar is None:
        return JsonSchema(read_schema(schema or ""))
    try:
        return from_grammar(grammar.read_text(encoding="utf-8")).spec
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{grammar}: {error}", param_hint="--grammar") from None


def _refused(error: grammars.GrammarError) -> typer.Exit:
    """Says why; to be raised."""
    errors.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
    return typer.Exit(1)


Edges = list[list[tuple[str, int | None]]]


def explore(automaton: ByteAutomaton, max_states: int) -> tuple[Edges, set[int], bool]:
    """States in the order of their distance from the start: where each byte leads (None: to a state that is not
    drawn), which of them end a text, and whether there are more.
    """
    numbers = {automaton.start: 0}
    waiting, edges, accepting, more = deque([automaton.start]), [], set(), False
    while waiting:
        state = waiting.popleft()
        if automaton.is_accepting(state):
            accepting.add(numbers[state])
        targets: dict[int, list[int]] = {}
        for byte in range(256):
            if (following := _step(automaton, state, byte)) != DEAD:
                targets.setdefault(following, []).append(byte)
        row: list[tuple[str, int | None]] = []
        for following, read in targets.items():
            if following not in numbers and len(numbers) < max_states:
                numbers[following] = len(numbers)
                waiting.append(following)
            more = more or following not in numbers
            row.append((_label(read), numbers.get(following)))
        edges.append(row)
    return edges, accepting, more


def _step(automaton: ByteAutomaton, state: int, byte: int) -> int:
    context, local = state >> 32, state & 0xFFFFFFFF
    if automaton.table[local, byte] == UNFILLED:
        automaton.fill(local)
    following = int(automaton.table[local, byte])
    if following == CROSS:
        return int(automaton.cross(context, local)[byte])
    return DEAD if following == DEAD else pack(context, following)


def _label(read: list[int]) -> str:
    """Bytes as ranges: `a-c 0-9 \\x80-\\xbf`."""
    ranges: list[list[int]] = []
    for byte in read:
        if ranges and byte == ranges[-1][1] + 1:
            ranges[-1][1] = byte
        else:
            ranges.append([byte, byte])
    return " ".join(_byte(a) if a == b else f"{_byte(a)}-{_byte(b)}" for a, b in ranges)


def _byte(byte: int) -> str:
    return chr(byte) if 0x20 < byte < 0x7F else "space" if byte == 0x20 else f"\\x{byte:02x}"


def _dot(edges: Edges, accepting: set[int]) -> str:
    lines = ["digraph constraint {", "  rankdir=LR;"]
    lines += [f"  {n} [shape={'doublecircle' if n in accepting else 'circle'}];" for n in range(len(edges))]
    for state, row in enumerate(edges):
        for label, target in row:
            escaped = label.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'  {state} -> {"more" if target is None else target} [label="{escaped}"];')
    return "\n".join([*lines, "}"])


def _compile(spec: Spec) -> grammars.CompiledGrammar:
    try:
        return grammars.compile(spec, _byte_vocabulary())
    except grammars.GrammarError as error:
        raise _refused(error) from None


def _byte_vocabulary() -> grammars.Vocabulary:
    """A token for every byte, and one that ends the text."""
    return grammars.Vocabulary([*(bytes([byte]) for byte in range(_END)), b""], eos_ids=(_END,))
