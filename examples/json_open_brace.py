"""A JSON document that the program opens and closes itself; the model writes what is between."""

import json

import sgl_lite as sgl


@sgl.function
def generate_json(s, prompt):
    s += prompt
    s += "{\n"
    with s.constrain(format="json"):
        s += sgl.gen("content", max_tokens=200)
    s += "\n}"


result = generate_json("Generate a person profile:")

print(result.text())
json.loads(result.text().removeprefix("Generate a person profile:"))
