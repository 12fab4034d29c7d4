"""A backend without a model: answers are what a function says, bent to the constraint byte by byte.

Deterministic, quick, and asynchronous like the engine: callbacks come from a thread of its own.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import count
from typing import Any

from grammars.automaton import CROSS, DEAD, UNFILLED, ByteAutomaton, pack
from grammars.errors import BudgetError, ConformError
from grammars.spec import Spec
from runtime.api import CompletionOutput, GenerateRequest, RequestOutput, TokenLogprob, Usage
from runtime.errors import RequestAborted
from sgl_lite.backends.base import Capabilities, ChatTemplate, Conversation, OnFailure, OnOutput
from sgl_lite.chat.messages import SimpleTemplate

CHATML = SimpleTemplate(
    "chatml",
    before={role: f"<|im_start|>{role}\n" for role in ("system", "user", "assistant")},
    after=dict.fromkeys(("system", "user", "assistant"), "<|im_end|>\n"),
)


@cache
def automaton_of(spec: Spec) -> ByteAutomaton:
    """Loaded only by tests that constrain: most need no grammar."""
    from grammars import front_ends

    return front_ends.automaton_of(spec)


class Walker:
    """Steps through an automaton as the contract says."""

    def __init__(self, automaton: ByteAutomaton) -> None:
        self.automaton = automaton

    def step(self, state: int, byte: int) -> int:
        automaton, context, local = self.automaton, state >> 32, state & 0xFFFFFFFF
        if automaton.table[local, byte] == UNFILLED:
            automaton.fill(local)
        following = int(automaton.table[local, byte])
        if following == CROSS:
            return int(automaton.cross(context, local)[byte])
        return DEAD if following == DEAD else pack(context, following)

    def after(self, text: str, written: bool = True) -> int:
        """The state after `text`; `written`: it was there before, as a request's `constraint_prefix`."""
        state, data = self.automaton.start, text.encode()
        for offset, byte in enumerate(data):
            following = self.step(state, byte)
            if following == DEAD:
                raise ConformError(data, offset, "something else")
            state = following
        begin_at = getattr(self.automaton, "begin_at", None)
        return begin_at(state) if begin_at is not None and written and text else state

    def accepts(self, prefix: str, text: str) -> bool:
        state = self.after(prefix)
        for byte in text.encode():
            state = self.step(state, byte)
            if state == DEAD:
                return False
        return self.automaton.is_accepting(state)

    def bend(self, prefix: str, wish: str, budget: int) -> str:
        """`wish` as far as it is possible, then the shortest completion; at most `budget` bytes."""
        state, out = self.after(prefix), b""
        if self.automaton.min_bytes(state) > budget:
            raise BudgetError(budget, self.automaton.min_bytes(state))
        for byte in wish.encode():
            following = self.step(state, byte)
            if following == DEAD or len(out) + 1 + self.automaton.min_bytes(following) > budget:
                break
            state, out = following, out + bytes([byte])
        return (out + self.automaton.witness(state)).decode()


class FakeRequest:
    def __init__(self) -> None:
        self.aborted = threading.Event()

    def abort(self) -> None:
        self.aborted.set()


class FakeBackend:
    """answer: the request -> what the model would like to say. One token is one byte. `requests`: all that came in.

    gate: nothing is answered while it is cleared. pause: seconds between two pieces of a streamed answer.
    """

    def __init__(
        self,
        answer: Callable[[GenerateRequest], str] | str = "an answer",
        capabilities: Capabilities | None = None,
        template: ChatTemplate = CHATML,
    ) -> None:
        self.answer = answer if callable(answer) else lambda request: answer
        self.capabilities = capabilities or Capabilities()
        self.requests: list[GenerateRequest] = []
        self.conversations: list[Conversation | None] = []
        self.gate = threading.Event()
        self.gate.set()
        self.pause = 0.0
        self._template = template
        self._ids = count()
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue()
        threading.Thread(target=self._work, daemon=True).start()

    model_name = "fake"

    def generate(
        self,
        request: GenerateRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        conversation: Conversation | None = None,
        stream: bool = False,
    ) -> FakeRequest:
        self.requests.append(request)
        self.conversations.append(conversation)
        texts = [self._text(request) for _ in range(request.sampling.n)]
        pending = FakeRequest()
        self._jobs.put(lambda: self._run(request, texts, pending, on_output, on_failure, stream))
        return pending

    def _text(self, request: GenerateRequest) -> str:
        wish, budget = self.answer(request), request.sampling.max_tokens
        if request.constraint is None:
            text, accepts = wish.encode()[:budget].decode(errors="ignore"), lambda _: True
        else:
            walker = Walker(automaton_of(request.constraint))
            text = walker.bend(request.constraint_prefix, wish, budget)
            accepts = partial(walker.accepts, request.constraint_prefix)
        stops = sorted(
            (match.start() + len(stop), match.start())
            for stop in request.sampling.stop
            for match in re.finditer(re.escape(stop), text)
        )
        return next((text[:start] for _, start in stops if accepts(text[:start])), text)

    def _run(
        self,
        request: GenerateRequest,
        texts: list[str],
        pending: FakeRequest,
        on_output: OnOutput,
        on_failure: OnFailure,
        stream: bool,
    ) -> None:
        self.gate.wait(10)
        ids = tuple(request.prompt) if not isinstance(request.prompt, str) else self.encode(request.prompt)
        name = f"fake-{next(self._ids)}"
        for end in range(1, len(texts[0]) if stream else 1):
            if pending.aborted.is_set():
                break
            time.sleep(self.pause)
            part = CompletionOutput(0, texts[0][:end], ())
            on_output(RequestOutput(name, ids, (part,), False))
        if pending.aborted.is_set():
            on_failure(RequestAborted(f"request {name} was aborted"))
            return
        try:
            outputs = tuple(CompletionOutput(i, text, self.encode(text), "stop") for i, text in enumerate(texts))
            usage = Usage(len(ids), len(ids) // 2, len(texts[0].encode()))
            on_output(RequestOutput(name, ids, outputs, True, usage, prompt_logprobs=self._scores(request, ids)))
        except Exception as error:
            on_failure(error)

    def _scores(self, request: GenerateRequest, ids: Sequence[int]) -> tuple[TokenLogprob | None, ...] | None:
        """Every byte has a fixed log-probability: the later in the alphabet, the less likely."""
        if request.sampling.prompt_logprobs is None:
            return None
        start = request.sampling.prompt_logprobs_start
        return tuple(TokenLogprob(i, -(i % 32) / 8) if at else None for at, i in enumerate(ids[start:], start))

    def check_constraint(self, spec: Spec, text: str = "", complete: bool = False) -> None:
        automaton = automaton_of(spec)
        state = Walker(automaton).after(text)
        if complete and not automaton.is_accepting(state):
            raise ConformError(text.encode(), len(text.encode()), "more text")

    def encode(self, text: str, special_tokens: bool = True) -> tuple[int, ...]:
        return tuple(text.encode())

    def decode(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode(errors="replace")

    def chat_template(self) -> ChatTemplate:
        return self._template

    def flush_cache(self) -> None:
        self.requests.clear()

    def server_info(self) -> Mapping[str, Any]:
        return {"model_path": self.model_name}

    def shutdown(self) -> None:
        pass

    def _work(self) -> None:
        while True:
            self._jobs.get()()
