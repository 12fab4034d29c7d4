"""Branch, solve, merge: one judge for each point of view, side by side; then a verdict from all of them."""

from typing import Literal

from pydantic import BaseModel

import sgl_lite as sgl


class Verdict(BaseModel):
    sentiment: Literal["positive", "negative", "neutral"]
    stars: Literal[1, 2, 3, 4, 5]


@sgl.function
def judge(s, review, views=("price", "quality", "service")):
    s += f"Review: {review}\n"
    forks = s.fork(len(views))
    forks += lambda i: f"The {views[i]} is" + sgl.select("label", [" good", " bad", " unknown"])
    forks.join()
    s += "".join(f"{view}:{label}\n" for view, label in zip(views, s["label"], strict=True))
    s += "Verdict: " + sgl.gen("verdict", type=Verdict, max_tokens=30, temperature=0)


state = judge("The hotel was wonderful. I will come back.")
print(state.text())
assert isinstance(state.parsed("verdict"), Verdict)
