"""`sgl-lite chat`: a conversation in the terminal. Each line is a message; answers stream."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any

import typer
from rich.console import Console

import sgl_lite as sgl
from sgl_lite.commands.schemas import read_schema

console = Console()


def chat(
    model: Annotated[str | None, typer.Option(help="Folder or Hugging Face id. Default: the embedded model.")] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told first.")] = None,
    image: Annotated[list[str] | None, typer.Option(help="A picture of the first message. Repeat it.")] = None,
    schema: Annotated[str | None, typer.Option(help="Every answer is JSON of this schema (file or text).")] = None,
    regex: Annotated[str | None, typer.Option(help="Every answer matches this pattern.")] = None,
    format: Annotated[str | None, typer.Option(help="Every answer has this format: json, ...")] = None,
    max_tokens: Annotated[int, typer.Option(help="Length of an answer, in tokens.")] = 512,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.7,
) -> None:
    """Talk with a model. An empty line or Ctrl-D ends; /image FILE adds a picture to the next message.

    Example: [bold]sgl-lite chat --model Qwen/Qwen3-0.6B --system "Be brief."[/bold]
    """
    constraint = {"regex": regex, "format": format, "json_schema": read_schema(schema) if schema else None}
    answer = {"max_tokens": max_tokens, "temperature": temperature, **constraint}
    backend = sgl.Engine(model_path=model) if model else None
    converse(_ask, lambda text: print(text, end="", flush=True), system, image or [], answer, backend)


def _ask() -> str:
    try:
        return console.input("[bold cyan]> [/bold cyan]").strip()
    except EOFError:
        return ""


def converse(
    ask: Callable[[], str],
    write: Callable[[str], None],
    system: str | None,
    images: list[str],
    answer: dict[str, Any],
    backend: Any = None,
) -> sgl.ProgramState:
    """ask: the next message, "" at the end. write: takes pieces of answers. answer: arguments of their gens."""
    written = threading.Event()

    @sgl.function
    def conversation(s: sgl.ProgramState) -> None:
        if system:
            s += sgl.system(system)
        pictures = list(images)
        for number in count():
            while (line := ask()).startswith("/image "):
                pictures.append(line.removeprefix("/image ").strip())
            if not line:
                return
            shown = [sgl.image(path) for path in pictures]
            pictures.clear()
            written.clear()
            s += sgl.user([*shown, line]) + sgl.assistant(sgl.gen(f"answer_{number}", **answer))
            written.wait()

    state = conversation.stream(backend=backend)
    for number in count():
        try:
            for piece in state.text_iter(f"answer_{number}"):
                write(piece)
        except sgl.UnknownVariableError:
            break
        finally:
            written.set()
        write("\n")
    state.sync()
    return state
