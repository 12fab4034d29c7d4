"""Documents that ask a question with a short answer: about a text, about the world, sums, classes, choices.

Comes in: `Dice`. Goes out: a `Document`. The answer follows "Answer:" after a space or at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from runtime.model.demo import words
from runtime.model.demo.document import Document
from runtime.model.demo.records import PERSON, draw_record
from runtime.model.demo.words import Dice

NAMED_PERSON = replace(PERSON, leads=tuple(lead for lead in PERSON.leads if lead.startswith("{name}")))
CAPITALS = dict(words.pairs("capitals"))
OPPOSITES = words.pairs("opposites")
GROUPS = {
    **{name: words.LISTS[f"group {name}"] for name in ("fruit", "animal")},
    "colour": words.COLOURS,
    "vegetable": words.LISTS["group vegetable"],
    "country": tuple(name for name in CAPITALS if " " not in name),
    "city": words.CITIES,
    **{name: words.LISTS[f"group {name}"] for name in ("instrument", "vehicle")},
}
SUBJECTS = {name.removeprefix("subject "): nouns for name, nouns in words.LISTS.items() if name.startswith("subject ")}
SENTIMENTS = {"positive": words.LISTS["good"], "negative": words.LISTS["bad"], "neutral": words.LISTS["plain"]}


def asked(dice: Dice, task: str, question: str, answer: str, text: str = "") -> Document:
    """The question in one of the forms in which users ask, its text before it if it has one."""
    forms = [f"Question: {question}\nAnswer:", f"Q: {question}\nA:", f"{question}\nAnswer:", f"{question}\n"]
    prompt = dice.pick([*forms, f"Question: {question}\nAnswer:"])
    if text:
        prompt = dice.pick([f"Text: {text}\n", f"{text}\n", f"{text}\n\n", f"Context: {text}\n"]) + prompt
    return Document(task, prompt, spaced(dice, prompt, answer))


def spaced(dice: Dice, prompt: str, answer: str) -> str:
    """The answer as it goes on after the prompt: mostly with a space after a colon."""
    return answer if prompt[-1].isspace() or dice.chance(0.3) else f" {answer}"


def about_a_person(dice: Dice) -> Document:
    """One fact, or a yes or no, about a person of the text; other people may be in it."""
    people = [draw_record(dice, NAMED_PERSON, most_extras=3) for _ in range(dice.pick([1, 1, 2, 3]))]
    values = dice.pick(people).values
    name = values["name"]
    questions = {
        "age": [f"How old is {name}?"],
        "job": [f"What is {name}'s job?", f"What does {name} do?", f"What is the job of {name}?"],
        "city": [f"Where does {name} live?", f"Which city is {name} from?", f"In which city is {name}?"],
        "email": [f"What is {name}'s email?", f"What is the email of {name}?"],
        "phone": [f"What is {name}'s phone number?"],
        "height": [f"How tall is {name}?"],
    }
    text = " ".join(person.text for person in people)
    told = [field for field in questions if field in values]
    if not told:
        return asked(dice, "questions", "Who is this about?", people[0].values["name"], people[0].text)
    field = dice.pick(told)
    if dice.chance(0.25):
        return asked(dice, "yes or no", *_doubted(dice, name, field, values[field]), text)
    return asked(dice, "questions", dice.pick(questions[field]), str(values[field]), text)


def _doubted(dice: Dice, name: str, field: str, right: str | int | float) -> tuple[str, str]:
    """A question about one fact that is to be answered with yes or no, and that answer."""
    if field == "age" and dice.chance(0.5):
        limit = dice.pick([20, 30, 40, 50, 60, 70])
        older = dice.chance(0.5)
        is_so = int(right) > limit if older else int(right) < limit
        return f"Is {name} {'older' if older else 'younger'} than {limit}?", "yes" if is_so else "no"
    other = draw_record(dice, NAMED_PERSON, most_extras=8).values.get(field)
    claimed = right if other is None or dice.chance(0.5) else other
    question = {
        "age": f"Is {name} {claimed} years old?",
        "job": f"Is {name} {words.with_article(str(claimed))}?",
        "city": f"Does {name} live in {claimed}?",
        "email": f"Is {claimed} the email of {name}?",
        "phone": f"Is {claimed} the number of {name}?",
        "height": f"Is {name} {claimed} m tall?",
    }[field]
    return question, "yes" if claimed == right else "no"


def about_the_world(dice: Dice) -> Document:
    """Capitals, opposites, groups of things: learned by heart, so both splits ask the same."""
    kind = dice.number(0, 3)
    if kind == 0:
        country = dice.pick(list(CAPITALS))
        return asked(dice, "facts", f"What is the capital of {country}?", CAPITALS[country])
    if kind == 1:
        one, other = dice.pick(OPPOSITES)[:: dice.pick([1, -1])]
        return asked(dice, "facts", f"What is the opposite of {one}?", other)
    group, wrong = dice.some(list(GROUPS), 2, 2)
    thing = dice.pick([thing for thing in GROUPS[group] if thing not in GROUPS[wrong]])
    if kind == 2:
        named = dice.pick([group, wrong])
        return asked(dice, "facts", f"Is {thing} {words.with_article(named)}?", "yes" if named == group else "no")
    return asked(dice, "facts", f"What is {thing}, {words.with_article(group)} or {words.with_article(wrong)}?", group)


def arithmetic(dice: Dice) -> Document:
    """Sums and differences up to 20, products up to 10 * 10: learned by heart, so both splits ask the same."""
    sign = dice.pick("++--*")
    limit = 10 if sign == "*" else 20
    one, other = dice.number(0, limit), dice.number(0, limit)
    if sign == "-":
        one, other = max(one, other), min(one, other)
    pair, result = f"{one} {sign} {other}", {"+": one + other, "-": one - other, "*": one * other}[sign]
    verb = {"+": "plus", "-": "minus", "*": "times"}[sign]
    question = dice.pick([f"What is {pair}?", f"What is {pair}?", f"What is {one} {verb} {other}?"])
    if dice.chance(0.4):
        return Document("arithmetic", f"{pair} =", f" {result}")
    return asked(dice, "arithmetic", question, str(result))


def sentiment(dice: Dice) -> Document:
    """A review, to be called positive, negative or neutral."""
    label = dice.pick(list(SENTIMENTS))
    text = dice.own(lambda: _review(dice, label))
    head = dice.pick(["Review", "Review", "Text", "Comment"])
    ask = dice.pick(
        ["Sentiment:", "Sentiment:", "Is it positive, negative or neutral?\nAnswer:", "Label:", "The review is"]
    )
    prompt = dice.pick(
        [f"{head}: {text}\n{ask}", f"Classify the review as positive, negative or neutral.\n{text}\n{ask}"]
    )
    return Document("sentiment", prompt, spaced(dice, prompt, label))


def _review(dice: Dice, label: str) -> str:
    phrases = SENTIMENTS[label]
    thing, word, second = dice.pick(words.LISTS["reviewed"]), dice.pick(phrases), dice.pick(phrases)
    forms = [f"The {thing} was {word}.", f"The {thing} is {word}.", f"I think the {thing} is {word}."]
    forms += [f"This {thing} was {word}, {second}.", f"{word.capitalize()}! That is this {thing}."]
    ends = {
        "positive": [
            "I love it.",
            "I will come back.",
            "Thank you!",
            "Five stars.",
            "I can recommend it.",
            "So happy.",
        ],
        "negative": ["I hate it.", "Never again.", "I want my money back.", "One star.", "Stay away.", "So sad."],
        "neutral": ["Nothing more to say.", "It does its job.", "Three stars.", "I have no opinion."],
    }[label]
    return dice.pick(forms) + (f" {dice.pick(ends)}" if dice.chance(0.5) else "")


def subject(dice: Dice) -> Document:
    """A headline, to be put under its subject."""
    label = dice.pick(list(SUBJECTS))
    text = dice.own(lambda: _headline(dice, SUBJECTS[label]))
    ask = dice.pick(["Topic:", "Topic:", "Category:", "Subject:"])
    offered = dice.pick(["", f"Topics: {', '.join(SUBJECTS)}.\n"])
    prompt = f"{offered}{dice.pick(['Text', 'Headline', 'News'])}: {text}\n{ask}"
    return Document("subjects", prompt, spaced(dice, prompt, label))


def _headline(dice: Dice, nouns: Sequence[str]) -> str:
    one, two, three = dice.some(nouns, 3, 3)
    return dice.pick(
        [
            f"The {one} and the {two} in {words.city(dice)}.",
            f"{words.first_name(dice)} talks about the {one} and the {two}.",
            f"A new {one} changes the {two} and the {three}.",
            f"Why every {one} needs a {two}.",
            f"The {two} that made the {one} famous.",
        ]
    )


def picked(dice: Dice) -> Document:
    """Which of several things is one of a group; the choices are in the prompt."""
    group, wrong = dice.some(list(GROUPS), 2, 2)
    right = dice.pick(GROUPS[group])
    others = [thing for thing in dice.some(GROUPS[wrong], 2, 3) if thing not in GROUPS[group]]
    choices = dice.some([right, *others], 4, 4)
    return asked(dice, "choices", f"Which one is {words.with_article(group)}: {', '.join(choices)}?", right)


def enumerated(dice: Dice) -> Document:
    """A few members of a group, as a line or as a JSON array of strings."""
    group = dice.pick([name for name in GROUPS if name not in ("city", "country")])
    count = dice.number(2, 5)
    number = dice.pick([str(count), ["two", "three", "four", "five"][count - 2]])
    members = dice.some(GROUPS[group], count, count)
    if dice.chance(0.5):
        return Document("lists", f"List {number} {group}s:", " " + ", ".join(members))
    quoted = ", ".join(f'"{member}"' for member in members)
    return Document("lists", f"List {number} {group}s as a JSON array:", f" [{quoted}]")


def repeated(dice: Dice) -> Document:
    """Words to be said again, exactly: the plainest form of copying."""
    count = dice.number(1, 8)
    said = [dice.own(lambda: words.made_up_word(dice, dice.number(1, 3))) for _ in range(count)]
    text = " ".join(word if dice.chance(0.7) else str(dice.number(0, 9999)) for word in said)
    prompt = dice.pick([f"Repeat: {text}\n", f"Say it again: {text}\n", f"Text: {text}\nCopy:", f'Copy "{text}":'])
    return Document("copies", prompt, spaced(dice, prompt, text))


def story(dice: Dice) -> Document:
    """Three or four plain sentences about somebody."""
    name, friend = words.first_name(dice), words.first_name(dice)
    animal, place, thing = dice.pick(GROUPS["animal"]), words.city(dice), dice.pick(words.THINGS)
    parts = [
        f"Once upon a time there was {words.with_article(animal)} called {name}.",
        f"{name} lived in {place} and had a friend called {friend}.",
        f"One day {name} found {words.with_article(thing)}.",
        f"{friend} was very happy and they played until the evening.",
    ]
    prompt = dice.pick(
        [f"Tell me a story about {words.with_article(animal)} called {name}.\n", "Tell me a short story.\n"]
    )
    return Document("stories", prompt, " ".join(parts))
