"""What a server may be told: names, keys and limits. One frozen object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Every setting of a server. Sizes in bytes or characters, times in seconds.

    model_name:     what clients write as `model`. revision: of its files; reported beside it.
    api_keys:       any of them opens every path but /health and /ready; without keys all is open.
    max_under_way:  answers (requests times `n`) that may run or wait; beyond it clients get 429.
    max_constraint_bytes, max_constraint_depth: of a schema, pattern or grammar as JSON, and how deep it nests.
    max_images, max_image_pixels: images of one request, and width times height of each.
    allow_image_urls: whether images are fetched from http(s) URLs that clients name; image_seconds: the time for one.
    reasoning:      how the model marks its thoughts (see `sgl_lite/reasoning.py`): they are told apart in chats.
    cors_origins:   web pages of these origins may ask ("*": all).
    requests_per_minute: of each key, or of each address where there are no keys; beyond it clients get 429.
    traces:         spans for OpenTelemetry.
    show_prompts:   /radix_tree tells the texts of cached prompts, whosever they are.
    request_seconds: a request that takes longer is aborted. body_seconds: so long a body may take to arrive.
    stop_seconds:   from the signal to stop until what still runs is aborted.
    """

    model_name: str
    revision: str | None = None
    api_keys: tuple[str, ...] = ()
    max_body_bytes: int = 8 << 20
    max_prompt_chars: int = 1 << 20
    max_prompts: int = 128
    max_n: int = 32
    max_constraint_bytes: int = 256 << 10
    max_constraint_depth: int = 100
    max_under_way: int = 512
    max_images: int = 16
    max_image_pixels: int = 1 << 25
    allow_image_urls: bool = False
    image_seconds: float = 10.0
    reasoning: str | None = None
    cors_origins: tuple[str, ...] = ()
    requests_per_minute: int | None = None
    traces: bool = False
    show_prompts: bool = False
    request_seconds: float = 600.0
    body_seconds: float = 30.0
    stop_seconds: float = 30.0
