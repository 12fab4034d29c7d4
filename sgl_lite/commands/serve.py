"""`sgl-lite serve`: from flags, environment variables and a TOML file to a server."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import sgl_lite as sgl

errors = Console(stderr=True)
option = partial(typer.Option, show_envvar=False, show_default=False, metavar="X")
flag = partial(typer.Option, show_envvar=False, show_default=False)
"""Help that fits on a screen: defaults are told in words."""
LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """What the file says is the default of the flags. Errors: `BadParameter` for a key that is no flag."""
    if path is None:
        return None
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}") from None
    names = {parameter.name for parameter in context.command.params if parameter.name not in ("config", "help")}
    values = {name.replace("-", "_"): value for name, value in given.items()}
    unknown = sorted(values.keys() - names)
    if unknown:
        raise typer.BadParameter(f"{path}: there is no setting {unknown[0]!r}; there are {', '.join(sorted(names))}")
    context.default_map = {**(context.default_map or {}), **values}
    return path


def serve(
    config: Annotated[
        Path | None, option(help="A TOML file of these settings.", callback=read_config, is_eager=True)
    ] = None,
    model: Annotated[str | None, option(help="Folder or Hugging Face id. Default: the embedded model.")] = None,
    revision: Annotated[str | None, option(help="Branch, tag or commit of a Hugging Face model.")] = None,
    served_model_name: Annotated[str | None, option(help="What clients call it. Default: --model.")] = None,
    host: Annotated[
        str, option(help="0.0.0.0 lets other machines in; give keys then. Default: 127.0.0.1.")
    ] = "127.0.0.1",
    port: Annotated[int, option(help="0 takes a free one. Default: 8000.", min=0, max=65535)] = 8000,
    api_key: Annotated[
        list[str] | None, option(help="A key that opens the API. Repeat the option.", envvar="SGL_LITE_API_KEY")
    ] = None,
    device: Annotated[str, option(help="auto (default), cpu, cuda.")] = "auto",
    context_length: Annotated[int | None, option(help="Longest prompt plus answer, in tokens.")] = None,
    max_running: Annotated[int, option(help="Answers that are generated at the same time. Default: 64.", min=1)] = 64,
    max_under_way: Annotated[
        int, option(help="Beyond so many answers, clients are told 429. Default: 512.", min=1)
    ] = 512,
    requests_per_minute: Annotated[int | None, option(help="Of each key; beyond it: 429.", min=1)] = None,
    request_seconds: Annotated[float, option(help="A request that takes longer is aborted. Default: 600.")] = 600,
    stop_seconds: Annotated[float, option(help="Time for what is under way when the server stops. Default: 30.")] = 30,
    reasoning: Annotated[str | None, option(help="How the model marks thoughts: qwen3, deepseek-r1, ...")] = None,
    allow_image_urls: Annotated[
        bool, flag("--allow-image-urls", help="Fetch images from URLs that clients name.")
    ] = False,
    cors_origin: Annotated[list[str] | None, option(help="A web origin that may ask. Repeat it.")] = None,
    traces: Annotated[bool, flag("--traces", help="Spans for OpenTelemetry (OTEL_EXPORTER_OTLP_ENDPOINT).")] = False,
    log_level: Annotated[str, option(help="debug, info (default), warning, error.")] = "info",
) -> None:
    """Serve a model over HTTP: OpenAI's API at /v1, SGLang's and TGI's at /generate, a playground at /.

    Every option can also be an environment variable (SGL_LITE_SERVE_PORT=8000) or a line of --config (port = 8000).

    Example: [bold]sgl-lite serve --model Qwen/Qwen3-0.6B --api-key secret[/bold]
    """
    try:
        from sgl_lite.server.config import ServerConfig
        from sgl_lite.server.serving import LOG_LEVELS, http_server, log_to_stderr
    except ModuleNotFoundError as error:  # an extra that `import sgl_lite` goes without
        raise sgl.ArgumentError(f"serve needs {error.name}; pip install 'sgl-lite[server]'") from error
    if log_level not in LOG_LEVELS:
        raise typer.BadParameter(f"{log_level} is not one of {', '.join(LOG_LEVELS)}", param_hint="--log-level")
    settings: dict[str, Any] = {
        "model_name": served_model_name or model or "embedded",
        "revision": revision,
        "api_keys": tuple(api_key or ()),
        "max_under_way": max_under_way,
        "requests_per_minute": requests_per_minute,
        "request_seconds": request_seconds,
        "stop_seconds": stop_seconds,
        "reasoning": reasoning,
        "allow_image_urls": allow_image_urls,
        "cors_origins": tuple(cors_origin or ()),
        "traces": traces,
        "show_prompts": not api_key and host in LOCAL_HOSTS,  # then they are all of one person
    }
    server_config = ServerConfig(**settings)
    if not server_config.api_keys and host not in LOCAL_HOSTS:
        errors.print("[yellow]no --api-key: everyone who reaches this host may use the model[/yellow]")
    engine = sgl.Engine(
        model_path=model, revision=revision, device=device, context_length=context_length, max_num_seqs=max_running
    )
    log_to_stderr(log_level)
    with engine:
        http_server(sgl.LocalBackend.of(engine), server_config, host, port).run()
