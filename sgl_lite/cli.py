"""The command `sgl-lite`."""

from __future__ import annotations

import json
import random
import string
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

import grammars
import sgl_lite as sgl

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Language-model programs with guaranteed output.\n\n"
    'Example: [bold]sgl-lite generate "Generate profile for Ada:" --format json[/bold]',
    rich_markup_mode="rich",
)
grammar_app = typer.Typer(no_args_is_help=True, help="Look at a constraint without a model.")
app.add_typer(grammar_app, name="grammar")
console, errors = Console(), Console(stderr=True)
_END = 256
_PLAIN = string.ascii_letters + string.digits + ' -.,:_[]{}"'
"""What samples are written in where the schema allows it."""

Model = Annotated[str | None, typer.Option(help="Folder or Hugging Face id. Default: the embedded model.")]
Schema = Annotated[str, typer.Argument(help="A JSON Schema: a file, JSON text, or - for standard input.")]


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
            json_schema=_read(schema) if schema else None,
        )

    backend = sgl.Engine(model_path=model) if model else None
    for piece in program.stream(backend=backend).text_iter("answer"):
        print(piece, end="", flush=True)
    print()


@app.command()
def serve(
    model: Model = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hugging Face model.")] = None,
    served_model_name: Annotated[str | None, typer.Option(help="What clients call it. Default: --model.")] = None,
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines in; give keys then.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    api_key: Annotated[
        list[str] | None, typer.Option(help="A key that opens the API. Repeat the option.", envvar="SGL_LITE_API_KEY")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    context_length: Annotated[int | None, typer.Option(help="Longest prompt plus answer, in tokens.")] = None,
    max_running: Annotated[int, typer.Option(help="Answers that are generated at the same time.")] = 64,
    max_under_way: Annotated[int, typer.Option(help="Beyond so many answers, clients are told 429.")] = 512,
    request_seconds: Annotated[float, typer.Option(help="A request that takes longer is aborted.")] = 600,
    stop_seconds: Annotated[float, typer.Option(help="Time for what is under way when the server stops.")] = 30,
    log_level: Annotated[str, typer.Option(help="debug, info, warning, error.")] = "info",
) -> None:
    """Serve a model over HTTP: OpenAI's API at /v1, SGLang's at /generate.

    Example: [bold]sgl-lite serve --model Qwen/Qwen3-0.6B --api-key secret[/bold]
    """
    try:
        from sgl_lite.server.config import ServerConfig
        from sgl_lite.server.serving import LOG_LEVELS, http_server, log_to_stderr
    except ModuleNotFoundError as error:  # an extra that `import sgl_lite` goes without
        raise sgl.ArgumentError(f"serve needs {error.name}; pip install 'sgl-lite[server]'") from error
    if log_level not in LOG_LEVELS:
        raise typer.BadParameter(f"{log_level} is not one of {', '.join(LOG_LEVELS)}", param_hint="--log-level")
    config = ServerConfig(
        model_name=served_model_name or model or "embedded",
        revision=revision,
        api_keys=tuple(api_key or ()),
        max_under_way=max_under_way,
        request_seconds=request_seconds,
        stop_seconds=stop_seconds,
    )
    if not config.api_keys and host not in ("127.0.0.1", "::1", "localhost"):
        errors.print("[yellow]no --api-key: everyone who reaches this host may use the model[/yellow]")
    engine = sgl.Engine(
        model_path=model, revision=revision, device=device, context_length=context_length, max_num_seqs=max_running
    )
    log_to_stderr(log_level)
    with engine:
        http_server(sgl.LocalBackend.of(engine), config, host, port).run()


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


@grammar_app.command()
def check(schema: Schema) -> None:
    """Say what of a schema is enforced, and where. Ends with 1 if something in it cannot be.

    Example: [bold]sgl-lite grammar check person.json[/bold]
    """
    grammar = _compile(schema)
    console.print(f"[green]every keyword is enforced[/green]; the shortest text takes {grammar.min_tokens()} bytes")
    report = grammar.report()
    if report is None:
        return
    table = Table("where", "keyword", "how")
    for row in report:
        table.add_row(row.path or "/", row.keyword, row.how)
    console.print(table)


@grammar_app.command()
def sample(
    schema: Schema,
    seed: Annotated[int, typer.Option(help="Another seed, another text.")] = 0,
    max_bytes: Annotated[int, typer.Option(help="No text is longer.")] = 200,
) -> None:
    """Write a random text that satisfies a schema.

    Example: [bold]sgl-lite grammar sample '{"type": "array", "items": {"type": "integer"}}' --seed 7[/bold]
    """
    grammar = _compile(schema)
    matcher, rng, out = grammar.matcher(budget=max_bytes), random.Random(seed), bytearray()
    mask = np.empty(grammar.vocabulary.mask_width, np.int32)
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


def _compile(schema: str) -> grammars.CompiledGrammar:
    try:
        return grammars.compile(grammars.JsonSchema(_read(schema)), _byte_vocabulary())
    except grammars.GrammarError as error:
        errors.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
        raise typer.Exit(1) from None


def _byte_vocabulary() -> grammars.Vocabulary:
    """A token for every byte, and one that ends the text."""
    return grammars.Vocabulary([*(bytes([byte]) for byte in range(_END)), b""], eos_ids=(_END,))


def _read(schema: str) -> str:
    text = sys.stdin.read() if schema == "-" else schema
    if schema != "-" and not schema.lstrip().startswith(("{", "true", "false")):
        path = Path(schema)
        if not path.is_file():
            raise typer.BadParameter(f"{schema} is neither a file nor JSON text")
        text = path.read_text(encoding="utf-8")
    try:
        json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}") from None
    return text


def main(arguments: list[str] | None = None) -> Any:
    """Entry point. Errors of the language, the runtime and constraints become one line and exit status 1."""
    try:
        return app(arguments)
    except (sgl.LanguageError, sgl.RuntimeFault, sgl.GrammarError) as error:
        errors.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}")
        raise SystemExit(1) from None
