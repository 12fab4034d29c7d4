"""What is asked about a scene: counts, colours, shapes, places, sizes, numbers, descriptions, JSON.

Comes in: `Dice` and a `Scene`. Goes out: `Document`s whose prompts follow the picture. Only what has one right answer
is asked: of "the circle" only where there is one, of a place only where it is clear.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from runtime.model.demo import words
from runtime.model.demo.document import Document
from runtime.model.demo.question_tasks import spaced
from runtime.model.demo.scenes import COLOURS, SHAPES, Scene, Thing
from runtime.model.demo.words import Dice

PLURALS = {shape: f"{shape}es" if shape == "cross" else f"{shape}s" for shape in SHAPES}
CLEARLY = 1.25  # how many times as large the biggest shape is than the next one, where one asks for the biggest
APART = 0.15  # how far one shape is left of another, where one asks, in shares of the shorter side
Asked = tuple[str, str]


def counted(dice: Dice, scene: Scene) -> Asked | None:
    """How many shapes there are: in all, of a shape, of a colour, of both. Now and then none."""
    shape, colour = (dice.pick(SHAPES), dice.pick(list(COLOURS)))
    if scene.things and dice.chance(0.8):
        seen = dice.pick(scene.things)
        shape, colour = seen.shape, seen.colour
    kind = dice.pick(("all", "shape", "shape", "colour", "colour", "both"))
    count = sum(
        (thing.shape == shape or kind not in ("shape", "both"))
        and (thing.colour == colour or kind not in ("colour", "both"))
        for thing in scene.things
    )
    noun = {
        "all": "shapes",
        "shape": PLURALS[shape],
        "colour": f"{colour} shapes",
        "both": f"{colour} {PLURALS[shape]}",
    }[kind]
    question = dice.pick((f"How many {noun} are there?", f"How many {noun} are there?", f"How many {noun} do you see?"))
    return question, str(count)


def names_of(scene: Scene, thing: Thing, without: str = "") -> list[str]:
    """Words that mean this one of the scene's shapes; none that tell its `without`: its "colour", "shape", ..."""
    things = scene.things
    names = []
    if without != "shape" and sum(other.shape == thing.shape for other in things) == 1:
        names.append(f"the {thing.shape}")
    if without != "colour" and sum(other.colour == thing.colour for other in things) == 1:
        names.append(f"the {thing.colour} {'one' if len(names) % 2 else 'shape'}")
    looks = [(other.shape, other.colour) for other in things]
    if without not in ("colour", "shape") and looks.count((thing.shape, thing.colour)) == 1:
        names.append(f"the {thing.colour} {thing.shape}")
    names *= 2  # one says what a thing looks like more often than where it is
    places = [scene.place(other) for other in things]
    if without != "place" and all(places) and len(things) > 1 and places.count(scene.place(thing)) == 1:
        names.append(f"the shape at the {scene.place(thing)}")
    if without != "size" and extreme(scene, 1) is thing:
        names.append("the biggest shape")
    if without != "size" and extreme(scene, -1) is thing:
        names.append("the smallest shape")
    if len(things) == 1:
        names.append("the shape")
    return names


def extreme(scene: Scene, sign: int) -> Thing | None:
    """The biggest shape (`sign` 1) or the smallest (-1), if there are several and it is clear."""
    ordered = sorted(scene.things, key=lambda thing: -sign * thing.radius)
    if len(ordered) < 2:
        return None
    ratio = ordered[0].radius / ordered[1].radius
    return ordered[0] if (ratio if sign > 0 else 1 / ratio) > CLEARLY else None


def _referred(dice: Dice, scene: Scene, without: str) -> tuple[Thing, str] | None:
    """One of the shapes and words for it."""
    if not scene.things:
        return None
    thing = dice.pick(scene.things)
    names = names_of(scene, thing, without)
    return (thing, dice.pick(names)) if names else None


def coloured(dice: Dice, scene: Scene) -> Asked | None:
    referred = _referred(dice, scene, "colour")
    if referred is None:
        return None
    colour = dice.pick(("colour", "color", "color"))
    return dice.pick((f"What {colour} is {referred[1]}?", f"What is the {colour} of {referred[1]}?")), referred[
        0
    ].colour


def shaped(dice: Dice, scene: Scene) -> Asked | None:
    referred = _referred(dice, scene, "shape")
    if referred is None:
        return None
    thing, name = referred
    forms = [f"What shape is {name}?"] if not name.endswith(" shape") else [f"What is {name}?"]
    if name.split()[1] in COLOURS:
        forms = [f"What shape is {thing.colour}?", f"Which shape is {thing.colour}?", f"What shape is {name}?"]
    return dice.pick(forms), thing.shape


def placed(dice: Dice, scene: Scene) -> Asked | None:
    """Where one shape is, what is at a place, or which of two shapes is farther left or higher."""
    if len(scene.things) > 1 and dice.chance(0.35):
        return _compared(dice, scene)
    referred = _referred(dice, scene, "place")
    if referred is None or (place := scene.place(referred[0])) is None:
        return None
    if dice.chance(0.6):
        return f"Where is {referred[1]}?", place
    if any(scene.place(other) in (None, place) for other in scene.things if other is not referred[0]):
        return None
    return f"What is at the {place}?", f"{referred[0].colour} {referred[0].shape}"


def _compared(dice: Dice, scene: Scene) -> Asked | None:
    one, other = dice.some(scene.things, 2, 2)
    names = [names_of(scene, thing, "place") for thing in (one, other)]
    if not all(names):
        return None
    first, second = (dice.pick(choices) for choices in names)
    if dice.chance(0.5):
        words_, far = ("left of", "right of"), other.x - one.x
    else:
        words_, far = ("above", "below"), other.y - one.y
    if abs(far) < APART:
        return None
    told = dice.number(0, 1)
    return f"Is {first} {words_[told]} {second}?", "yes" if (far > 0) == (told == 0) else "no"


def sized(dice: Dice, scene: Scene) -> Asked | None:
    """The biggest or smallest shape, or whether one is large or small."""
    sign = dice.pick((1, -1))
    thing = extreme(scene, sign)
    if thing and dice.chance(0.6):
        words_ = ("biggest", "largest") if sign > 0 else ("smallest",)
        return f"Which shape is the {dice.pick(words_)}?", f"{thing.colour} {thing.shape}"
    referred = _referred(dice, scene, "size")
    if referred is None or referred[0].size is None:
        return None
    return dice.pick((f"Is {referred[1]} large or small?", f"What size is {referred[1]}?")), referred[0].size


def doubted(dice: Dice, scene: Scene) -> Asked | None:
    """Whether something is there."""
    colour, shape = dice.pick(list(COLOURS)), dice.pick(SHAPES)
    if scene.things:
        seen = dice.pick(scene.things)
        colour, shape = dice.pick([(seen.colour, seen.shape)] * 3 + [(seen.colour, shape), (colour, seen.shape)])
    kind = dice.number(0, 2)
    name = (f"{colour} {shape}", shape, f"{colour} shape")[kind]
    there = any((kind == 2 or thing.shape == shape) and (kind == 1 or thing.colour == colour) for thing in scene.things)
    return f"Is there {words.with_article(name)}?", "yes" if there else "no"


def numbered(dice: Dice, scene: Scene) -> Asked | None:
    if scene.number is None:
        return ("Is there a number?", "no") if dice.chance(0.05) else None
    if dice.chance(0.1):
        return "Is there a number?", "yes"
    forms = (
        "What number is written?",
        "Which number is in the picture?",
        "What number do you see?",
        "Read the number.",
    )
    return dice.pick(forms), scene.number.text


def in_order(scene: Scene) -> list[Thing]:
    """The shapes as one reads: row of ninths after row, from left to right."""
    return sorted(scene.things, key=lambda thing: (int(3 * thing.y * scene.shorter / scene.height), thing.x))


def described(dice: Dice, scene: Scene) -> Asked | None:
    if not scene.things:
        return None
    named = [words.with_article(f"{thing.colour} {thing.shape}") for thing in in_order(scene)]
    forms = ("What is in the picture?", "What do you see?", "Describe the picture.", "Describe the image.")
    return dice.pick(forms), f"{words.listed(named).capitalize()}."


def facts_of(dice: Dice, scene: Scene, thing: Thing) -> dict[str, str]:
    """All that JSON can say about a shape, under the keys that users give."""
    facts = {"shape": thing.shape, dice.pick(("color", "color", "colour")): thing.colour}
    if thing.size:
        facts["size"] = thing.size
    if place := scene.place(thing):
        facts[dice.pick(("position", "place"))] = place
    return facts


def one_as_json(dice: Dice, scene: Scene) -> Document | None:
    """One shape as an object: its shape and colour, or what the prompt names."""
    referred = _referred(dice, scene, "")
    if referred is None:
        return None
    thing, name = referred
    if dice.chance(0.4):
        facts = {"shape": thing.shape, "color": thing.colour}
        prompts = [f"Describe {name} as JSON:", f"{name.capitalize()} as JSON:", f"Describe {name}.\nJSON:"]
        if len(scene.things) == 1:
            prompts += ["JSON:", "Describe the picture as JSON:", "Describe the image as JSON.\n"]
    else:
        told = facts_of(dice, scene, thing)
        chosen = list(told)[:2] if dice.chance(0.3) else list(told)
        facts = {key: told[key] for key in dice.some(chosen, 1, 4)}
        keys = ", ".join(facts)
        prompts = [f"Describe {name}.\nKeys: {keys}\nJSON:", f"Describe {name} as JSON with the keys {keys}.\n"]
    return _json(dice, "pictures: JSON", dice.pick(prompts), facts)


def all_as_json(dice: Dice, scene: Scene) -> Document | None:
    """All shapes as an array of objects, or how many there are with their colours or shapes."""
    if not scene.things:
        return None
    if dice.chance(0.7):
        prompts = ("List the shapes as a JSON array:", "List all shapes as JSON:", "JSON array:", "Shapes as JSON:")
        shapes = [{"shape": thing.shape, "color": thing.colour} for thing in in_order(scene)]
        return _json(dice, "pictures: JSON of all shapes", dice.pick(prompts), shapes)
    facts = {
        "count": len(scene.things),
        "shapes": [thing.shape for thing in in_order(scene)],
        "colors": [thing.colour for thing in in_order(scene)],
    }
    chosen = dice.some(list(facts), 1, 3)
    prompt = f"Describe the picture.\nKeys: {', '.join(chosen)}\nJSON:"
    return _json(dice, "pictures: JSON of all shapes", prompt, {key: facts[key] for key in chosen})


def _json(dice: Dice, task: str, prompt: str, value: object) -> Document:
    gap = "" if prompt.endswith("\n") else dice.pick([" ", " ", "", "\n"])
    return Document(task, prompt, gap + json.dumps(value))


def _question(task: str, ask: Callable[[Dice, Scene], Asked | None]) -> Callable[[Dice, Scene], Document | None]:
    def drawn(dice: Dice, scene: Scene) -> Document | None:
        found = ask(dice, scene)
        if found is None:
            return None
        question, answer = found
        forms = [f"Question: {question}\nAnswer:"] * 4
        forms += [f"Q: {question}\nA:", f"{question}\nAnswer:", f"{question}\n", f"\n{question}\nAnswer:"]
        prompt = dice.pick(forms)
        return Document(f"pictures: {task}", prompt, spaced(dice, prompt, answer))

    return drawn


Task = Callable[[Dice, Scene], Document | None]
QUESTIONS: dict[str, Task] = {
    "counts": _question("counts", counted),
    "colours": _question("colours", coloured),
    "shapes": _question("shapes", shaped),
    "places": _question("places", placed),
    "sizes": _question("sizes", sized),
    "numbers": _question("numbers", numbered),
    "yes or no": _question("yes or no", doubted),
    "descriptions": _question("descriptions", described),
    "JSON": one_as_json,
    "JSON of all shapes": all_as_json,
}
WEIGHTS = Counter(
    {
        "counts": 6,
        "colours": 5,
        "shapes": 5,
        "places": 4,
        "sizes": 2,
        "numbers": 2,
        "yes or no": 3,
        "descriptions": 2,
        "JSON": 3,
        "JSON of all shapes": 2,
    }
)


def questions(dice: Dice, scene: Scene, count: int) -> list[Document]:
    """Up to `count` documents about the scene, no two with the same prompt."""
    found: dict[str, Document] = {}
    for name in dice.rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=2 * count):
        document = QUESTIONS[name](dice, scene)
        if document and len(found) < count:
            found.setdefault(document.prompt, document)
    return list(found.values())
