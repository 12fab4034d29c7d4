"""From messages to text, and back: the tokenizer's own chat template, or one of SGLang's built-in ones by name.

`ChatLog` keeps a state's messages while their text is written; at every generation the text is exactly what the
template makes of the messages so far. Knows no backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from runtime.images import Image
from sgl_lite.backends.base import ChatTemplate, Conversation, Message
from sgl_lite.errors import RoleError
from sgl_lite.marks import IMAGE_TEXT, content_of

_MARK = "\ue000content\ue001"
"""Stands for a message's content, to find where the template puts it."""


@dataclass(frozen=True, slots=True)
class TokenizerTemplate:
    """The chat template that comes with a tokenizer. `apply`: (messages, add_generation_prompt) -> text.

    image_text: how the model's images are shown in a text.
    """

    apply: Callable[[Sequence[Message], bool], str]
    stop: tuple[str, ...] = ()
    image_text: str = IMAGE_TEXT

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        return self.apply(messages, add_generation_prompt)


@dataclass(frozen=True, slots=True)
class SimpleTemplate:
    """A template that puts a text before and after each message, by role.

    default_system: the first message, if the conversation has no system message of its own.
    """

    name: str
    before: Mapping[str, str]
    after: Mapping[str, str]
    default_system: str | None = None
    stop: tuple[str, ...] = ()
    begin: str = ""
    image_text: str = IMAGE_TEXT

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        if self.default_system is not None and not (messages and messages[0]["role"] == "system"):
            messages = [{"role": "system", "content": self.default_system}, *messages]
        turns = [self.before[m["role"]] + _text_of(m) + self.after[m["role"]] for m in messages]
        return self.begin + "".join(turns) + (self.before["assistant"] if add_generation_prompt else "")

    def get_prompt(self, messages: Sequence[Message]) -> str:
        """SGLang's name for `render` without a generation prompt."""
        return self.render(messages, add_generation_prompt=False)


def _text_of(message: Message) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


@dataclass(slots=True)
class ChatLog:
    """The messages of one state.

    role:    of the open message, None between messages. start: where its content begins in the state's text.
    messages: their content is text, with a mark for each image (`marks.py`).
    written: what the template wrote last, with the content of the model's turns as they came.
    opened:  whether the text before the open message's content is the template's.
    """

    template: Callable[[], ChatTemplate]
    messages: list[Message] = field(default_factory=list)
    role: str | None = None
    start: int = 0
    written: str = ""
    opened: bool = False

    def copy(self) -> ChatLog:
        return replace(self, messages=list(self.messages))

    def resume(self, messages: Sequence[Message], text: str) -> None:
        """Go on after messages whose text is the end of `text`."""
        self.messages = [dict(message) for message in messages]
        written = self._render(self.messages, False)
        self.written = written if text.endswith(written) else ""

    @property
    def active(self) -> bool:
        return self.role is not None or bool(self.messages)

    def sent(self, images: Sequence[Image] = ()) -> tuple[Message, ...]:
        """The messages in OpenAI's form, with the images whose marks they hold."""
        return tuple({**message, "content": content_of(message["content"], images)} for message in self.messages)

    def conversation(self, text: str, images: Sequence[Image] = ()) -> Conversation | None:
        """What a chat backend needs; None outside a chat."""
        if not self.active:
            return None
        return Conversation(self.sent(images), text[self.start :] if self.role == "assistant" else "")

    def begin(self, text: str, role: str) -> str:
        """A message begins. Returns the new text. Errors: `RoleError`."""
        if self.role is not None:
            raise RoleError(f"{role} begins inside {self.role}; messages cannot be nested: end the first one")
        self.role, self.opened = role, False
        self.start = len(text)
        return self.open(text) if role == "assistant" else text

    def open(self, text: str) -> str:
        """Have the template write what stands before the open message's content. Returns the new text."""
        if self.role is None or self.opened:
            return text
        head, content = text[: self.start], text[self.start :]
        if self.role == "assistant":
            opening = self._render(self.messages, True)
        else:
            opening, mark, _ = self._render([*self.messages, {"role": self.role, "content": _MARK}], False).partition(
                _MARK
            )
            if not mark:
                raise RoleError(f"the chat template does not write the content of {self.role} messages")
        head = self._write(head, opening)
        self.start, self.opened = len(head), True
        return head + content

    def end(self, text: str, role: str) -> str:
        """The open message ends. Returns the new text. Errors: `RoleError`.

        Some templates refuse messages that only the next one makes whole (a system message alone): their text is
        written when the model's turn begins, and a refusal then is an error.
        """
        if self.role != role:
            raise RoleError(f"{role} ends, but {'no message' if self.role is None else self.role} is open")
        content = text[self.start :]
        self.messages.append({"role": role, "content": content})
        if self.opened:
            self.written += content
        else:
            text = text[: self.start]
        self.role = None
        try:
            rendered = self._render(self.messages, False)
        except RoleError:
            if role == "assistant":
                raise
            return text
        return self._write(text, rendered)

    def _write(self, text: str, new: str) -> str:
        """`text` with what the template wrote last brought up to `new`."""
        old, self.written = self.written, new
        if new.startswith(old):
            return text + new[len(old) :]
        if text.endswith(old):
            return text[: len(text) - len(old)] + new
        raise RoleError(
            "the chat template rewrites earlier messages, but text was added between them; put all text into messages"
        )

    def _render(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        try:
            return self.template().render(messages, add_generation_prompt=add_generation_prompt)
        except RoleError:
            raise
        except Exception as error:  # templates are programs of their own, with errors of their own
            roles = ", ".join(str(m["role"]) for m in messages)
            raise RoleError(f"the chat template refuses the messages ({roles}): {error}") from error
