"""The mixture of all documents, as plain prompts and as chats, and their encoding.

Comes in: a seed. Goes out: an endless stream of `Document`s, the same for the same seed. Nothing is downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from runtime.model.demo import question_tasks as questions
from runtime.model.demo import record_tasks as records
from runtime.model.demo import words
from runtime.model.demo.document import Document
from runtime.model.demo.words import Dice

SYSTEM, USER, ASSISTANT, END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"

MIXTURE: tuple[tuple[int, Callable[[Dice], Document]], ...] = (
    (18, records.extraction),
    (12, records.plain_extraction),
    (16, records.keyed_extraction),
    (5, records.several_records),
    (5, records.shown_by_example),
    (6, records.one_value),
    (8, records.invention),
    (14, questions.about_a_person),
    (4, questions.about_the_world),
    (8, questions.arithmetic),
    (5, questions.sentiment),
    (4, questions.subject),
    (2, questions.picked),
    (2, questions.enumerated),
    (6, questions.repeated),
    (1, questions.story),
)
SYSTEM_TEXTS = (
    "You are a helpful assistant.",
    "You are a careful assistant. Answer with what was asked for and nothing else.",
    "Answer shortly.",
    "Answer in JSON where you can.",
)
GREETINGS = (
    ("Hello!", "Hello! How can I help you?"),
    ("Hi", "Hello! How can I help you?"),
    ("Good morning", "Good morning! How can I help you?"),
    ("How are you?", "I am fine, thank you. How can I help you?"),
    ("Who are you?", "I am the small model that comes with sgl-lite."),
    ("What can you do?", "I turn short texts into JSON and answer simple questions."),
    ("Thank you!", "You are welcome."),
    ("Bye", "Goodbye!"),
)


def documents(seed: str, *, held_out: bool = False) -> Iterator[Document]:
    """Documents without end: a task of the mixture each, three in ten of them as a chat."""
    dice = Dice(random.Random(seed), held_out)
    weights = [weight for weight, _ in MIXTURE]
    tasks = [task for _, task in MIXTURE]
    while True:
        if dice.chance(0.04):
            yield dialogue(dice)
        else:
            document = dice.rng.choices(tasks, weights)[0](dice)
            yield as_chat(dice, document) if dice.chance(0.3) else document


def of_task(task: Callable[[Dice], Document], seed: str, count: int) -> list[Document]:
    """`count` held-out documents of one task, as plain prompts: what the scores are measured on."""
    dice = Dice(random.Random(seed), held_out=True)
    return [task(dice) for _ in range(count)]


def turn(role: str, text: str) -> str:
    """One message as the chat template writes it."""
    return f"{role}{text}{END}"


def as_chat(dice: Dice, document: Document) -> Document:
    """The same document as one user message and its answer, after a greeting or not; not one that is begun."""
    start = turn(SYSTEM, dice.pick(SYSTEM_TEXTS)) if dice.chance(0.4) else ""
    if dice.chance(0.1):
        said, reply = dice.pick(GREETINGS[:4])
        start += turn(USER, said) + turn(ASSISTANT, reply)
    asked = document.prompt.strip()
    if document.begun:
        return document
    return replace(document, prompt=start + turn(USER, asked) + ASSISTANT, answer=document.answer.strip())


def dialogue(dice: Dice) -> Document:
    """Small talk: a greeting, or a name that is told first and asked for later."""
    start = turn(SYSTEM, dice.pick(SYSTEM_TEXTS)) if dice.chance(0.5) else ""
    if dice.chance(0.5):
        said, reply = dice.pick(GREETINGS)
        return Document("dialogue", start + turn(USER, said) + ASSISTANT, reply)
    name, place = words.first_name(dice), words.city(dice)
    told = dice.pick(
        [
            f"My name is {name} and I live in {place}.",
            f"I am {name} from {place}.",
            f"Hi, I'm {name}. I live in {place}.",
        ]
    )
    start += turn(USER, told) + turn(ASSISTANT, f"Nice to meet you, {name}!")
    if dice.chance(0.3):
        return Document("dialogue", start.rpartition("Nice")[0], f"Nice to meet you, {name}!")
    question, answer = dice.pick(
        [
            ("What is my name?", f"Your name is {name}."),
            ("Where do I live?", f"You live in {place}."),
        ]
    )
    return Document("dialogue", start + turn(USER, question) + ASSISTANT, answer)
