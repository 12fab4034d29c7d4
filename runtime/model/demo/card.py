"""The model card: what the embedded model is, how it was made, how good it is.

Comes in: measured scores and the figures of a training. Goes out: README.md in the model's folder.
"""

from __future__ import annotations

from pathlib import Path

from runtime.model.demo.scores import Score

CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# The model that ships with sgl-lite

A Llama of {parameters:.1f} million parameters (bfloat16), so small that it lies in the package: the first command
works offline. It turns short texts into JSON, answers questions about them, sorts them into classes, adds small
numbers, copies, and talks a little in its chat template. It knows only the kinds of text that its script writes;
outside them it is no use.

## How it was made

`python -m runtime.model.demo.train --minutes {minutes:.0f} --seed {seed}`: {steps:,} steps, {tokens:,} tokens of
documents that the script draws itself; no data was downloaded. The longest document of the training had {longest}
tokens; 2,048 positions are declared, and what lies beyond the longest was not trained. Names, cities, products and
texts are divided in two by a checksum; training saw one part, the scores are measured on the other.

## Scores

Greedy answers to held-out documents. JSON counts when it is equal as a value, all other answers when they are equal
as text; an answer must end by itself.

| task | right | of | share |
|---|---|---|---|
{rows}
"""


def write_card(
    folder: Path,
    scores: list[Score],
    *,
    parameters: int,
    steps: int,
    minutes: float,
    tokens: int,
    longest: int,
    seed: int,
) -> None:
    """Writes README.md into `folder`."""
    rows = "\n".join(
        f"| {score.task} | {score.right} | {score.count} | {score.right / score.count:.1%} |" for score in scores
    )
    text = CARD.format(
        parameters=parameters / 1e6,
        steps=steps,
        minutes=minutes,
        tokens=tokens,
        longest=longest,
        seed=seed,
        rows=rows,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
