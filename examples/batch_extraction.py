"""Extraction in batch with pydantic: records from many texts at once, in the order of the texts."""

from pydantic import BaseModel, Field

import sgl_lite as sgl


class Person(BaseModel):
    name: str = Field(max_length=24)
    age: int = Field(ge=0, le=130)
    city: str = Field(max_length=24)


@sgl.function
def extract(s, text):
    s += f"Extract the person from: {text}\nJSON:"
    s += sgl.gen("person", type=Person, max_tokens=64, temperature=0)


TEXTS = [
    "Ada Brown is a 36 year old engineer from Paris.",
    "Tom Green is a 52 year old teacher from Rome.",
    "Eva Stone is a 29 year old doctor from London.",
]
states = extract.run_batch([{"text": text} for text in TEXTS], progress_bar=True)
for text, state in zip(TEXTS, states, strict=True):
    person = state.parsed("person")
    print(f"{text} -> {person!r}")
    assert isinstance(person, Person)
