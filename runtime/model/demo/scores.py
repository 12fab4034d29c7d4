"""How good the model is, on documents whose names and values, and scenes whose contents, it never saw.

`python -m runtime.model.demo.scores DIR` prints the scores of a model's folder.
Comes in: a model and its tokenizer. Goes out: a share of right answers for each task. An answer is right when it is
equal as JSON, where the task is JSON, and else equal as text without the white space around it; its end token counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from runtime.model.demo import picture_tasks as pictures
from runtime.model.demo import question_tasks as questions
from runtime.model.demo import record_tasks as records
from runtime.model.demo.data import IMAGE, of_picture_task, of_task
from runtime.model.demo.document import Document
from runtime.model.demo.growth import read_model
from runtime.model.demo.network import IMAGE_TOKENS
from runtime.model.demo.patch_labels import pixels_of
from runtime.model.demo.words import Dice

SCORED: dict[str, Callable[[Dice], Document]] = {
    "records (JSON of all facts)": records.plain_extraction,
    "keyed records (JSON of the named facts)": records.keyed_extraction,
    "lists of records (JSON array)": records.several_records,
    "records by example": records.shown_by_example,
    "single values": records.one_value,
    "questions about a text": questions.about_a_person,
    "sentiment": questions.sentiment,
    "subjects": questions.subject,
    "arithmetic (seen in training)": questions.arithmetic,
    "copies": questions.repeated,
    "facts (seen in training)": questions.about_the_world,
}


SCORED_PICTURES: dict[str, pictures.Task] = {
    f"pictures: {name}": pictures.QUESTIONS[name] for name in pictures.QUESTIONS
}


@dataclass(frozen=True, slots=True)
class Score:
    """`right` of `count` answers to a task."""

    task: str
    right: int
    count: int


def load_model(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A saved model in float32, on the GPU if there is one, and its tokenizer."""
    model: Any = read_model(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, count: int = 200) -> list[Score]:
    """The score of each task, over `count` documents of each, greedily answered; of pictures if the model sees."""
    drawn = {name: of_task(task, f"score {name}", count) for name, task in SCORED.items()}
    if hasattr(model.config, "vision_config"):
        drawn |= {name: of_picture_task(task, f"score {name}", count) for name, task in SCORED_PICTURES.items()}
    scores = []
    for name, asked in drawn.items():
        given = answers(model, tokenizer, asked)
        right = sum(is_right(document, text) for document, text in zip(asked, given, strict=True))
        scores.append(Score(name, right, count))
        print(f"{name}: {right} of {count}", flush=True)
    return scores


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: Sequence[Document], batch_size: int = 50
) -> list[str]:
    """The model's greedy answers, in order; one that does not end within 512 tokens stays unfinished."""
    order = sorted(range(len(asked)), key=lambda index: len(asked[index].prompt))
    given = [""] * len(asked)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        prompts = [asked[row].prompt.replace(IMAGE, IMAGE * IMAGE_TOKENS) for row in rows]
        inputs = dict(tokenizer(prompts, return_tensors="pt", padding=True, return_token_type_ids=False))
        if scenes := [scene for row in rows if (scene := asked[row].scene)]:
            inputs["pixel_values"] = pixels_of(scenes).to(model.dtype)
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        with torch.inference_mode():
            output = model.generate(**inputs, do_sample=False, max_new_tokens=512)  # type: ignore[operator]
        for row, text in zip(rows, tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :]), strict=True):
            given[row] = text.split(tokenizer.eos_token)[0] if tokenizer.eos_token in text else text
    return given


def is_right(document: Document, text: str) -> bool:
    """Whether `text` is the document's answer: as JSON, together with what the prompt began, or letter for letter."""
    if text.strip() == document.answer.strip():
        return True
    try:
        given, expected = json.loads(document.begun + text), json.loads(document.begun + document.answer)
    except ValueError:
        return False
    return isinstance(expected, dict | list) and bool(given == expected)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the scores of an embedded model.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200, help="documents of each task")
    arguments = parser.parse_args()
    measure(*load_model(arguments.folder), arguments.count)


if __name__ == "__main__":
    main()
