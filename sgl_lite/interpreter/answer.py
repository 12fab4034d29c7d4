"""One gen under way: sends its request, draws again what does not pass its `check`, and hands over the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from runtime.api import GenerateRequest, RequestOutput
from sgl_lite.backends.base import Conversation
from sgl_lite.errors import CheckError
from sgl_lite.interpreter.meta import meta_of
from sgl_lite.interpreter.run import Run, advancing
from sgl_lite.nodes import Gen

Done = Callable[[list[str], list[str], dict[str, Any]], None]


class Answer:
    """One of done(answers, thoughts, meta) and failed(error) is called once; growing(text) before, while streaming.

    parse: reads an answer for `check`; None: it is checked as text. thoughts: one an answer, "" without reasoning.
    """

    def __init__(
        self,
        run: Run,
        node: Gen,
        parse: Callable[[str], Any] | None,
        request: GenerateRequest,
        conversation: Conversation | None,
        *,
        growing: Callable[[str], None],
        done: Done,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._run, self._node, self._parse = run, node, parse
        self._request, self._conversation = request, conversation
        self._growing, self._done, self._failed = growing, done, failed
        self._tried: list[str] = []

    def start(self) -> None:
        """Send the request. Errors: what the backend refuses at once."""
        self._run.send(self._request, self._on_output, self._failed, self._conversation)

    def _on_output(self, output: RequestOutput) -> None:
        """In the engine's thread, so the user's own `check` is called in another."""
        if output.finished:
            if self._node.check is None:
                self._guarded(self._finish, output)
            else:
                advancing().submit(self._guarded, self._examine, output)
        elif self._node.check is None and self._node.reasoning is None:  # else it may not be the answer
            self._growing(output.outputs[0].text)

    def _guarded(self, step: Callable[[RequestOutput], None], output: RequestOutput) -> None:
        try:
            step(output)
        except Exception as error:
            self._failed(error)

    def _examine(self, output: RequestOutput) -> None:
        check, parse = self._node.check, self._parse
        assert check is not None
        texts = [one.text for one in output.outputs]
        if all(check(parse(text) if parse else text) for text in texts):
            self._finish(output)
            return
        self._tried += texts
        if len(self._tried) > self._node.retries * len(texts):
            tried = tuple(self._tried)
            raise CheckError(f"no answer passed the check of {self._node.label()}; tried: {list(tried)}", tried)
        sampling = self._request.sampling
        if sampling.seed is not None:  # the same seed would draw the same answer
            sampling = replace(sampling, seed=sampling.seed + 1)
        self._request = replace(self._request, sampling=sampling, timeout=self._run.remaining())
        self.start()

    def _finish(self, output: RequestOutput) -> None:
        texts, thoughts = [one.text for one in output.outputs], [""] * len(output.outputs)
        if self._node.reasoning is not None:
            thoughts, texts = map(list, zip(*map(self._node.reasoning.split, texts), strict=True))
        with_text = self._node.settings.over(self._run.settings).return_text_in_logprobs
        self._done(texts, thoughts, meta_of(output, self._run.backend.decode if with_text else None))
