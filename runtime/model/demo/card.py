"""The model card: what the embedded model is, how it was made, how good it is.

Comes in: measured scores and the figures of a training. Goes out: README.md in the model's folder.
"""

from __future__ import annotations

from pathlib import Path

from runtime.model.demo.checkpoint import Progress
from runtime.model.demo.network import IMAGE_SIZE, IMAGE_TOKENS
from runtime.model.demo.scores import Score

CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: image-text-to-text
---

# The model that ships with sgl-lite

A LLaVA of {parameters:.1f} million parameters (bfloat16): a SigLIP tower and a Llama, so small that it lies in the
package: the first command works offline. It answers questions about pictures of coloured shapes and digits, turns
short texts into JSON, answers questions about them, sorts them into classes, adds small numbers, copies, and talks a
little in its chat template. It knows only the kinds of picture and text that its script draws and writes; outside
them it is no use.

A picture of any size is resized to {side} x {side} pixels and takes {image_tokens} tokens. It should come before the
question, which reads best as `Question: How many circles are there?` with `Answer:` on the next line.

## How it was made

`{command}`: first {pictures:,} pictures from which the tower alone
learned what each patch shows, then {steps:,} steps over {tokens:,} tokens of documents. The script draws and writes
all of it itself; no data was downloaded. {beginning}The longest document of the
training had {longest} tokens; 2,048 positions are declared, and what lies beyond the longest was not trained. Names,
cities, products, texts and the contents of pictures are divided in two by a checksum; training saw
one part, the scores are measured on the other.

## Scores

Greedy answers to held-out documents. JSON counts when it is equal as a value, all other answers when they are equal
as text; an answer must end by itself.

| task | right | of | share |
|---|---|---|---|
{rows}
"""

STARTED = "Words and first weights are those of an earlier model of the same script. "


def write_card(
    folder: Path, scores: list[Score], progress: Progress, *, parameters: int, seed: int, start: Path | None
) -> None:
    """Writes README.md into `folder`."""
    rows = "\n".join(
        f"| {score.task} | {score.right} | {score.count} | {score.right / score.count:.1%} |" for score in scores
    )
    given = f" --minutes {progress.seconds / 60:.0f} --seed {seed}" + (" --start EARLIER" if start else "")
    text = CARD.format(
        parameters=parameters / 1e6,
        side=IMAGE_SIZE,
        image_tokens=IMAGE_TOKENS,
        command=f"python -m runtime.model.demo.train{given}",
        beginning=STARTED if start else "",
        pictures=progress.pictures,
        steps=progress.steps,
        tokens=progress.tokens,
        longest=progress.longest,
        rows=rows,
    )
    (folder / "README.md").write_text(text, encoding="utf-8")
