"""A picture as data: a list of what it shows, always valid under the schema, and a choice about the same picture."""

from typing import Literal

from PIL import Image, ImageDraw
from pydantic import BaseModel

import sgl_lite as sgl


class Thing(BaseModel):
    shape: Literal["circle", "square", "triangle", "star", "cross", "diamond"]
    color: Literal["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "gray", "black", "white"]


@sgl.function
def read(s, picture):
    s += sgl.image(picture)
    asked = s.fork(2)
    asked[0] += "List the shapes as a JSON array:" + sgl.gen("things", type=list[Thing], max_tokens=80, temperature=0)
    asked[1] += "Question: Is there a green triangle?\nAnswer:" + sgl.select("green", [" yes", " no"])
    s["things"], s["green"] = asked[0].parsed("things"), asked[1]["green"]


picture = Image.new("RGB", (128, 128), "white")
pen = ImageDraw.Draw(picture)
pen.polygon([(30, 14), (48, 46), (12, 46)], fill="green")
pen.ellipse((78, 74, 112, 108), fill="orange")
state = read(picture)
print(state["things"], "a green triangle:", state["green"].strip())
assert all(isinstance(thing, Thing) for thing in state["things"])
