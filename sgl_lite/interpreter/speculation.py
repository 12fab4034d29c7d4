"""Answers read ahead, for APIs that charge by the call (`@function(num_api_spec_tokens=...)`).

In: what a completion model wrote past the stop of a gen. Out: the next gens' answers, as long as the program's text
between them is what the model wrote itself. Given that, they are drawn as if they had been asked for one by one. Knows
no backend.
"""

from __future__ import annotations

from dataclasses import replace

from runtime.api import SamplingParams


class Speculation:
    """One state's text ahead.

    least: the fewest tokens worth reading ahead; gens that may not be as long are asked plainly.
    """

    def __init__(self, least: int) -> None:
        self.least = least
        self._ahead = ""
        self._drawn: SamplingParams | None = None

    def applies(self, sampling: SamplingParams) -> bool:
        """Whether an answer so drawn can be read ahead: one answer that ends at a text, long enough."""
        return bool(sampling.stop) and sampling.n == 1 and not sampling.stop_regex and sampling.max_tokens >= self.least

    def drop(self) -> None:
        """Something else is written: what is ahead is lost."""
        self._ahead = ""

    def wrote(self, text: str) -> None:
        """The program added text: what is ahead goes on behind it, or is lost."""
        self._ahead = self._ahead[len(text) :] if self._ahead.startswith(text) else ""

    def take(self, sampling: SamplingParams) -> tuple[str, str] | None:
        """An answer that is ahead, and its stop; None if it must be asked for."""
        alike = self._drawn is not None and replace(self._drawn, stop=sampling.stop) == sampling
        found = self._find(sampling) if alike and self.applies(sampling) else None
        if found is None:
            self._ahead = ""
            return None
        at, stop = found
        answer, self._ahead = self._ahead[:at], self._ahead[at:]
        return answer, stop

    def cut(self, text: str, sampling: SamplingParams) -> tuple[str, str | None]:
        """An answer asked for without its stops: the part that it would have been with them, and the stop."""
        self._ahead, self._drawn = text, sampling
        found = self._find(sampling)
        at, stop = found if found is not None else (len(text), None)
        self._ahead = text[at:]
        return text[:at], stop

    def _find(self, sampling: SamplingParams) -> tuple[int, str] | None:
        """The stop that ends first, and where it begins."""
        found = [(self._ahead.find(stop) + len(stop), stop) for stop in sampling.stop if stop in self._ahead]
        return next(((end - len(stop), stop) for end, stop in sorted(found)), None)
