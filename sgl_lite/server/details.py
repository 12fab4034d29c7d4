"""How an answer came about, for who looks at it: what of the prompt was cached, what of the answer was forced, and
whether it is valid. In: a request and its output. Out: JSON values, added to SGLang's `meta_info`.
"""

from __future__ import annotations

from typing import Any

from grammars.errors import ConformError
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput
from sgl_lite.backends.local import LocalBackend


def details(
    backend: LocalBackend, request: GenerateRequest, output: RequestOutput, one: CompletionOutput
) -> dict[str, Any]:
    """Those of the prompt and of validity come with the end of an answer."""
    told: dict[str, Any] = {"token_details": _answer(backend, request, one)}
    if one.finish_reason is not None:
        told["prompt_details"] = _prompt(backend, output)
        told["valid"] = _is_valid(backend, request, one)
    return told


def _answer(backend: LocalBackend, request: GenerateRequest, one: CompletionOutput) -> list[list[Any]]:
    """[text, how many tokens the constraint allowed in its place or None] of each token that the text has."""
    widths = backend.mask_widths(request, one.token_ids)
    told: list[list[Any]] = []
    written = ""
    for index in range(len(one.token_ids)):
        so_far = backend.decode(one.token_ids[: index + 1]).rstrip("\ufffd")[: len(one.text)]
        if so_far != written:  # a character may take several tokens
            told.append([so_far[len(written) :], widths[index] if index < len(widths) else None])
            written = so_far
    return told if written == one.text else [[one.text, None]]


def _prompt(backend: LocalBackend, output: RequestOutput) -> list[str]:
    """[the part whose keys and values were cached, the rest]."""
    ids = output.prompt_token_ids
    whole = backend.decode(ids)
    cached = backend.decode(ids[: output.usage.cached_tokens]).rstrip("\ufffd")
    return [cached, whole[len(cached) :]] if whole.startswith(cached) else ["", whole]


def _is_valid(backend: LocalBackend, request: GenerateRequest, one: CompletionOutput) -> bool | None:
    """Judged anew from the text alone; None without a constraint."""
    if request.constraint is None:
        return None
    try:
        backend.check_constraint(request.constraint, request.constraint_prefix + one.text, complete=True)
    except ConformError:
        return False
    return True
