"""Programs on the fake backend: adding, reading, scopes, forks."""

from __future__ import annotations

import pytest

import sgl_lite as sgl
from tests.sgl_lite.fake_backend import FakeBackend


@sgl.function
def greet(s, name):
    s += f"Hi {name}: " + sgl.gen("a", max_tokens=2) + ", "
    s += [sgl.gen("b", max_tokens=9), "."]
    return name.upper()


def test_text_and_variables(backend: FakeBackend) -> None:
    state = greet("Ada")
    assert state.text() == "Hi Ada: an, an answer."
    assert (state["a"], state.get_var("b"), state.ret_value) == ("an", "an answer", "ADA")
    assert "a" in state and "c" not in state
    assert repr(state) == "ProgramState('Hi Ada: an, an answer.')"
    assert [r.prompt for r in backend.requests] == ["Hi Ada: ", "Hi Ada: an, "]


def test_adding_does_not_wait(backend: FakeBackend) -> None:
    backend.gate.clear()
    state = greet("Ada")
    assert len(backend.requests) == 1
    backend.gate.set()
    assert state["b"] == "an answer"


def test_a_state_may_go_on_after_its_program(backend: FakeBackend) -> None:
    state = greet("Ada")
    state += " More: " + sgl.gen("c", max_tokens=1)
    assert state["c"] == "a" and state.text().endswith("More: a")


def test_meta_info(backend: FakeBackend) -> None:
    meta = greet("Ada").get_meta_info("a")
    assert meta is not None
    assert {"id", "prompt_tokens", "completion_tokens", "cached_tokens", "finish_reason", "e2e_latency"} <= meta.keys()
    assert meta["finish_reason"] == {"type": "stop", "matched": None}


def test_set_variables(backend: FakeBackend) -> None:
    state = greet("Ada")
    state["n"] = 3
    state.set_var("m", [1])
    assert (state["n"], state["m"], state.get_meta_info("n")) == (3, [1], None)


def test_a_name_used_twice_has_its_last_value(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.gen("x", max_tokens=1)
        first = s["x"]
        s += sgl.gen("x", max_tokens=3)
        return first, s["x"]

    assert program().ret_value == ("a", "an ")


def test_var_scope(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        with s.var_scope("outer"):
            s += "["
            with s.var_scope("inner"):
                s += sgl.gen(max_tokens=2)
            s += "]"

    state = program()
    assert (state["inner"], state["outer"]) == ("an", "[an]")


def test_several_answers(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.gen("x", n=3, max_tokens=2)

    state = program()
    assert state["x"] == ["an", "an", "an"] and state.text() == "an"
    assert len(state.get_meta_info("x")["finish_reasons"]) == 3


def test_settings_of_the_run_and_of_the_gen(backend: FakeBackend) -> None:
    @sgl.function
    def program(s, n):
        s += sgl.gen("x") + sgl.gen("y", max_tokens=7, temperature=0, stop=["\n"])

    program(n=2, max_new_tokens=5, temperature=0.5, stop="!").sync()
    first, second = (r.sampling for r in backend.requests)
    assert (first.max_tokens, first.temperature, first.stop, first.n) == (5, 0.5, ("!",), 1)
    assert (second.max_tokens, second.temperature, second.stop) == (7, 0, ("\n",))


def test_check_draws_again(backend: FakeBackend) -> None:
    answers = iter(["no", "no", "yes"])
    backend.answer = lambda request: next(answers)

    @sgl.function
    def program(s):
        s += sgl.gen("x", check=lambda text: text == "yes", retries=2)

    assert program()["x"] == "yes"


def test_check_gives_up(backend: FakeBackend) -> None:
    @sgl.function
    def program(s):
        s += sgl.gen("x", check=lambda text: False, retries=1)

    with pytest.raises(sgl.CheckError) as caught:
        _ = program()["x"]
    assert caught.value.answers == ("an answer", "an answer")


class TestForks:
    def test_gather(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s += "root "
            forks = s.fork(3)
            forks += lambda i: f"{i}: "
            for i, fork in enumerate(forks):
                fork += sgl.gen("x", max_tokens=i + 1)
            forks.join()
            s += "end"

        state = program()
        assert state["x"] == ["a", "an", "an "] and state.text() == "root end"
        assert sorted(r.prompt for r in backend.requests) == ["root 0: ", "root 1: ", "root 2: "]
        assert len(state.get_meta_info("x")["forks"]) == 3

    def test_children_wait_for_their_parent(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s += "root " + sgl.gen("r", max_tokens=1)
            backend.gate.clear()
            forks = s.fork(2)
            forks += [sgl.gen("x", max_tokens=1), "text"]
            backend.gate.set()
            assert forks[0]["r"] == "a" and "x" not in forks[1]
            return [f.text() for f in forks]

        assert program().ret_value == ["root aa", "root atext"]

    def test_append(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s += "root"
            forks = s.fork(2)
            forks += " and " + sgl.gen("x", max_tokens=2)
            forks.join("concate_and_append")

        assert program().text() == "root and an and an"

    def test_copy(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s += "root"
            with s.copy() as other:
                other += sgl.gen("x", max_tokens=1)

        state = program()
        assert state["x"] == ["a"] and state.text() == "root"

    def test_fork_of_an_empty_state(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            forks = s.fork(2)
            forks += sgl.gen("x", max_tokens=1)
            forks.join()

        assert program()["x"] == ["a", "a"]

    def test_forks_of_forks(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            for fork in (outer := s.fork(2)):
                inner = fork.fork(2)
                inner += sgl.gen("x", max_tokens=1)
                inner.join()
            outer.join()

        assert program()["x"] == [["a", "a"], ["a", "a"]]

    def test_names_of_the_parent_are_left_alone(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            s["x"] = 1
            forks = s.fork(2)
            for fork in forks:
                fork["x"] = 2
                fork["y"] = 3
            forks.join()

        state = program()
        assert (state["x"], state["y"]) == (1, [3, 3])

    def test_a_failing_child_does_not_hurt_the_others(self, backend: FakeBackend) -> None:
        def answer(request):
            if request.prompt.endswith("1"):
                raise ValueError("broken")
            return "fine"

        backend.answer = answer

        @sgl.function
        def program(s):
            forks = s.fork(2)
            for i, fork in enumerate(forks):
                fork["i"] = i
                fork += str(i)
            forks[0] += sgl.gen("x")
            with pytest.raises(ValueError, match="broken"):
                forks[1] += sgl.gen("x")
            forks.join()
            s += "goes on"

        state = program()
        assert state.text() == "goes on" and state["i"] == [0, 1]
        with pytest.raises(ValueError, match="broken"):
            _ = state["x"]

    def test_misuse(self, backend: FakeBackend) -> None:
        @sgl.function
        def program(s):
            with pytest.raises(sgl.ArgumentError, match="at least 1"):
                s.fork(0)
            with pytest.raises(sgl.ArgumentError, match="position_ids_offset"):
                s.fork(2, [0, 1])
            forks = s.fork(2)
            with pytest.raises(sgl.ArgumentError, match="one item a state"):
                forks += ["a"]
            with pytest.raises(sgl.ForkError, match="cannot be replaced"):
                forks[0] = s
            with pytest.raises(sgl.ArgumentError, match="gather_variable"):
                forks.join("mix")
            forks.join()
            with pytest.raises(sgl.ForkError, match="joined already"):
                forks.join()

        program()
