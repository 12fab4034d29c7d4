"""The parts of SGLang's state and function that programs lean on, edge by edge: variables, scopes, joins, batches,
errors, templates.
"""

from __future__ import annotations

import threading

import pytest

import sgl_lite as sgl
from sgl_lite.lang.chat_template import get_chat_template
from sgl_lite.lang.choices import greedy_token_selection, token_length_normalized, unconditional_likelihood_normalized
from sgl_lite.lang.ir import SglArgument, SglGen, SglSelect
from tests.sgl_lite.fake_backend import FakeBackend


def test_variables_of_ones_own(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s.set_var("x", 1)
        s["y"] = s["x"] + 1
        s += f"{s['y']}"
        assert "x" in s and "z" not in s

    state = program()
    assert (state["x"], state.get_var("y"), state.text()) == (1, 2, "2")


def test_names_are_there_before_their_values(backend: FakeBackend) -> None:
    backend.gate.clear()

    @sgl.function
    def program(s):
        s += sgl.gen("x", max_tokens=2)
        there = "x" in s
        backend.gate.set()
        return there, s["x"]

    assert program().ret_value == (True, "an")


def test_a_gen_without_a_name(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += "a" + sgl.gen(max_tokens=2) + "b"

    assert program().text() == "aanb" and list(program().save()["variables"]) == []


def test_scopes_hold_roles(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.user("Hi")
        with s.assistant(), s.var_scope("turn"):
            s += "I say " + sgl.gen("x", max_tokens=2)

    state = program()
    assert state["turn"] == "I say an" == state.messages()[-1]["content"]


def test_lists_and_sums_of_nodes_are_the_same(backend: FakeBackend) -> None:
    def texts(add):
        program = sgl.function(add)
        return program().text()

    nodes = ["a", sgl.gen("x", max_tokens=1), "b"]
    by_list = texts(lambda s: s.__iadd__(nodes))
    by_sum = texts(lambda s: s.__iadd__("a" + sgl.gen("x", max_tokens=1) + "b"))
    nested = texts(lambda s: s.__iadd__(["a", [sgl.gen("x", max_tokens=1), ["b"]]]))
    assert by_list == by_sum == nested == "aab"


def test_join_leaves_the_parents_names_alone_and_lists_the_new_ones(backend: FakeBackend) -> None:
    backend.answer = lambda r: str(r.prompt)[-1]

    @sgl.function
    def program(s):
        s += "p" + sgl.gen("old", max_tokens=1)
        forks = s.fork(3)
        forks += ["a", "b", "c"]
        forks += sgl.gen("new", max_tokens=1)
        forks[1]["only"] = "mine"
        forks.join()

    state = program()
    assert (state["old"], state["new"], state["only"]) == ("p", ["a", "b", "c"], ["mine"])
    assert state.text() == "pp"


def test_join_adds_the_children_texts_in_order_whatever_ends_first(backend: FakeBackend) -> None:
    release = threading.Event()
    backend.answer = lambda r: str(r.prompt)[-1] * 2

    @sgl.function
    def program(s):
        s += "0"
        forks = s.fork(3)
        for i, fork in reversed(list(enumerate(forks))):
            fork += "abc"[i] + sgl.gen("x", max_tokens=2)
        release.set()
        forks.join("concate_and_append")
        s += "!"

    assert program().text() == "0aaabbbccc!" and release.is_set()


def test_a_fork_copies_variables_and_messages(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.user("Hi") + sgl.assistant(sgl.gen("x", max_tokens=1))
        s["k"] = "v"
        (child,) = s.fork(1)
        child += sgl.user("More")
        return child["x"], child["k"], len(child.messages()), len(s.messages())

    assert program().ret_value == ("a", "v", 3, 2)


def test_copies_come_back_as_lists(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += "text"
        with s.copy() as tmp:
            tmp += " and " + sgl.gen("x", max_tokens=1)
            assert tmp.text() == "text and a"

    state = program()
    assert (state["x"], state.text()) == (["a"], "text")


@pytest.mark.parametrize("items", [[("x", 1), ("y",)], [["x", 1], {"a": "y"}], [{"a": "x", "b": 1}, ("y", 2)]])
def test_batches_of_tuples_lists_and_dicts(backend: FakeBackend, items: list) -> None:
    @sgl.function
    def program(s, a, b=2):
        s += f"{a}{b}"

    assert [s.text() for s in program.run_batch(items)] == ["x1", "y2"]


@pytest.mark.parametrize("items", [[()], [("a", 1, 2)], [{"c": 1}], ["ab"], [3]])
def test_bad_items_of_a_batch_are_named_before_anything_runs(backend: FakeBackend, items: list) -> None:
    @sgl.function
    def program(s, a, b=2):
        s += f"{a}{b}" + sgl.gen("x")

    with pytest.raises(sgl.ArgumentError):
        program.run_batch([("fine",), *items])
    assert backend.requests == []


def test_an_empty_batch(backend: FakeBackend) -> None:
    assert sgl.function(lambda s: None).run_batch([]) == []


def test_one_failure_of_a_batch(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, x):
        s += f"{6 // x}" + sgl.gen("y", max_tokens=1)

    good, bad, other = program.run_batch([(1,), (0,), (2,)])
    assert (good.text(), other.text()) == ("6a", "3a") and isinstance(bad.error(), ZeroDivisionError)
    assert good.error() is None
    with pytest.raises(ZeroDivisionError):
        _ = bad["y"]


def test_what_a_program_is_made_of() -> None:
    @sgl.function
    def program(s, a, b=1, *, c=2):
        """Says so."""

    assert (program.arg_names, program.arg_defaults, program.func.__name__) == (["a", "b", "c"], [1, 2], "program")
    assert program.bind(b=5).bind_arguments == {"b": 5} and program.__doc__ == "Says so."
    with pytest.raises(sgl.ArgumentError, match="no parameter 'd'"):
        program.bind(d=1)


def test_gens_and_selects_are_nodes_by_their_names_there() -> None:
    assert isinstance(sgl.gen("x"), SglGen) and isinstance(sgl.select("x", ["a"]), SglSelect)
    assert isinstance(sgl.gen("x", choices=["a", "b"]), SglSelect)


def test_a_trace_with_stand_ins(backend: FakeBackend) -> None:
    seen = []

    @sgl.function
    def program(s, question, n=2):
        seen.append(question)
        s += "Q: " + question
        forks = s.fork(n)
        forks += sgl.gen("x")
        forks.join()
        s += sgl.gen("y")
        return "done"

    traced = program.trace(n=3)
    assert isinstance(seen[0], SglArgument) and traced.ret_value == "done" and backend.requests == []
    assert [len(stage) for stage in traced.plan()] == [3, 1]
    with pytest.raises(sgl.TraceError, match="no value while tracing"):
        sgl.function(lambda s, a: s.__iadd__(f"{a}")).trace()


def test_a_constant_beginning_is_computed_ahead(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, question):
        s += "Examples. " * 9
        s += question + sgl.gen("x")

    assert program.cache() == "Examples. " * 9
    (request,) = backend.requests
    assert (request.prompt, request.sampling.max_tokens) == ("Examples. " * 9, 0)


@pytest.mark.parametrize(
    ("method", "best", "extra"),
    [
        (token_length_normalized, "aa", None),
        (greedy_token_selection, "aa", "greedy_logprob_matrix"),
        # the fake model ignores what stands before, so nothing is gained by the prompt and the first is as good as any
        (unconditional_likelihood_normalized, "bb", "normalized_unconditional_prompt_logprobs"),
    ],
)
def test_choices_methods_and_their_meta(backend: FakeBackend, method, best: str, extra: str | None) -> None:
    @sgl.function
    def program(s):
        s += "Q: " + sgl.gen("x", choices=["bb", "aa", "c"], choices_method=method)

    state = program()
    meta = state.get_meta_info("x")
    assert state["x"] == best and len(meta["normalized_prompt_logprobs"]) == 3
    assert meta["normalized_prompt_logprobs"][1] == pytest.approx(-1 / 8)
    assert len(meta["input_token_logprobs"][2]) == 1 and (extra is None or len(meta[extra]) == 3)


def test_templates_by_name_and_by_model() -> None:
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "U"}]
    assert get_chat_template("llama-3-instruct").get_prompt(messages).count("<|eot_id|>") == 2
    assert (
        get_chat_template("chatml").get_prompt(messages)
        == "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
    )
    with pytest.raises(sgl.ArgumentError, match="no-such"):
        get_chat_template("no-such")


def test_a_template_ends_the_models_turn(backend: FakeBackend) -> None:
    fake = FakeBackend("Hello<|eot_id|>user says", template=get_chat_template("llama-3-instruct"))
    state = sgl.function(lambda s: s.__iadd__(sgl.user("Hi") + sgl.assistant(sgl.gen("x"))))(backend=fake)
    assert state["x"] == "Hello" and fake.requests[0].sampling.stop == ("<|eot_id|>",)


def test_settings_of_the_run_reach_every_gen_and_its_own_win(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.gen("x") + sgl.gen("y", temperature=0.9, stop=["b"], top_k=3, ignore_eos=False)

    program.run(
        max_new_tokens=7, n=1, stop="a", stop_token_ids=[5], temperature=0.2, top_p=0.9, top_k=9, min_p=0.1,
        frequency_penalty=0.5, presence_penalty=-0.5, ignore_eos=True,
    ).sync()  # fmt: skip
    x, y = (r.sampling for r in backend.requests)
    assert (x.max_tokens, x.stop, x.stop_token_ids, x.top_p, x.min_p) == (7, ("a",), (5,), 0.9, 0.1)
    assert (x.temperature, x.top_k, x.ignore_eos, x.frequency_penalty, x.presence_penalty) == (0.2, 9, True, 0.5, -0.5)
    assert (y.temperature, y.stop, y.top_k, y.ignore_eos, y.top_p) == (0.9, ("b",), 3, False, 0.9)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda: sgl.gen("x", regex="(a"), "does not parse"),
        (lambda: sgl.gen("x", json_schema="{"), "not JSON"),
        (lambda: sgl.gen("x", temperature=-1), "temperature"),
        (lambda: sgl.gen("x", regex="a", dtype=int), "regex and dtype"),
        (lambda: sgl.gen("x", max_new_tokens=3), "max_new_tokens"),
        (lambda: sgl.select("x", []), "empty"),
        (lambda: sgl.gen("x", choices=["a"], choices_method="best"), "best"),
        (lambda: sgl.gen(3), "name of a variable"),
    ],
)
def test_wrong_arguments_are_errors_where_they_are_written(write, message: str) -> None:
    with pytest.raises((sgl.ArgumentError, sgl.ConstraintSyntaxError), match=message):
        write()


def test_a_failing_answer_is_raised_where_it_is_read_with_its_line(backend: FakeBackend) -> None:
    def answer(request):
        raise ConnectionError("no model there")

    @sgl.function
    def program(s):
        s += "kept " + sgl.gen("a", max_tokens=2)
        _ = s["a"]
        backend.answer = answer
        s += sgl.gen("b")

    with pytest.raises(ConnectionError, match="no model there") as caught:
        program()
    assert any("gen('b')" in note and "test_sglang_state.py" in note for note in caught.value.__notes__)


def test_none_and_numbers_are_no_text(backend: FakeBackend) -> None:
    for value in (None, 3, b"x", {"a": 1}):
        with pytest.raises(sgl.AppendError):
            sgl.function(lambda s, v=value: s.__iadd__(v))()
