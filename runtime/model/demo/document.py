"""What the model is trained on: prompts and their answers, and what several prompts share."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.model.demo.scenes import Scene


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt and the answer that ends it. `task` names the score that the document counts for.

    Both are text in which `<|user|>` and its like stand for the special tokens; the first token of every document and
    the end token after every answer are added when it is encoded. `begun` is the part of a JSON answer that the prompt
    already holds. `scene` is the picture that the prompt's image token stands for.
    """

    task: str
    prompt: str
    answer: str
    begun: str = ""
    scene: Scene | None = None


@dataclass(frozen=True, slots=True)
class Stem:
    """A beginning that several documents share: their prompts go on from `prompt`, each as if it were alone.

    The picture or text is read once for all of them. A document that shares nothing is a stem of one, with no prompt.
    """

    prompt: str
    branches: tuple[Document, ...]
    scene: Scene | None = None
