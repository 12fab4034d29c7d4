"""The main job: records from prose, a batch, choices, a picture, and what it cost. On the embedded model, offline."""

import time
from typing import Literal

from PIL import Image, ImageDraw
from pydantic import BaseModel, Field
from rich.console import Console
from rich.table import Table

import sgl_lite as sgl


class Person(BaseModel):
    name: str = Field(max_length=40)
    age: int = Field(ge=0, le=130)
    job: str = Field(max_length=40)
    city: str = Field(max_length=40)
    married: bool


class Shape(BaseModel):
    shape: Literal["circle", "square", "triangle", "star", "cross", "diamond"]
    color: Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black", "white"]


@sgl.function
def extract(s, text):
    s += f"Extract the person from: {text}\nJSON:"
    with s.constrain(json_schema=Person):
        s += sgl.gen("person", max_tokens=80, temperature=0)


@sgl.function
def sentiment(s, review):
    s += f"Review: {review}\nSentiment:"
    s += sgl.select("label", [" positive", " negative", " neutral"])


@sgl.function
def age(s, text):
    s += f"Text: {text}\nQuestion: How old is the person?\nAnswer: "
    s += sgl.gen("age", dtype=int, max_tokens=8, temperature=0)


@sgl.function
def look(s, picture, question):
    s += sgl.image(picture)
    s += f"Question: {question}\nAnswer:" + sgl.gen("answer", max_tokens=12, temperature=0)


@sgl.function
def shapes(s, picture):
    s += sgl.image(picture) + "List the shapes as a JSON array:"
    s += sgl.gen("shapes", type=list[Shape], max_tokens=80, temperature=0)


TEXTS = [
    "Ada Brown is a 36 year old engineer from Paris. She is married.",
    "My name is Tom Hill, I am 52 years old and I live in Rome. I work as a teacher.",
    "In Oslo lives Mia Stone, a nurse of 29.",
    "Ben Clark, 44, is a pilot from Madrid. He is not married.",
    "Meet Eva Long, a doctor. She lives in Vienna. She is 61 years old.",
    "Leo King is a 23-year-old driver who lives in London.",
    "Name: Zoe Park. Age: 70. City: Lisbon. She works as a lawyer.",
    "Max Wood works in Berlin as a baker. He is 38 years old. He is married.",
]


def drawn() -> Image.Image:
    """A red circle above a blue square, on white."""
    picture = Image.new("RGB", (160, 160), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((20, 15, 60, 55), fill="red")
    pen.rectangle((95, 100, 135, 140), fill="blue")
    return picture


def short(person: Person) -> str:
    return f"{person.name}, {person.age}, {person.job}, {person.city}"


def show(title: str, states: list[sgl.ProgramState], names: list[str], values: list[str], seconds: float) -> Table:
    table = Table(title=f"{title}: {len(states)} in {seconds:.2f} s (tokens)", title_justify="left")
    for column in ("answer", "prompt", "cached", "written", "forced", "ms"):
        table.add_column(column, justify="left" if column == "answer" else "right")
    for state, name, value in zip(states, names, values, strict=True):
        meta = state.get_meta_info(name) or {}
        counts = [meta[key] for key in ("prompt_tokens", "cached_tokens", "completion_tokens", "forced_tokens")]
        table.add_row(value, *map(str, counts), f"{meta['e2e_latency'] * 1000:.0f}")
    return table


def main() -> None:
    console = Console()
    first = extract(TEXTS[0])
    console.print("[bold]A program:[/bold]", first.text(), "\n[bold]Its value:[/bold]", first.parsed("person"), "\n")

    started = time.perf_counter()
    batch = extract.run_batch([{"text": text} for text in TEXTS], progress_bar=True)
    people = [state.parsed("person") for state in batch]  # a value that is not a Person would be an error here
    console.print(show("Extraction", batch, ["person"] * 8, [short(p) for p in people], time.perf_counter() - started))

    started = time.perf_counter()
    states = [sentiment("The film was wonderful. I love it."), age(TEXTS[1])]
    values = [states[0]["label"].strip(), str(states[1].parsed("age"))]
    console.print(show("A choice and a number", states, ["label", "age"], values, time.perf_counter() - started))
    assert all(isinstance(person, Person) for person in people)

    started, picture = time.perf_counter(), drawn()
    asked = ["How many shapes are there?", "What color is the circle?"]
    states = [look(picture, question) for question in asked] + [shapes(picture)]
    seen = states[2].parsed("shapes")
    values = [f"{question} {state['answer'].strip()}" for question, state in zip(asked, states, strict=False)]
    values.append(", ".join(f"{each.color} {each.shape}" for each in seen))
    console.print(show("A picture", states, ["answer", "answer", "shapes"], values, time.perf_counter() - started))
    assert all(isinstance(each, Shape) for each in seen)


if __name__ == "__main__":
    main()
