"""The cache of compiled grammars, and how a compile is bounded and cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from grammars import (
    Choice,
    CompileCancelledError,
    ConstraintLimitError,
    ConstraintSyntaxError,
    Format,
    Limits,
    Literal,
    Regex,
    UnsatisfiableConstraintError,
    Vocabulary,
    compile,
    register_format,
)
from grammars.compiler import Compiler
from grammars.spec import Spec

BYTES = Vocabulary([*(bytes([byte]) for byte in range(256)), b""], [256])


@pytest.fixture(scope="module", autouse=True)
def endless_format() -> Iterator[None]:
    def never(limits: Limits) -> Spec:
        while True:
            time.sleep(0.001)

    register_format("endless", never)
    yield


def test_a_compile_ends_within_its_time() -> None:
    before = time.monotonic()
    with pytest.raises(ConstraintLimitError, match=r"more than 0\.2 s"):
        compile(Format("endless"), BYTES, Limits(compile_seconds=0.2))
    assert time.monotonic() - before < 2


def test_a_compile_ends_though_its_first_end_is_lost() -> None:
    """As one that is raised inside of a callback of the garbage collector."""

    def deaf(limits: Limits) -> Spec:
        heard = 0
        while True:
            try:
                while True:
                    time.sleep(0.001)
            except SystemExit:
                heard += 1
                if heard == 3:
                    raise

    register_format("deaf", deaf)
    with pytest.raises(ConstraintLimitError, match=r"more than 0\.1 s"):
        compile(Format("deaf"), BYTES, Limits(compile_seconds=0.1))
    assert not any(thread.name == "grammar compile" for thread in threading.enumerate())


def test_a_compile_can_be_cancelled() -> None:
    cancel = threading.Event()
    threading.Timer(0.1, cancel.set).start()
    with pytest.raises(CompileCancelledError):
        compile(Format("endless"), BYTES, cancel=cancel)


def test_stopped_compiles_leave_no_thread_behind() -> None:
    with pytest.raises(ConstraintLimitError):
        compile(Format("endless"), BYTES, Limits(compile_seconds=0.05))
    until = time.monotonic() + 5
    while any(thread.name == "grammar compile" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_errors_are_those_of_the_front_end() -> None:
    with pytest.raises(UnsatisfiableConstraintError):
        compile(Regex("(?!)"), BYTES)
    with pytest.raises(ConstraintSyntaxError):
        compile(Regex("("), BYTES)


def test_cache_is_by_spec_vocabulary_and_limits_and_bounded_by_memory() -> None:
    compiler = Compiler(cached_bytes=1 << 20)
    first = compiler.compile(Literal("a"), BYTES)
    assert compiler.compile(Literal("a"), Vocabulary(BYTES.tokens, [256])) is first
    assert compiler.compile(Literal("a"), BYTES, Limits(states=10)) is not first
    for k in range(100):
        compiler.compile(Choice([f"{k} {n}" for n in range(100)]), BYTES)
    assert compiler.compile(Literal("a"), BYTES) is not first
    assert sum(grammar.nbytes for grammar in compiler._grammars.values()) <= 1 << 20


def test_a_grammar_that_has_grown_too_large_begins_anew() -> None:
    spec = Choice([f"{n:05} {n * n}" for n in range(3_000)])
    grammar = Compiler().compile(spec, BYTES, Limits(memory_bytes=4 << 20))
    under_way = grammar.matcher(prefix="0")
    for n in range(1_500):
        assert grammar.matcher(prefix=f"{n:05} {n * n}").is_complete()
        assert grammar.nbytes <= 4 << 20
    assert under_way.advance(ord("1")) and not under_way.advance(ord("x"))


def test_tables_that_one_text_makes_too_large_are_an_error() -> None:
    texts = ["".join(chr(97 + (n * k) % 26) for k in range(2_000)) for n in range(5)]
    with pytest.raises(ConstraintLimitError, match="more than 1 MB"):
        Compiler().compile(Choice(texts), BYTES, Limits(memory_bytes=1 << 20)).matcher(prefix=texts[3])


def test_many_threads_may_compile_the_same() -> None:
    found: list[object] = []
    spec = Choice(["one", "two", Regex("[a-z]+3")])
    threads = [threading.Thread(target=lambda: found.append(compile(spec, BYTES))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len({id(grammar) for grammar in found}) == 1


def test_a_registered_format() -> None:
    register_format("traffic light", traffic_light)
    register_format("traffic light", traffic_light)
    grammar = compile(Format("traffic light"), BYTES)
    assert grammar.matcher(prefix="amber").is_complete()
    with pytest.raises(ConstraintSyntaxError, match="registered already"):
        register_format("traffic light", lambda limits: Literal("green"))


def traffic_light(limits: Limits) -> Spec:
    return Choice(["red", "amber", "green"])
