"""Words that the training documents are made of, and the rule that keeps some of them for the scores.

Comes in: a `random.Random`. Goes out: names, places and phrases. Every open-ended value (a name, a city, a product)
belongs for ever to one of two splits, by its checksum; the scores use only values of the split that training never saw.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Item = TypeVar("Item")

LETTERS = "aaaeeeeiiioooubcdfghjklmnpqrstvwxyz" * 4 + "áäçéèêíñóöøúüß"
HELD_OUT_SHARE = 8  # one value in eight is kept for the scores


def _read_lists() -> dict[str, tuple[str, ...]]:
    """The lists of `words.txt`: a name and a colon, then the words, indented and between semicolons."""
    lists: dict[str, str] = {}
    name = ""
    for line in (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            lists[name] += " " + line.strip()
        elif line.endswith(":"):
            name = line.removesuffix(":")
            lists[name] = ""
    return {
        name: tuple("" if word.strip() == "-" else word.strip() for word in text.split(";"))
        for name, text in lists.items()
    }


LISTS: Mapping[str, tuple[str, ...]] = _read_lists()
MONTHS, THINGS, CITIES, COLOURS = LISTS["months"], LISTS["things"], LISTS["cities"], LISTS["colours"]
STREETS, DOMAINS = LISTS["streets"], LISTS["domains"]


def pairs(name: str) -> list[tuple[str, str]]:
    """A list whose entries read `one = other`."""
    return [(one, other) for one, _, other in (entry.partition(" = ") for entry in LISTS[name])]


@dataclass(frozen=True, slots=True)
class Dice:
    """Random choices of one split. `rng` moves with every call; the same seed gives the same choices."""

    rng: random.Random
    held_out: bool = False

    def pick(self, items: Sequence[Item]) -> Item:
        return items[int(self.rng.random() * len(items))]

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def number(self, low: int, high: int) -> int:
        """An integer of low..high, both possible."""
        return self.rng.randint(low, high)

    def some(self, items: Sequence[Item], low: int, high: int) -> list[Item]:
        """low..high different items, in random order."""
        return self.rng.sample(items, min(len(items), self.rng.randint(low, high)))

    def belongs(self, value: str) -> bool:
        """Whether the value is one of this split's."""
        return (zlib.crc32(value.encode()) % HELD_OUT_SHARE == 0) == self.held_out

    def own(self, make: Callable[[], str]) -> str:
        """The first value of `make()` that belongs to this split."""
        while True:
            value = make()
            if self.belongs(value):
                return value


KNOWN = [
    word
    for name in ("first names", "last names", "cities", "things", "jobs", "hobbies", "topics")
    for word in LISTS[name]
    if word.isalpha()
]


def made_up_word(dice: Dice, syllables: int) -> str:
    """A pronounceable word: "Branio", "Theckal". So that not only such are copied, three in ten are others:

    of any letters, or a piece of one known word and a piece of another: "Lamprid".
    """
    if dice.chance(0.15):
        begin, end = (dice.own(lambda: dice.pick(KNOWN)) for _ in range(2))
        return (begin[: dice.number(1, 5)] + end[-dice.number(1, 5) :]).lower().capitalize()
    if dice.chance(0.15):
        return "".join(dice.pick(LETTERS) for _ in range(dice.number(2, 3 * syllables + 2))).capitalize()
    parts = [
        dice.pick(LISTS["onsets"]) + dice.pick(LISTS["nuclei"]) + dice.pick(LISTS["codas"]) for _ in range(syllables)
    ]
    return "".join(parts).capitalize()


def first_name(dice: Dice) -> str:
    known = dice.chance(0.5)
    return dice.own(lambda: dice.pick(LISTS["first names"]) if known else made_up_word(dice, 2))


def last_name(dice: Dice) -> str:
    known = dice.chance(0.5)
    return dice.own(lambda: dice.pick(LISTS["last names"]) if known else made_up_word(dice, dice.number(2, 3)))


def full_name(dice: Dice) -> str:
    return f"{first_name(dice)} {last_name(dice)}"


def city(dice: Dice) -> str:
    known = dice.chance(0.6)
    return dice.own(lambda: dice.pick(CITIES) if known else made_up_word(dice, 2))


def email(dice: Dice, name: str) -> str:
    first, _, last = name.lower().partition(" ")
    local = dice.pick([first, f"{first}.{last}", f"{first[0]}{last}", f"{first}{dice.number(1, 99)}"]).strip(".")
    return f"{local}@{dice.pick(LISTS['domains'])}"


def phone(dice: Dice) -> str:
    return f"555-{dice.number(0, 9999):04d}"


def product(dice: Dice) -> str:
    """A product's name: "Branio Lamp", "Smart Kettle 300"."""
    thing = dice.pick(THINGS).title()
    brand = (
        dice.own(lambda: made_up_word(dice, 2))
        if dice.held_out or dice.chance(0.6)
        else dice.pick(LISTS["adjectives"]).title()
    )
    return f"{brand} {thing}" + (f" {dice.number(1, 99) * 10}" if dice.chance(0.2) else "")


def with_article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
