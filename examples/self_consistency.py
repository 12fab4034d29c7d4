"""Self-consistency: several answers to one question, and the one given most often."""

from collections import Counter

import sgl_lite as sgl


@sgl.function
def ask(s, question):
    s += f"Question: {question}\nAnswer: "
    s += sgl.gen("answer", dtype=int, n=9, max_tokens=6, temperature=0.7, seed=1)


state = ask("What is 3 + 4?")
votes = Counter(state.parsed("answer"))
print(votes.most_common())
assert votes.total() == 9
