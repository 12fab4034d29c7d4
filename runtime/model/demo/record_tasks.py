"""Documents that ask for JSON: extract a record from prose, or invent one.

Comes in: `Dice`. Goes out: a `Document`, prompt and answer. A prompt may already hold the first characters of the
answer, as when a program writes `{` and lets the model go on.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from runtime.model.demo import words
from runtime.model.demo.document import Document, Stem
from runtime.model.demo.records import KINDS, PERSON, Facts, Kind, Record, aliased, draw_record
from runtime.model.demo.words import Dice

TYPE_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array", dict: "object"}


def written(dice: Dice, value: Any, spread: float) -> str:
    """`value` as JSON: over several lines for a `spread` of the documents, else on one line."""
    if dice.chance(spread):
        return json.dumps(value, indent=2 if dice.chance(0.85) else 4, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":") if dice.chance(0.08) else None)


def answered(dice: Dice, task: str, prompt: str, value: Any) -> Document:
    """The document whose answer is `value`. After "JSON:" comes a space, a line break or nothing, then the object."""
    gap = "" if prompt.endswith("\n") else dice.pick([" ", " ", "", "", "\n"])
    text = written(dice, value, 0.5 if (prompt + gap).endswith("\n") else 0.15)
    if dice.chance(0.2):  # the program wrote the answer's beginning
        places = [match.end() for match in re.finditer(r'\{\n?|: "?|, |,\n', text)]
        cut = places[0] if dice.chance(0.6) else dice.pick(places)
        return Document(task, prompt + gap + text[:cut], text[cut:], begun=text[:cut])
    return Document(task, prompt, gap + text)


def _request(dice: Dice, noun: str) -> str:
    """A line that asks for the record of a text. Ends without a line break."""
    return dice.pick(
        [
            f"Extract the {noun} from the text.",
            f"Extract the {noun} as JSON.",
            f"Extract {words.with_article(noun)} from this text as JSON.",
            f"Write the {noun} as JSON.",
            "Convert the text to JSON.",
            f"Return the {noun} as a JSON object.",
            "Turn this into JSON.",
        ]
    )


def extraction_prompt(dice: Dice, noun: str, text: str) -> str:
    """All the ways to ask for the JSON of `text` that name no keys."""
    return dice.pick(
        [
            f"Extract the {noun} from: {text}\nJSON:",
            f"Extract the {noun}: {text}\nJSON:",
            f"{text}\nJSON:",
            f"{text}\n{noun.title()}:",
            f"{text}\n\n{_request(dice, noun)}\n",
            f"{_request(dice, noun)}\n{text}\n",
            f"{_request(dice, noun)}\n\nText: {text}\nJSON:",
            f"{_request(dice, noun)} {text}\n",
            f"Text: {text}\n{_request(dice, noun)}\nJSON:",
            f"Text: {text}\nJSON:",
            f"{text}\n",
        ]
    )


def _keyed_prompt(dice: Dice, noun: str, text: str, value: Facts) -> str:
    """All the ways to ask for certain keys of `text`."""
    keys = list(value)
    typed = {key: TYPE_NAMES[type(item)] for key, item in value.items()}
    properties = {key: {"type": name} for key, name in typed.items()}
    return dice.pick(
        [
            f"Text: {text}\nKeys: {', '.join(keys)}\nJSON:",
            f"{text}\nKeys: {', '.join(keys)}\nJSON:",
            f"Extract {', '.join(keys)} from: {text}\nJSON:",
            f"Extract the {noun} with the keys {words.listed(keys)}.\n{text}\nJSON:",
            f"{text}\n\nReturn a JSON object with the keys {words.listed(keys)}.\n",
            f"Schema: {json.dumps(typed)}\nText: {text}\nJSON:",
            f"Text: {text}\nSchema: {json.dumps({'type': 'object', 'properties': properties})}\nJSON:",
        ]
    )


def extraction(dice: Dice) -> Document:
    """A record from its prose. Mostly all facts in the kind's order; else others, so that any key can be asked for."""
    record = draw_record(dice)
    names = aliased(dice, record, 0.2)
    fields = list(record.values)
    if dice.chance(0.25):
        fields = dice.some(fields, max(1, len(fields) - 2), len(fields))
    value = {names[field]: record.values[field] for field in fields}
    return answered(dice, "records", extraction_prompt(dice, record.kind.noun, record.text), value)


def plain_extraction(dice: Dice) -> Document:
    """The record of all facts told, under their own names: the one right answer that the scores look for."""
    record = draw_record(dice)
    return answered(dice, "records", extraction_prompt(dice, record.kind.noun, record.text), record.values)


def keyed_extraction(dice: Dice) -> Document:
    """The facts that the prompt lists, under the names and in the order it gives."""
    record = draw_record(dice, most_extras=6)
    names = aliased(dice, record, 0.4)
    value = {names[field]: record.values[field] for field in dice.some(list(record.values), 1, 7)}
    return answered(dice, "keyed records", _keyed_prompt(dice, record.kind.noun, record.text, value), value)


def about_one_record(dice: Dice) -> Stem:
    """One text with several questions: its record, some of its facts, single values."""
    record = draw_record(dice, most_extras=5)
    label, gap = dice.pick((("Text: ", "\n"), ("", "\n"), ("", "\n\n")))
    noun, values = record.kind.noun, record.values
    whole = [f"{noun.title()}:", f"{_request(dice, noun)}\n", f"{_request(dice, noun)}\nJSON:", "JSON:"]
    branches = [answered(dice, "records", dice.pick(whole), values)]
    for _ in range(dice.number(2, 4)):
        names = aliased(dice, record, 0.4)
        some = {names[field]: values[field] for field in dice.some(list(values), 1, 6)}
        keys = ", ".join(some)
        asks = [f"Keys: {keys}\nJSON:", f"Return a JSON object with the keys {words.listed(list(some))}.\n"]
        branches.append(answered(dice, "keyed records", dice.pick(asks), some))
    single = dice.some([field for field in values if _is_single(values[field])], 0, 4)
    branches.extend(_value_of(dice, field, values[field]) for field in single)
    return Stem(f"{label}{record.text}{gap}", tuple(branches))


def several_records(dice: Dice) -> Document:
    """Two to four records of one kind, as an array."""
    kind = dice.pick(KINDS)
    records = [draw_record(dice, kind, most_extras=1) for _ in range(dice.pick([2, 2, 2, 3, 3, 4]))]
    text = dice.pick([" ", "\n"]).join(record.text for record in records)
    prompt = dice.pick(
        [
            f"{text}\nJSON array:",
            f"Text: {text}\nJSON array:",
            f"Extract all {kind.noun}s from: {text}\nJSON:",
            f"List the {kind.noun}s as a JSON array.\n{text}\n",
        ]
    )
    return answered(dice, "lists of records", prompt, [record.values for record in records])


def shown_by_example(dice: Dice) -> Document:
    """A record after one to eleven worked examples with the same keys."""
    kind = dice.pick(KINDS)
    lead = dice.pick(kind.leads)
    single = Kind(kind.noun, kind.draw, (lead,), kind.extras, kind.aliases)
    label = dice.pick(["Text", "Input", kind.noun.title()])
    target = dice.pick(["JSON", "Output"])
    records = [draw_record(dice, single, most_extras=0) for _ in range(dice.pick([2, 3, 4, 6, 12]))]
    *shown, last = [(record.text, json.dumps(record.values)) for record in records]
    examples = "".join(f"{label}: {text}\n{target}: {value}\n\n" for text, value in shown)
    return Document("records by example", f"{examples}{label}: {last[0]}\n{target}:", f" {last[1]}")


def one_value(dice: Dice) -> Document:
    """One fact of a record, not as JSON."""
    record: Record = draw_record(dice)
    field = dice.pick([field for field, value in record.values.items() if _is_single(value)])
    document = _value_of(dice, field, record.values[field])
    return replace(document, prompt=f"{record.text}\n{document.prompt}")


def _is_single(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _value_of(dice: Dice, field: str, value: str | int | float) -> Document:
    label = dice.pick([field, field.replace("_", " ").title()])
    return Document("values", f"{label}:", f" {value}" if dice.chance(0.7) else str(value))


def invention(dice: Dice) -> Document:
    """A record that the model makes up, about somebody if the prompt names somebody."""
    kind = dice.pick([PERSON, PERSON, *KINDS])
    record = draw_record(dice, kind, most_extras=5)
    value = dict(record.values)
    noun = kind.noun
    asks = [f"Generate {words.with_article(noun)} profile:", f"Generate {words.with_article(noun)}:"]
    asks += [f"Generate {words.with_article(noun)} as JSON:", f"Write {words.with_article(noun)} as JSON:"]
    asks += [f"A {noun} in JSON:", f"Create a JSON object for {words.with_article(noun)}.\n", f"{noun.title()}:"]
    subject = value.get("name")
    if subject and dice.chance(0.6):
        asks = [f"Generate profile for {subject}:", f"Generate a profile for {subject}:", f"Profile of {subject}:"]
        asks += [f"{noun.title()} profile of {subject} in JSON:", f"Write a JSON profile for {subject}.\n"]
        asks += [f"Describe {subject} as JSON:", f"Tell me about {subject} as JSON:"]
    order = list(value) if dice.chance(0.6) else dice.some(list(value), len(value), len(value))
    return answered(dice, "inventions", dice.pick(asks), {field: value[field] for field in order})
