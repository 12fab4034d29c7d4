"""Programs of the kind that SGLang's `examples/frontend_language` and its benchmarks hold, written anew: few-shot,
judge, tree search, skeleton of thought, agents, batches. Structure is checked, not sense.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest

import sgl_lite as sgl
from runtime.api import GenerateRequest
from tests.sgl_lite.fake_backend import FakeBackend


def test_few_shot_classification(backend: FakeBackend) -> None:
    examples = [("I love it", "good"), ("I hate it", "bad")]

    @sgl.function
    def classify(s, text):
        for question, answer in examples:
            s += f"Text: {question}\nLabel: {answer}\n\n"
        s += f"Text: {text}\nLabel: " + sgl.select("label", ["good", "bad"])

    states = classify.run_batch([("Fine",), ("Awful",)])
    assert {s["label"] for s in states} <= {"good", "bad"}
    starts = [bytes(r.prompt).decode().split("Label: ") for r in backend.requests]
    assert len(starts) == 4 and {s[-1] for s in starts} == {"good", "bad"} and {len(s) for s in starts} == {4}
    assert sum(states[0].get_meta_info("label")["probabilities"]) == pytest.approx(1)


def test_multiple_choice_questions(backend: FakeBackend) -> None:
    @sgl.function
    def few_shot_mmlu(s, examples, question):
        s += examples + question + sgl.gen("answer", max_tokens=1)

    backend.answer = lambda r: "ABCD"[len(str(r.prompt)) % 4] + " because"
    arguments = [{"examples": "Q0 A\n", "question": "x" * i} for i in range(9)]
    answers = [s["answer"] for s in few_shot_mmlu.run_batch(arguments, temperature=0, num_threads=4)]
    assert answers == ["ABCD"[(5 + i) % 4] for i in range(9)]


def test_hellaswag_by_select(backend: FakeBackend) -> None:
    @sgl.function
    def hellaswag(s, question, choices):
        s += "Examples.\n" + question
        s += sgl.select("answer", choices=choices)

    items = [
        {"question": "The dog", "choices": [" aaa", " zzz", " mmm"]},
        {"question": "A cat", "choices": [" y", " b"]},
    ]
    # the fake model finds a letter the less likely the later it comes
    assert [s["answer"] for s in hellaswag.run_batch(items)] == [" aaa", " b"]


def test_a_judge_with_branches(backend: FakeBackend) -> None:
    dimensions = ["Clarity", "Originality", "Evidence"]

    @sgl.function
    def multi_dimensional_judge(s, article):
        s += sgl.system("Evaluate the following article.")
        s += sgl.user(article)
        forks = s.fork(len(dimensions))
        for f, dimension in zip(forks, dimensions, strict=True):
            f += sgl.user(f"Evaluate based on the following dimension: {dimension}. End with an integer score.")
            f += sgl.assistant("Judgment: " + sgl.gen("judgment", stop="END"))
        forks.join()
        s += sgl.user("\n".join(d + ": " + j for d, j in zip(dimensions, s["judgment"], strict=True)))
        s += sgl.assistant("Final score: " + sgl.gen("score", dtype=int))

    def answer(request: GenerateRequest) -> str:
        found = re.search(r"dimension: (\w+)", str(request.prompt))
        return f"{found[1]} is fine END 7" if found else "8 points"

    backend.answer = answer
    state = multi_dimensional_judge("An article.")
    assert state["judgment"] == [f"{d} is fine " for d in dimensions]
    assert state.parsed("score") == 8
    assert [m["role"] for m in state.messages()] == ["system", "user", "user", "assistant"]


def test_tree_of_thought(backend: FakeBackend) -> None:
    numbers = itertools.count()
    backend.answer = lambda r: f"<{next(numbers)}>"

    def propose(s, n):
        forks = s.fork(n)
        forks += sgl.user("Propose a plan.")
        forks += sgl.assistant(sgl.gen("plan", max_tokens=64, temperature=1.0))
        return forks

    @sgl.function
    def tree_search(s, question, n):
        s += sgl.system("Solve problems.") + sgl.user(question)
        leaves = [leaf for plan in propose(s, n) for leaf in propose(plan, n)]
        s["paths"] = [leaf.text() for leaf in leaves]
        s["plans"] = Counter(leaf["plan"] for leaf in leaves)

    state = tree_search("2 + 2?", n=3)
    assert len(state["paths"]) == 9 and len(set(state["paths"])) == 9
    assert all(len(re.findall(r"<\d+>", path)) == 2 for path in state["paths"])
    assert len({re.findall(r"<\d+>", path)[0] for path in state["paths"]}) == 3  # three branches of three leaves
    assert len(backend.requests) == 3 + 9 and len(state["plans"]) == 9


def test_self_consistency_by_forks_and_by_n(backend: FakeBackend) -> None:
    numbers = itertools.cycle("112")
    backend.answer = lambda r: f"so it is {next(numbers)}."

    @sgl.function
    def by_forks(s, question):
        s += question
        forks = s.fork(6)
        forks += sgl.gen("answer", stop=".")
        forks.join()
        return Counter(s["answer"]).most_common(1)[0]

    @sgl.function
    def by_n(s, question):
        s += question + sgl.gen("answer", n=6, stop=".")
        return Counter(s["answer"]).most_common(1)[0]

    assert by_forks("Q").ret_value == by_n("Q").ret_value == ("so it is 1", 4)


def test_skeleton_of_thought(backend: FakeBackend) -> None:
    backend.answer = lambda r: "Diet\n2. Sport\n3. Sleep" if str(r.prompt).endswith("1. ") else "details"

    @sgl.function
    def skeleton(s, question):
        s += question + "\n1. " + sgl.gen("points")
        points = ("1. " + s["points"]).split("\n")
        forks = s.fork(len(points))
        forks += lambda i: f"\nExpand {points[i]}: "
        forks += sgl.gen("body")
        forks.join("concate_and_append")

    text = skeleton("How to stay healthy?").text()
    assert re.findall(r"Expand (\d\. \w+): details", text) == ["1. Diet", "2. Sport", "3. Sleep"]


def test_parallel_encoding_of_documents(backend: FakeBackend) -> None:
    @sgl.function
    def answer_from(s, documents, question):
        s += "<<Documents>>\n"
        forks = s.fork(len(documents))
        forks += documents
        forks.join("concate_and_append")
        s += "\n<<Question>>\n" + question + "\nAnswer:" + sgl.gen("answer", stop="\n")

    answer_from(["A.\n", "B.\n", "C.\n"], "Which?").sync()
    assert backend.requests[-1].prompt == "<<Documents>>\nA.\nB.\nC.\n\n<<Question>>\nWhich?\nAnswer:"


def test_react(backend: FakeBackend) -> None:
    ends = {"Thought 1:": "I must add.\n", "calculate[": "2 + 2]", "Thought 2:": "It is 4.\n"}
    backend.answer = lambda r: next((text for end, text in ends.items() if str(r.prompt).endswith(end)), "")

    @sgl.function
    def react(s, question):
        s += f"Question: {question}\n"
        for step in range(1, 3):
            s += f"Thought {step}:" + sgl.gen("thought", stop="\n")
            s += f"\nAction {step}: " + sgl.select("action", ["calculate", "finish"]) + "["
            s += sgl.gen("argument", stop=["]", "\n"]) + "]\n"
            s += f"Observation {step}: {eval(s['argument'])}\n"

    state = react("What is 2 + 2?")
    assert "Action 1: calculate[2 + 2]\nObservation 1: 4\nThought 2:It is 4.\n" in state.text()


def test_generative_agents(backend: FakeBackend) -> None:
    @sgl.function
    def poignancy(s, name, event):
        s += f"{name} sees: {event}\nRate (1 to 9): " + sgl.gen("rate", max_tokens=1, dtype=int)

    @sgl.function
    def location(s, places):
        s += f"Places: {places}\nGo to: {{" + sgl.gen("place", max_tokens=10, stop="}")

    backend.answer = lambda r: "7" if "Rate" in str(r.prompt) else "kitchen} or so"
    rates = poignancy.run_batch([("Ann", "a fire"), ("Bob", "a cat")], temperature=0.0)
    assert [s.parsed("rate") for s in rates] == [7, 7]
    assert location(["kitchen", "hall"])["place"] == "kitchen"


def test_long_chat_in_a_loop(backend: FakeBackend) -> None:
    @sgl.function
    def chat(s, turns):
        for i, turn in enumerate(turns):
            s += sgl.user(turn)
            s += sgl.assistant(sgl.gen(f"answer_{i}", max_tokens=2))

    state = chat([str(i) for i in range(8)])
    assert len(state.messages()) == 16 and all(state[f"answer_{i}"] == "an" for i in range(8))
    prompts = [str(r.prompt) for r in backend.requests]
    assert all(after.startswith(before) for before, after in itertools.pairwise(prompts))


def test_json_fields_one_by_one(backend: FakeBackend) -> None:
    backend.answer = lambda r: '"fire", 42 years' if str(r.prompt).endswith(": ") else "x"

    @sgl.function
    def json_decode(s, document):
        s += document + '\n{\n  "name": ' + sgl.gen_string("name", stop=",") + ",\n"
        s += '  "age": ' + sgl.gen_int("age", stop=[",", "\n"]) + ",\n"
        s += '  "weight": ' + sgl.gen("weight", dtype=float) + ",\n"
        s += '  "adult": ' + sgl.gen("adult", dtype=bool) + "\n}"

    state = json_decode("A document.")
    assert state.parsed("name") == "fire"
    assert isinstance(state.parsed("age"), int) and isinstance(state.parsed("weight"), float)
    assert state["adult"] in ("True", "False") and isinstance(state.parsed("adult"), bool)


def test_questions_about_a_document_share_it(backend: FakeBackend) -> None:
    @sgl.function
    def ask(s, document, questions):
        s += document
        forks = s.fork(len(questions))
        for f, question in zip(forks, questions, strict=True):
            f += "\nQ: " + question + "\nA:" + sgl.gen("answer", max_tokens=4, stop="\n")
        forks.join()

    assert len(ask("doc " * 50, ["a", "b", "c"])["answer"]) == 3
    assert {str(r.prompt)[:200] for r in backend.requests} == {"doc " * 50}


def test_translation_by_a_bound_program(backend: FakeBackend) -> None:
    @sgl.function
    def translate(s, language, text):
        s += f"{text} in {language}: " + sgl.gen("out", max_tokens=2)

    to_german = translate.bind(language="German")
    assert [s.text() for s in to_german.run_batch([{"text": "a"}, {"text": "b"}])] == [
        "a in German: an",
        "b in German: an",
    ]
    assert to_german.bind(text="c")().text() == "c in German: an"
    assert translate("French", "d").text() == "d in French: an"


def test_a_generator_gives_states_while_others_run(backend: FakeBackend) -> None:
    backend.answer = lambda r: str(r.prompt)

    @sgl.function
    def program(s, i):
        s += str(i) + sgl.gen("x", max_tokens=9)

    states = program.run_batch([(i,) for i in range(300)], generator_style=True, num_threads=8)
    assert next(states)["x"] == "0"
    assert [s["x"] for s in states] == [str(i) for i in range(1, 300)]


def test_retrieval_by_the_programs_own_code(backend: FakeBackend) -> None:
    store = {"sky": "The sky is blue.", "sea": "The sea is deep."}

    @sgl.function
    def rag(s, question):
        s += "Key: " + sgl.select("key", list(store)) + "\n"
        s += "Context: " + store[s["key"]] + "\nQ: " + question + "\nA: " + sgl.gen("answer", stop="\n")

    state = rag("Which colour?")
    assert f"Context: {store[state['key']]}\nQ: Which colour?\nA: an answer" in state.text()


def test_thoughts_are_kept_apart_in_two_turns(backend: FakeBackend) -> None:
    answers = iter(["<think>hm</think>One", "<think>ah</think>Two"])
    backend.answer = lambda r: next(answers)

    @sgl.function
    def program(s):
        for i in range(2):
            s += sgl.user(f"Question {i}")
            s += sgl.assistant(sgl.separate_reasoning(sgl.gen(f"a{i}"), model_type="deepseek-r1"))

    state = program()
    assert [state["a0"], state["a1"]] == ["One", "Two"]
    assert [state["a0_reasoning_content"], state["a1_reasoning_content"]] == ["hm", "ah"]
    assert "hm" not in str(backend.requests[1].prompt)
