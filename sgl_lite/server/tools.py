"""Tool calls as text, in the form that Hermes and Qwen models are trained on, and back.

    <tool_call>
    {"name": "get_weather", "arguments": {"city": "Paris"}}
    </tool_call>

In: OpenAI's tools and messages. Out: a system text, plain messages, a constraint; and from the text that the model
writes, the pieces of content and of calls. With `auto` the model may write text and calls; whatever it opens as a call
is one, with arguments that are valid under the tool's schema. A named tool's text is its arguments and nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from grammars.spec import Choice, JsonSchema, Repeat, Spec, Tag, Tagged
from grammars.spec import Sequence as InTurn
from sgl_lite.backends.base import Message as PlainMessage
from sgl_lite.server.errors import invalid
from sgl_lite.server.protocol import ChatBody, Message, NamedTool, TextPart, Tool

BEGIN, END = "<tool_call>", "</tool_call>"
_HEAD = re.compile(r'\n\{"name": "([A-Za-z0-9_.\-]+)", "arguments": ')
_TAIL = "}\n" + END

_INSTRUCTIONS = """\
# Tools

These functions are there to be called, one JSON object a line:
<tools>
{tools}
</tools>

To call one, write:
<tool_call>
{{"name": <its name>, "arguments": <an object of its arguments>}}
</tool_call>"""


@dataclass(frozen=True, slots=True)
class ContentPiece:
    text: str


@dataclass(frozen=True, slots=True)
class CallPiece:
    """More of call `index`. name: given in the first piece only. arguments: JSON text, to be appended."""

    index: int
    name: str | None
    arguments: str


Piece = ContentPiece | CallPiece


class Reader(Protocol):
    """Takes an answer's text bit by bit."""

    def feed(self, text: str, end: bool) -> Iterator[Piece]:
        """What the new text adds. end: there is no more."""
        ...


@dataclass(frozen=True, slots=True)
class ToolUse:
    """How the tools of one body are used. system: what the model is told. constraint: None without tools."""

    system: str
    constraint: Spec | None
    new_reader: Callable[[], Any]


def tool_use(body: ChatBody, check: Callable[[str, Any], Any]) -> ToolUse:
    """check(path, schema): raises for a schema that the server does not take. Errors: `ApiError`."""
    tools, choice = body.tools or [], body.tool_choice
    if not tools:
        if choice not in (None, "none", "auto"):
            raise invalid("tool_choice", "there are no tools to choose from; give tools")
        return ToolUse("", None, PlainReader)
    _check_names(tools)
    if choice == "none":
        return ToolUse("", None, PlainReader)
    system = _INSTRUCTIONS.format(tools="\n".join(_described(tool) for tool in tools))
    schemas = {
        tool.function.name: _arguments_schema(check(f"tools.{index}.function.parameters", tool.function.parameters))
        for index, tool in enumerate(tools)
    }
    if isinstance(choice, NamedTool):
        name = choice.function.name
        if name not in schemas:
            raise invalid("tool_choice", f"there is no tool {name!r}; there are {', '.join(schemas)}")
        return ToolUse(system, schemas[name], lambda: NamedReader(name))
    call = Choice([InTurn(f'\n{{"name": "{name}", "arguments": ', schema, "}\n") for name, schema in schemas.items()])
    many = body.parallel_tool_calls is not False
    if choice == "required":
        required = Repeat(InTurn(BEGIN, call, END), 1, None if many else 1, "\n")
        return ToolUse(system, required, CallReader)
    return ToolUse(system, Tagged((Tag(BEGIN, call, END),), stop_after_first=not many), CallReader)


def _check_names(tools: Sequence[Tool]) -> None:
    names = [tool.function.name for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise invalid(f"tools.{index}.function.name", f"there are two tools of the name {name!r}")


def _described(tool: Tool) -> str:
    return json.dumps(tool.model_dump(exclude_none=True, exclude={"function": {"strict"}}), ensure_ascii=False)


def _arguments_schema(parameters: dict[str, Any] | None) -> JsonSchema:
    """Arguments are an object, whether the schema says so or not."""
    if parameters is None:
        return JsonSchema({"type": "object", "properties": {}, "additionalProperties": False})
    if parameters.get("type") == "object":
        return JsonSchema(parameters)
    if "type" not in parameters:
        return JsonSchema({"type": "object", **parameters})
    raise invalid("tools", f"parameters must have the type 'object', not {parameters['type']!r}")


class ImageReader(Protocol):
    """Reads images, and checks texts that go beside them. Both say which field is at fault."""

    def mark(self, source: str, path: str) -> str: ...
    def check_text(self, text: str, path: str) -> str: ...


def plain_messages(messages: Sequence[Message], system: str, images: ImageReader) -> list[PlainMessage]:
    """As templates of every model take them: roles system, user and assistant, contents of text, with a mark for each
    image.

    system: is added to the first system message. Errors: `ApiError`.
    """
    plain = [{"role": _role(message), "content": _content(message, i, images)} for i, message in enumerate(messages)]
    if not system:
        return plain
    if plain[0]["role"] == "system":
        plain[0]["content"] += f"\n\n{system}"
        return plain
    return [{"role": "system", "content": system}, *plain]


def _role(message: Message) -> str:
    return {"developer": "system", "tool": "user"}.get(message.role, message.role)


def _content(message: Message, index: int, images: ImageReader) -> str:
    content, path = message.content or "", f"messages.{index}.content"
    if isinstance(content, str):
        text = images.check_text(content, path)
    else:
        text = "".join(
            images.check_text(part.text, f"{path}.{i}.text")
            if isinstance(part, TextPart)
            else images.mark(part.image_url.url, f"{path}.{i}.image_url.url")
            for i, part in enumerate(content)
        )
    if message.tool_calls and message.role != "assistant":
        raise invalid(f"messages.{index}.tool_calls", f"messages of {message.role} call no tools")
    if message.content is None and not message.tool_calls:
        raise invalid(f"messages.{index}.content", "this field is needed", "missing_required_parameter")
    if message.role == "tool":
        return f"<tool_response>\n{text}\n</tool_response>"
    calls = [
        f'{BEGIN}\n{{"name": "{call.function.name}", "arguments": {call.function.arguments}}}\n{END}'
        for call in message.tool_calls or ()
    ]
    return "\n".join([text, *calls] if text else calls) if calls else text


class PlainReader:
    """An answer without tools: all is content."""

    def feed(self, text: str, end: bool) -> Iterator[Piece]:
        if text:
            yield ContentPiece(text)


class NamedReader:
    """An answer that is the arguments of one tool."""

    def __init__(self, name: str) -> None:
        self._name: str | None = name

    def feed(self, text: str, end: bool) -> Iterator[Piece]:
        if text:
            yield CallPiece(0, self._name, text)
            self._name = None


class CallReader:
    """Text with calls in it, each exactly as the constraint has it written."""

    def __init__(self) -> None:
        self._rest = ""
        self._next = self._outside
        self._count = 0
        self._arguments = _ObjectEnd()

    def feed(self, text: str, end: bool) -> Iterator[Piece]:
        self._rest += text
        while True:
            before = self._next
            yield from before()
            if self._next == before:
                break
        if end and self._next == self._outside:
            yield from self._content(len(self._rest))

    def _outside(self) -> Iterator[Piece]:
        at = self._rest.find(BEGIN)
        if at < 0:
            held = next(n for n in range(len(BEGIN) - 1, -1, -1) if self._rest.endswith(BEGIN[:n]))
            yield from self._content(len(self._rest) - held)
            return
        yield from self._content(at)
        self._rest = self._rest[len(BEGIN) :]
        self._next = self._head

    def _content(self, length: int) -> Iterator[Piece]:
        """White space that only stands between calls is no content."""
        text, self._rest = self._rest[:length], self._rest[length:]
        if text and not (self._count and text.isspace()):
            yield ContentPiece(text)

    def _head(self) -> Iterator[Piece]:
        if head := _HEAD.match(self._rest):
            self._rest = self._rest[head.end() :]
            self._arguments = _ObjectEnd()
            self._next = self._inside
            self._count += 1
            yield CallPiece(self._count - 1, head[1], "")

    def _inside(self) -> Iterator[Piece]:
        length = self._arguments.find(self._rest)
        text, self._rest = self._rest[:length], self._rest[length:]
        if self._arguments.ended:
            self._next = self._tail
        if text:
            yield CallPiece(self._count - 1, None, text)

    def _tail(self) -> Iterator[Piece]:
        if self._rest.startswith(_TAIL):
            self._rest = self._rest[len(_TAIL) :]
            self._next = self._outside
        yield from ()


class _ObjectEnd:
    """Finds where a JSON object ends that comes in pieces."""

    _NEXT = re.compile(r'[{}\[\]"]')
    _IN_TEXT = re.compile(r'["\\]')

    def __init__(self) -> None:
        self._depth = 0
        self._in_text = self._escaped = False
        self.ended = False

    def find(self, text: str) -> int:
        """How much of the new text belongs to the object."""
        at = 0
        while at < len(text):
            if self._escaped:
                self._escaped, at = False, at + 1
                continue
            found = (self._IN_TEXT if self._in_text else self._NEXT).search(text, at)
            if not found:
                break
            at = found.end()
            self._take(found[0])
            if self.ended:
                return at
        return len(text)

    def _take(self, mark: str) -> None:
        if mark == "\\":
            self._escaped = True
        elif mark == '"':
            self._in_text = not self._in_text
        else:
            self._depth += 1 if mark in "{[" else -1
            self.ended = self._depth == 0
