"""Questions about a picture, one that this script draws or the file that is named: `describe_image.py [FILE]`."""

import sys

from PIL import Image, ImageDraw

import sgl_lite as sgl


@sgl.function
def describe_image(s, image_path, question):
    s += sgl.image(image_path)
    s += f"Question: {question}\nAnswer:"
    s += sgl.gen("answer", max_tokens=100)


def drawn() -> Image.Image:
    """A red circle above a blue square, on white."""
    picture = Image.new("RGB", (160, 160), "white")
    pen = ImageDraw.Draw(picture)
    pen.ellipse((20, 15, 60, 55), fill="red")
    pen.rectangle((95, 100, 135, 140), fill="blue")
    return picture


picture = Image.open(sys.argv[1]) if len(sys.argv) > 1 else drawn()
questions = ["How many shapes are there?", "What color is the circle?", "Where is the square?", "What do you see?"]
states = describe_image.run_batch([{"image_path": picture, "question": each} for each in questions], temperature=0)
used = states[0].get_meta_info("answer")
print(f"A picture of {picture.width} x {picture.height} pixels: {used['image_tokens']} tokens")
for question, state in zip(questions, states, strict=True):
    print(f"{question} {state['answer'].strip()}")
assert all(state["answer"].strip() for state in states)
