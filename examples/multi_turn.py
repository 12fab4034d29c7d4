"""A conversation of several turns: each is asked with all that was said before, of which nothing is computed twice."""

import sgl_lite as sgl

QUESTIONS = ["Generate profile for Ada:", "And one for Tom:", "And one for Eva:"]


@sgl.function
def interview(s, questions):
    s += sgl.system("You write profiles.")
    for number, question in enumerate(questions):
        s += sgl.user(question)
        s += sgl.assistant(sgl.gen(f"answer_{number}", max_tokens=24, temperature=0))


state = interview(QUESTIONS)
for message in state.messages():
    print(f"{message['role']}: {message['content']}")
for number in range(1, len(QUESTIONS)):
    meta = state.get_meta_info(f"answer_{number}")
    print(f"turn {number}: {meta['cached_tokens']} of {meta['prompt_tokens']} prompt tokens were computed before")
    assert meta["cached_tokens"] > 0
