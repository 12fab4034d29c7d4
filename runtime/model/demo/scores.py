"""How good the model is, on documents whose names and values it never saw.

Comes in: a model and its tokenizer. Goes out: a share of right answers for each task. An answer is right when it is
equal as JSON, where the task is JSON, and else equal as text without the white space around it; its end token counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from runtime.model.demo import question_tasks as questions
from runtime.model.demo import record_tasks as records
from runtime.model.demo.data import of_task
from runtime.model.demo.document import Document
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
    "arithmetic": questions.arithmetic,
    "copies": questions.repeated,
    "facts (seen in training)": questions.about_the_world,
}


@dataclass(frozen=True, slots=True)
class Score:
    """`right` of `count` answers to a task."""

    task: str
    right: int
    count: int


def measure(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int = 200) -> list[Score]:
    """The score of each task, over `count` documents of each, greedily answered."""
    scores = []
    for name, task in SCORED.items():
        asked = of_task(task, f"score {name}", count)
        given = answers(model, tokenizer, [document.prompt for document in asked])
        right = sum(is_right(document, text) for document, text in zip(asked, given, strict=True))
        scores.append(Score(name, right, count))
        print(f"{name}: {right} of {count}", flush=True)
    return scores


def answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[str], batch_size: int = 50
) -> list[str]:
    """The model's greedy answers, in order; one that does not end within 512 tokens stays unfinished."""
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    given = [""] * len(prompts)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer([prompts[row] for row in rows], return_tensors="pt", padding=True).to(model.device)
        with torch.inference_mode():
            output = model.generate(  # type: ignore[misc]
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                do_sample=False,
                max_new_tokens=512,
            )
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
