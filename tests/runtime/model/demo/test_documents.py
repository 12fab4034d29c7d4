"""The training documents: the same for the same seed, JSON that parses, two splits that share no name."""

from __future__ import annotations

import json
import random
from itertools import islice

import pytest

from runtime.model.demo import question_tasks, record_tasks, words
from runtime.model.demo.data import as_chat, documents, of_task
from runtime.model.demo.records import KINDS, draw_record, fields_of
from runtime.model.demo.words import Dice

JSON_TASKS = [
    record_tasks.extraction,
    record_tasks.plain_extraction,
    record_tasks.keyed_extraction,
    record_tasks.several_records,
    record_tasks.shown_by_example,
    record_tasks.invention,
]


def dice(seed: int, held_out: bool = False) -> Dice:
    return Dice(random.Random(seed), held_out)


def test_the_same_seed_gives_the_same_documents() -> None:
    first, again, other = (list(islice(documents(seed), 300)) for seed in ("a", "a", "b"))
    assert first == again
    assert first != other


@pytest.mark.parametrize("task", JSON_TASKS, ids=lambda task: task.__name__)
def test_answers_are_json_together_with_what_the_prompt_began(task) -> None:
    for document in of_task(task, "json", 200):
        assert document.prompt.endswith(document.begun)
        json.loads(document.begun + document.answer)


@pytest.mark.parametrize("kind", {kind.noun: kind for kind in KINDS}.values(), ids=lambda kind: kind.noun)
def test_a_record_tells_exactly_its_values(kind) -> None:
    source = dice(1)
    for _ in range(100):
        record = draw_record(source, kind)
        assert list(record.values) == [field for field in kind.draw(dice(2)) if field in record.values]
        for value in record.values.values():
            if isinstance(value, str) and value.count("-") != 2:
                assert value in record.text
        assert "{" not in record.text


def test_every_template_names_facts_of_its_kind() -> None:
    for kind in KINDS:
        facts = kind.draw(dice(3))
        for template in (*kind.leads, *kind.extras):
            assert fields_of(template) <= set(facts), template
        assert set(kind.aliases) <= set(facts)


def test_held_out_names_are_never_trained_on() -> None:
    trained, kept = ({words.full_name(dice(seed, held_out)) for seed in range(500)} for held_out in (False, True))
    parts = [{part for name in names for part in name.split()} for names in (trained, kept)]
    assert not parts[0] & parts[1]
    assert len(parts[1]) > 100


def test_sums_are_right() -> None:
    for held_out in (False, True):
        source = dice(4, held_out)
        for _ in range(200):
            document = question_tasks.arithmetic(source)
            numbers = "".join(char if char.isdigit() else " " for char in document.prompt).split()
            one, other = map(int, numbers)
            sign = next(sign for sign in ("+", "-", "*", "plus", "minus", "times") if f" {sign} " in document.prompt)
            result = one + other if sign in "+plus" else one - other if sign in "-minus" else one * other
            assert int(document.answer) == result


def test_a_question_about_a_person_is_answered_by_the_text() -> None:
    for document in of_task(question_tasks.about_a_person, "people", 200):
        if document.task == "questions":
            assert document.answer.strip() in document.prompt


def test_a_chat_asks_the_same_and_ends_with_the_assistant() -> None:
    source = dice(5)
    for _ in range(50):
        document = record_tasks.plain_extraction(source)
        chat = as_chat(source, document)
        if chat is not document:
            assert document.prompt.strip() in chat.prompt
            assert chat.prompt.endswith("<|assistant|>")
            assert chat.answer == document.answer.strip()
