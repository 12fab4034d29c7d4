"""A run as one page: the tree of its forks, who wrote what, and the chances of every token."""

import tempfile
from pathlib import Path

import sgl_lite as sgl


@sgl.function
def trip(s, city):
    s += sgl.user(f"Tell me about {city}.")
    s += sgl.assistant(sgl.gen("about", max_tokens=16))
    forks = s.fork(2)
    forks += lambda i: sgl.user(["What to see?", "What to eat?"][i])
    forks += sgl.assistant(sgl.gen("tip", max_tokens=12))
    forks.join()
    s += sgl.user("Is it warm?")
    s += sgl.assistant(sgl.select("warm", ["yes", "no"]))


state = trip("Paris", return_logprob=True, top_logprobs_num=3)
state.show()
page = Path(tempfile.mkdtemp()) / "run.html"
state.to_html(page)
print(f"open {page} in a browser")
assert page.read_text().count('class="state"') == 3
