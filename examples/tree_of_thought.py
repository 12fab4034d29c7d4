"""Tree of thought: several ideas, each judged, the best one followed."""

import sgl_lite as sgl


@sgl.function
def solve(s, question, width):
    s += f"Question: {question}\n"
    ideas = s.fork(width)
    for number, idea in enumerate(ideas):
        idea += f"Idea {number + 1}:" + sgl.gen("idea", max_tokens=16, stop="\n", seed=number)
        idea += "\nHow good is it, from 1 to 9? " + sgl.gen("score", regex="[1-9]", max_tokens=1)
    ideas.join()
    best = max(range(width), key=lambda i: int(s["score"][i]))
    s += f"The best idea:{s['idea'][best]}\nAnswer:" + sgl.gen("answer", max_tokens=16, stop="\n")


state = solve("What is the capital of France?", width=4)
for idea, score in zip(state["idea"], state["score"], strict=True):
    print(score, idea)
print("->", state["answer"])
assert len(state["idea"]) == 4 and all(score in "123456789" for score in state["score"])
