"""What the model is trained on: one prompt and its answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt and the answer that ends it. `task` names the score that the document counts for.

    Both are text in which `<|user|>` and its like stand for the special tokens; the first token of every document and
    the end token after every answer are added when it is encoded. `begun` is the part of a JSON answer that the prompt
    already holds.
    """

    task: str
    prompt: str
    answer: str
    begun: str = ""
