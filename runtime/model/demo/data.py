"""The mixture of all documents, as plain prompts and as chats, alone or several on one stem.

Comes in: a seed. Goes out: an endless stream of `Stem`s or `Document`s, the same for the same seed. Nothing is
downloaded.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from runtime.model.demo import picture_tasks as pictures
from runtime.model.demo import question_tasks as questions
from runtime.model.demo import record_tasks as records
from runtime.model.demo import words
from runtime.model.demo.document import Document, Stem
from runtime.model.demo.scenes import draw_scene
from runtime.model.demo.words import Dice

SYSTEM, USER, ASSISTANT, END, IMAGE = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|image|>"

MIXTURE: tuple[tuple[int, Callable[[Dice], Document]], ...] = (
    (6, records.extraction),
    (24, records.plain_extraction),
    (10, records.keyed_extraction),
    (2, records.several_records),
    (2, records.shown_by_example),
    (4, records.one_value),
    (4, records.invention),
    (8, questions.about_a_person),
    (4, questions.sentiment),
    (6, questions.subject),
    (1, questions.picked),
    (1, questions.enumerated),
    (8, questions.repeated),
    (1, questions.story),
)
BY_HEART = (questions.arithmetic, questions.arithmetic, questions.about_the_world)
PICTURES, SHARED_TEXTS, FACTS = 0.34, 0.2, 0.05  # shares of the stems: pictures, records and facts, with many questions
FACTS_AT_ONCE = 15
QUESTIONS_A_PICTURE = 11
TASKS, TASK_WEIGHTS = [task for _, task in MIXTURE], [weight for weight, _ in MIXTURE]
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


def stems(seed: str, *, held_out: bool = False) -> Iterator[Stem]:
    """Stems without end: pictures and records with several questions each, and documents alone."""
    dice = Dice(random.Random(seed), held_out)
    while True:
        drawn = dice.rng.random()
        if drawn < PICTURES:
            yield picture(dice)
        elif drawn < PICTURES + SHARED_TEXTS:
            yield records.about_one_record(dice)
        elif drawn < PICTURES + SHARED_TEXTS + FACTS:
            yield Stem("", tuple(dice.pick(BY_HEART)(dice) for _ in range(FACTS_AT_ONCE)))
        else:
            yield Stem("", (_document(dice),))


def documents(seed: str, *, held_out: bool = False) -> Iterator[Document]:
    """Documents without end, text only: a task of the mixture each, three in ten of them as a chat."""
    dice = Dice(random.Random(seed), held_out)
    while True:
        yield _document(dice)


def _document(dice: Dice) -> Document:
    if dice.chance(0.04):
        return dialogue(dice)
    task = dice.pick(BY_HEART) if dice.chance(0.05) else dice.rng.choices(TASKS, TASK_WEIGHTS)[0]
    document = task(dice)
    return as_chat(dice, document) if dice.chance(0.3) else document


def picture(dice: Dice) -> Stem:
    """A picture with many questions, one in four as a chat."""
    scene = draw_scene(dice)
    asked = tuple(pictures.questions(dice, scene, QUESTIONS_A_PICTURE))
    if not dice.chance(0.25):
        return Stem(IMAGE, asked, scene)
    start = turn(SYSTEM, dice.pick(SYSTEM_TEXTS)) if dice.chance(0.4) else ""
    chats = tuple(
        replace(document, prompt=document.prompt.strip() + END + ASSISTANT, answer=document.answer.strip())
        for document in asked
    )
    return Stem(f"{start}{USER}{IMAGE}", chats, scene)


def of_picture_task(task: pictures.Task, seed: str, count: int) -> list[Document]:
    """`count` held-out documents of one task about a picture each, which their prompts begin with."""
    dice = Dice(random.Random(seed), held_out=True)
    found: list[Document] = []
    while len(found) < count:
        scene = draw_scene(dice)
        if document := task(dice, scene):
            found.append(replace(document, prompt=IMAGE + document.prompt, scene=scene))
    return found


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
