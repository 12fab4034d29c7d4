"""Records: facts about a person, product, event, ... told in prose and written as JSON.

Comes in: `Dice`. Goes out: a `Record`, whose `text` states exactly the facts of `values`. This module does not know
how a user asks for a record (that is `tasks`).

A template is a format string over the facts of its kind. Formats: `{job:a}` puts the article before, `{hobbies:and}`
joins a list, `{in_stock:is in stock|is sold out}` words a boolean, `{date:long}` spells a date. `{he}`, `{He}`,
`{his}` and `{His}` are words, not facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from runtime.model.demo import words
from runtime.model.demo.words import Dice

Facts = dict[str, Any]
WORDS = {"he", "He", "his", "His"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record: how its facts are drawn, and how they are told."""

    noun: str
    draw: Callable[[Dice], Facts]
    leads: tuple[str, ...]
    extras: tuple[str, ...]
    aliases: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Record:
    """A kind, the facts that were told (in the kind's order of fields), the prose that tells them."""

    kind: Kind
    values: Facts
    text: str


class _Prose(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, bool):
            yes, _, no = format_spec.partition("|")
            return yes if value else no
        if format_spec == "a":
            return words.with_article(value)
        if format_spec == "and":
            return words.listed(
                [item if isinstance(item, str) else f"{item['quantity']} {item['product']}" for item in value]
            )
        if format_spec == "long":
            year, month, day = value.split("-")
            return f"{int(day)} {words.MONTHS[int(month) - 1]} {year}"
        return str(super().format_field(value, format_spec))


_PROSE = _Prose()


def fields_of(template: str) -> set[str]:
    """The facts a template tells."""
    names = {field.split("[")[0] for _, field, _, _ in _PROSE.parse(template) if field}
    return names - WORDS


def draw_record(dice: Dice, kind: Kind | None = None, most_extras: int = 3) -> Record:
    """A new record: one lead sentence, then up to `most_extras` others, each telling what was not told yet."""
    kind = kind or dice.pick(KINDS)
    facts = kind.draw(dice)
    templates = [dice.pick(kind.leads)]
    told = fields_of(templates[0])
    for template in dice.some(kind.extras, 0, most_extras):
        if not fields_of(template) & told:
            templates.append(template)
            told |= fields_of(template)
    text = " ".join(_PROSE.vformat(template, (), facts) for template in templates)
    return Record(kind, {field: value for field, value in facts.items() if field in told}, text)


def aliased(dice: Dice, record: Record, share: float) -> dict[str, str]:
    """Field -> the key it gets in JSON: its own name, or, for a `share` of the records, another word for it."""
    if not dice.chance(share):
        return {field: field for field in record.values}
    return {field: dice.pick((field, *record.kind.aliases.get(field, ()))) for field in record.values}


def _date(dice: Dice) -> str:
    return f"{dice.number(1950, 2030)}-{dice.number(1, 12):02d}-{dice.number(1, 28):02d}"


def _address(dice: Dice) -> Facts:
    street = f"{dice.number(1, 199)} {words.last_name(dice)} {dice.pick(words.LISTS['streets'])}"
    return {"street": street, "city": words.city(dice), "zip": f"{dice.number(10000, 99999)}"}


def _person(dice: Dice) -> Facts:
    name = words.first_name(dice) if dice.chance(0.25) else words.full_name(dice)
    he, his = dice.pick([("he", "his"), ("she", "her")])
    return {
        "name": name,
        "age": dice.number(18, 99),
        "job": dice.pick(words.LISTS["jobs"]),
        "city": words.city(dice),
        "email": words.email(dice, name),
        "phone": words.phone(dice),
        "hobbies": dice.some(words.LISTS["hobbies"], 1, 3),
        "height": dice.number(150, 205) / 100,
        "married": dice.chance(0.5),
        "birthday": _date(dice),
        "address": _address(dice),
        "he": he,
        "He": he.title(),
        "his": his,
        "His": his.title(),
    }


PERSON = Kind(
    "person",
    _person,
    (
        "{name} is {age} years old and works as {job:a} in {city}.",
        "{name} is {job:a} from {city}.",
        "{name}, {age}, is {job:a} from {city}.",
        "{name} is a {age}-year-old {job} who lives in {city}.",
        "{name} is a {age} year old {job} from {city}.",
        "{name} ({age}) is {job:a}.",
        "{name} is a {age} year old {job} from {city} who likes {hobbies:and}.",
        "{name} lives in {city}.",
        "{name} lives in {city} and is {age} years old.",
        "{name} works in {city} as {job:a}.",
        "My name is {name}, I am {age} years old and I live in {city}.",
        "I'm {name}, {job:a} from {city}.",
        "Meet {name}, {job:a}.",
        "{name} is {age}.",
        "{name} was born on {birthday:long} and lives in {city}.",
        "In {city} lives {name}, {job:a} of {age}.",
        "Name: {name}. Age: {age}. City: {city}.",
    ),
    (
        "{He} is {age} years old.",
        "{He} works as {job:a}.",
        "{He} lives in {city}.",
        "{His} email is {email}.",
        "{He} can be reached at {email}.",
        "Write to {email}.",
        "{His} phone number is {phone}.",
        "Call {phone}.",
        "{He} likes {hobbies:and}.",
        "{He} enjoys {hobbies:and}.",
        "{His} hobbies are {hobbies:and}.",
        "{He} is {height} m tall.",
        "{He} {married:is married|is not married}.",
        "{He} {married:is married|is single}.",
        "{He} was born on {birthday:long}.",
        "Born {birthday}.",
        "{His} address is {address[street]}, {address[zip]} {address[city]}.",
    ),
    {
        "name": ("full_name", "person", "who"),
        "job": ("occupation", "profession", "role", "title"),
        "city": ("location", "town", "home"),
        "email": ("contact", "mail"),
        "phone": ("phone_number", "tel"),
        "hobbies": ("interests", "likes"),
        "height": ("height_m",),
        "married": ("is_married",),
        "birthday": ("born", "birth_date"),
        "age": ("years", "age_years"),
    },
)


def _product(dice: Dice) -> Facts:
    return {
        "name": words.product(dice),
        "price": dice.number(1, 999) if dice.chance(0.4) else dice.number(100, 99999) / 100,
        "currency": dice.pick(words.LISTS["currencies"]),
        "category": dice.pick(words.LISTS["categories"]),
        "colors": dice.some(words.COLOURS, 1, 3),
        "in_stock": dice.chance(0.5),
        "rating": dice.number(10, 50) / 10,
        "quantity": dice.number(1, 500),
        "weight_kg": dice.number(1, 200) / 10,
        "maker": dice.own(lambda: words.made_up_word(dice, 2)),
    }


PRODUCT = Kind(
    "product",
    _product,
    (
        "The {name} costs {price} {currency}.",
        "The {name} is sold for {price} {currency} and {in_stock:is in stock|is sold out}.",
        "{name}: {price} {currency}, {category}.",
        "New in {category}: the {name} for {price} {currency}.",
        "{maker} sells the {name} for {price} {currency}.",
        "The {name} by {maker} costs {price} {currency}.",
        "We have {quantity} of the {name} at {price} {currency} each.",
    ),
    (
        "It comes in {colors:and}.",
        "It is available in {colors:and}.",
        "It {in_stock:is in stock|is out of stock}.",
        "It is rated {rating} of 5.",
        "Customers rate it {rating}.",
        "It weighs {weight_kg} kg.",
        "You find it in {category}.",
        "It is made by {maker}.",
        "There are {quantity} left.",
    ),
    {
        "name": ("product", "item", "title"),
        "price": ("cost", "amount"),
        "category": ("type", "department"),
        "colors": ("colours",),
        "in_stock": ("available",),
        "rating": ("stars", "score"),
        "quantity": ("count", "stock"),
        "weight_kg": ("weight",),
        "maker": ("brand", "manufacturer"),
    },
)


def _event(dice: Dice) -> Facts:
    topic = dice.pick(words.LISTS["topics"])
    kind = dice.pick(words.LISTS["events"])
    place = words.city(dice)
    title = dice.pick([f"{place} {topic.title()} {kind.title()}", f"{topic.title()} {kind.title()}"])
    return {
        "title": title if dice.chance(0.6) else f"{dice.own(lambda: words.made_up_word(dice, 2))} {kind.title()}",
        "date": _date(dice),
        "time": f"{dice.number(7, 22):02d}:{dice.pick(['00', '15', '30', '45'])}",
        "city": place,
        "speaker": words.full_name(dice),
        "topics": dice.some(words.LISTS["topics"], 1, 3),
        "seats": dice.number(1, 90) * 10,
        "price": dice.number(1, 300),
        "online": dice.chance(0.5),
    }


EVENT = Kind(
    "event",
    _event,
    (
        "The {title} takes place in {city} on {date:long}.",
        "The {title} takes place in {city} on {date:long} at {time}.",
        "The {title} starts at {time} on {date}.",
        "Join the {title} in {city} with {speaker}.",
        "{title}, {city}, {date}, {time}.",
        "{speaker} speaks at the {title} on {date:long}.",
        "On {date:long} the {title} opens in {city}.",
    ),
    (
        "The speaker is {speaker}.",
        "Topics are {topics:and}.",
        "It is about {topics:and}.",
        "There are {seats} seats.",
        "A ticket costs {price} euros.",
        "It {online:is also shown online|is not shown online}.",
        "It starts at {time}.",
        "The place is {city}.",
    ),
    {
        "title": ("event", "name"),
        "date": ("day", "when"),
        "time": ("start", "starts_at"),
        "city": ("location", "place"),
        "speaker": ("host",),
        "topics": ("tags",),
        "seats": ("capacity",),
        "price": ("ticket_price",),
        "online": ("is_online",),
    },
)


def _book(dice: Dice) -> Facts:
    thing = dice.pick([dice.pick(words.COLOURS).title(), dice.own(lambda: words.made_up_word(dice, 2))])
    noun = dice.pick(words.LISTS["book nouns"])
    return {
        "title": f"The {thing} {noun}",
        "author": words.full_name(dice),
        "year": dice.number(1900, 2026),
        "pages": dice.number(40, 900),
        "genre": dice.pick(words.LISTS["genres"]),
        "publisher": f"{dice.own(lambda: words.made_up_word(dice, 2))} Press",
    }


BOOK = Kind(
    "book",
    _book,
    (
        '"{title}" by {author} was published in {year}.',
        "{author} wrote {title} in {year}.",
        "{title} is a {genre} book by {author}.",
        "{title} ({year}) by {author}, {pages} pages.",
    ),
    (
        "It has {pages} pages.",
        "The genre is {genre}.",
        "It was published by {publisher}.",
        "It came out in {year}.",
    ),
    {"title": ("book", "name"), "author": ("writer",), "year": ("published",), "pages": ("num_pages",)},
)


def _pet(dice: Dice) -> Facts:
    return {
        "name": words.first_name(dice),
        "species": dice.pick(words.LISTS["species"]),
        "color": dice.pick(words.COLOURS),
        "age": dice.number(1, 19),
        "owner": words.first_name(dice),
        "weight_kg": dice.number(1, 400) / 10,
        "friendly": dice.chance(0.5),
    }


PET = Kind(
    "pet",
    _pet,
    (
        "{name} is {color:a} {species}.",
        "{name} is a {age} year old {species} that belongs to {owner}.",
        "{owner} has a {species} called {name}.",
        "{owner}'s {species} {name} is {age} years old.",
    ),
    (
        "The animal is {color}.",
        "It weighs {weight_kg} kg.",
        "It {friendly:is friendly|is not friendly}.",
        "It is {age} years old.",
    ),
    {"species": ("animal", "kind"), "color": ("colour",), "weight_kg": ("weight",), "friendly": ("is_friendly",)},
)


def _order(dice: Dice) -> Facts:
    items = [{"product": thing, "quantity": dice.number(1, 20)} for thing in dice.some(words.THINGS, 1, 3)]
    return {
        "order_id": f"{dice.pick('ABCDEFXYZ')}{dice.number(100, 9999)}",
        "customer": words.full_name(dice),
        "items": items,
        "total": dice.number(100, 99999) / 100,
        "paid": dice.chance(0.5),
        "date": _date(dice),
        "city": words.city(dice),
    }


ORDER = Kind(
    "order",
    _order,
    (
        "Order {order_id} by {customer}.",
        "{customer} ordered from {city}, order number {order_id}.",
        "Order {order_id} of {date:long}: {customer}, {city}.",
        "Invoice {order_id} for {customer}, {total} in total.",
    ),
    (
        "The total is {total}.",
        "Items: {items:and}.",
        "It contains {items:and}.",
        "It {paid:is paid|is not paid}.",
        "It ships to {city}.",
        "It was placed on {date}.",
    ),
    {
        "order_id": ("id", "order", "number"),
        "customer": ("name", "buyer"),
        "total": ("amount", "sum"),
        "paid": ("is_paid",),
        "city": ("ship_to",),
    },
)

KINDS: tuple[Kind, ...] = (PERSON, PERSON, PERSON, PRODUCT, EVENT, BOOK, PET, ORDER)
