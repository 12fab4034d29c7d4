"""What the language asks of a model, wherever it runs.

A backend never waits: `generate` returns at once and reports through the two callbacks, from any thread. What can be
seen to be wrong at once (a bad constraint, a prompt that is too long) it raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

from grammars.spec import Spec
from runtime.api import GenerateRequest, RequestOutput

Message: TypeAlias = dict[str, Any]
"""A message as OpenAI's API has it: `{"role": ..., "content": text or list of parts}`."""

OnOutput: TypeAlias = Callable[[RequestOutput], None]
OnFailure: TypeAlias = Callable[[BaseException], None]


@dataclass(frozen=True, slots=True)
class Conversation:
    """The messages so far, and what the open message of the model already says."""

    messages: tuple[Message, ...]
    open_text: str = ""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text and its tokens. The first `known` characters are the first `known_ids` tokens, whatever follows them.

    special_tokens: whether those that begin a text are among the tokens.
    """

    text: str
    ids: tuple[int, ...]
    special_tokens: bool
    known: int = 0
    known_ids: int = 0


class Pending(Protocol):
    """A request under way."""

    def abort(self) -> None:
        """End it soon; `on_failure` is called with `runtime.errors.RequestAborted`."""
        ...


class ChatTemplate(Protocol):
    """How messages become text."""

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str: ...

    @property
    def image_text(self) -> str:
        """How an image is shown in a text. `render` leaves the images' marks (`marks.py`) as they are."""
        ...

    @property
    def stop(self) -> tuple[str, ...]:
        """What ends the model's turn, besides its end-of-text token."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """constraints: holds `GenerateRequest.constraint`. scores: `prompt_logprobs`, which `select` needs.
    images: takes pictures. reserved: words that stand for pictures, so that no text of a program may contain them.
    reads_ahead: answers can be drawn past their stop and kept (`num_api_spec_tokens`); False:
    they cannot; None: no need, since text that was computed is kept anyway.
    """

    constraints: bool = True
    scores: bool = True
    images: bool = False
    reserved: tuple[str, ...] = ()
    reads_ahead: bool | None = None


@runtime_checkable
class Inspector(Protocol):
    """What a backend may tell of a request after it, for pictures of a run."""

    def token_ends(self, text: str, special_tokens: bool = True) -> list[int]:
        """Where each token of a prompt ends, in characters."""
        ...

    def mask_widths(self, request: GenerateRequest, token_ids: Sequence[int]) -> list[int]:
        """How many tokens the request's constraint allowed at each step of an answer, 1 where it was forced; [] without
        a constraint.
        """
        ...


class Tokenizing(Protocol):
    """A backend whose prompts are tokenised here, so that of a growing text only what is new is tokenised."""

    def tokenized(self, text: str, special_tokens: bool, before: TokenizedText | None) -> TokenizedText:
        """The tokens of `text`, as `encode` gives them. before: those of a text that begins alike, if there is one."""
        ...


def tokenizes(backend: object) -> TypeGuard[Tokenizing]:
    """Whether it is `Tokenizing`. `isinstance` looks through the whole class, and every request asks."""
    return hasattr(backend, "tokenized")


class Backend(Protocol):
    """See the module docstring."""

    @property
    def capabilities(self) -> Capabilities: ...
    @property
    def model_name(self) -> str: ...

    def generate(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
        stream: bool = False,
    ) -> Pending:
        """Start one request. `on_output` gets the answer, with `finished=True`; before that what there is, if `stream`.

        conversation: given in a chat; `request.prompt` is then its text, whose special tokens are all written out.
        """
        ...

    def check_constraint(self, spec: Spec, text: str = "", complete: bool = False) -> None:
        """Whether `text` begins (complete: is) a text of `spec`.

        Errors: `grammars.errors.ConformError` if not, other `GrammarError`s if the spec cannot be enforced.
        """
        ...

    def encode(self, text: str, special_tokens: bool = True) -> tuple[int, ...]:
        """Token ids. `special_tokens`: with those that begin a text (not in a chat, which writes them itself)."""
        ...

    def decode(self, token_ids: Sequence[int]) -> str: ...

    def chat_template(self) -> ChatTemplate: ...

    def flush_cache(self) -> None: ...

    def server_info(self) -> Mapping[str, Any]: ...

    def shutdown(self) -> None: ...
