"""A whole JSON value, valid however few tokens there are."""

import json

import sgl_lite as sgl


@sgl.function
def generate_profile(s, name):
    s += f"Generate profile for {name}:"
    with s.constrain(format="json"):
        s += sgl.gen("profile", max_tokens=200)


state = generate_profile("Ada")

print(state["profile"])
json.loads(state["profile"])
