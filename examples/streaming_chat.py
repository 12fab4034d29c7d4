"""A chat of several turns, each answer streamed."""

import sgl_lite as sgl


@sgl.function
def chat(s, questions):
    s += sgl.system("Answer in few words.")
    for number, question in enumerate(questions):
        s += sgl.user(question)
        s += sgl.assistant(sgl.gen(f"answer {number}", max_tokens=24))


questions = ["What is the capital of France?", "What is 3 + 4?"]
state = chat.stream(questions, temperature=0)
for number, question in enumerate(questions):
    print(f"> {question}\n", end="", flush=True)
    for piece in state.text_iter(f"answer {number}"):
        print(piece, end="", flush=True)
    print()
assert [message["role"] for message in state.messages()] == ["system"] + ["user", "assistant"] * 2
