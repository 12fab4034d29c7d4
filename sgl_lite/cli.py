"""The command `sgl-lite`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

import sgl_lite as sgl
from sgl_lite.commands.bench import bench
from sgl_lite.commands.build import build
from sgl_lite.commands.chat import chat
from sgl_lite.commands.grammar import grammar_app
from sgl_lite.commands.models import models
from sgl_lite.commands.schemas import read_schema
from sgl_lite.commands.serve import serve

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Language-model programs with guaranteed output.\n\n"
    'Example: [bold]sgl-lite generate "Generate profile for Ada:" --format json[/bold]',
    rich_markup_mode="rich",
)
for command in (serve, chat, bench, build, models):
    app.command()(command)
app.add_typer(grammar_app, name="grammar")
console, errors = Console(), Console(stderr=True)

Model = Annotated[str | None, typer.Option(help="Folder or Hugging Face id. Default: the embedded model.")]


@app.command()
def version() -> None:
    """Print the version."""
    print(f"sgl-lite {sgl.__version__}")


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="The text to go on from, or - for standard input.")],
    model: Model = None,
    max_tokens: Annotated[int, typer.Option(help="Length of the answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 takes the likeliest token.")] = 0.0,
    seed: Annotated[int | None, typer.Option(help="Makes random draws repeatable.")] = None,
    schema: Annotated[str | None, typer.Option(help="The answer is JSON of this schema (file or text).")] = None,
    regex: Annotated[str | None, typer.Option(help="The answer matches this pattern.")] = None,
    format: Annotated[str | None, typer.Option(help="The answer has this format: json, ...")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="The answer is one of these. Repeat the option.")] = None,
) -> None:
    """Write an answer to a prompt.

    Example: [bold]sgl-lite generate "Generate profile for Ada:" --format json[/bold]
    """

    @sgl.function
    def program(s: sgl.ProgramState) -> None:
        s += sys.stdin.read() if prompt == "-" else prompt
        s += sgl.gen(
            "answer",
            max_tokens,
            temperature=temperature,
            seed=seed,
            regex=regex,
            format=format,
            choices=choice or None,
            json_schema=read_schema(schema) if schema else None,
        )

    backend = sgl.Engine(model_path=model) if model else None
    for piece in program.stream(backend=backend).text_iter("answer"):
        print(piece, end="", flush=True)
    print()


@app.command()
def demo() -> None:
    """Run the main job on the embedded model: a record from prose, guaranteed to fit its schema."""
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
        "required": ["name", "age", "city"],
        "additionalProperties": False,
    }
    text = "Ada Brown is a 36 year old engineer from Paris."

    @sgl.function
    def extract(s: sgl.ProgramState) -> None:
        s += f"Extract the person from: {text}\nJSON:"
        s += sgl.gen("person", max_tokens=64, temperature=0, json_schema=schema)

    state = extract()
    console.print(f"[dim]{text}[/dim]")
    console.print_json(data=state.parsed("person"))
    meta = state.get_meta_info("person") or {}
    counts = f"{meta['completion_tokens']} tokens, {meta['forced_tokens']} of them known without asking the model"
    console.print(f"[dim]{counts}[/dim]")


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Errors of the language, the runtime and constraints become one line and exit status 1."""
    try:
        return app(arguments, auto_envvar_prefix="SGL_LITE")
    except (sgl.LanguageError, sgl.RuntimeFault, sgl.GrammarError) as error:
        errors.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
        raise SystemExit(1) from None
