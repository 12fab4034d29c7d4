"""The engine on the fake model: what callers see, from many threads, at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import random
import threading
import time
import tracemalloc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from grammars.errors import BudgetError, ConformError
from grammars.spec import Choice, Literal
from runtime.api import GenerateRequest, PromptImage, RequestOutput, SamplingParams
from runtime.engine import Engine
from runtime.errors import EngineStopped, PromptTooLongError, RequestAborted, RequestError
from runtime.images import Image
from tests.runtime.fake_engine import FakeModel, fake_engine
from tests.runtime.fake_model import FakeRunner, expected_output

VOCAB = 400


@pytest.fixture
def engine() -> Iterator[Engine]:
    with fake_engine() as engine:
        yield engine
        idle(engine)
        engine.check_invariants()
        assert engine.flush_cache()


def idle(engine: Engine) -> None:
    """Wait until nothing runs."""
    until = time.monotonic() + 20
    while engine.stats()["running"] or engine.stats()["waiting"]:
        assert time.monotonic() < until, "the engine does not come to rest"
        time.sleep(0.002)


def request(prompt: Any = "Hello there", **sampling: Any) -> GenerateRequest:
    fields = {name: sampling.pop(name) for name in list(sampling) if name in GenerateRequest.__slots__}
    return GenerateRequest(prompt=prompt, sampling=SamplingParams(**sampling), **fields)


def slow_engine(seconds: float = 0.002, **settings: Any) -> Engine:
    engine = fake_engine(**settings)
    runner = engine._loop._runner
    forward = runner.forward

    def slowly(batch: Any) -> Any:
        time.sleep(seconds)
        return forward(batch)

    runner.forward = slowly  # type: ignore[method-assign]
    return engine


def test_outputs_equal_the_model_alone_whatever_the_neighbours() -> None:
    rng = random.Random(1)
    with fake_engine(num_pages=60) as engine:
        wanted: list[tuple[Any, list[int]]] = []
        lock = threading.Lock()

        def client(seed: int) -> None:
            mine = random.Random(seed)
            for _ in range(15):
                prompt = tuple([5, 6, 7, 8] * mine.randrange(1, 8) + [mine.randrange(20)])
                sampling = SamplingParams(
                    max_tokens=mine.randrange(1, 30),
                    temperature=mine.choice([0.0, 1.0]),
                    seed=mine.randrange(100),
                    ignore_eos=True,
                )
                running = engine.submit(GenerateRequest(prompt=prompt, sampling=sampling, priority=mine.randrange(3)))
                with lock:
                    wanted.append((running, expected_output(prompt, sampling, VOCAB, sampling.seed or 0)))
                if mine.random() < 0.3:
                    running.result(30)

        threads = [threading.Thread(target=client, args=(rng.randrange(1000),)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for running, expected in wanted:
            assert list(running.result(30).outputs[0].token_ids) == expected
        idle(engine)
        engine.check_invariants()
        assert engine.stats()["cache_hit_rate"] > 0.1
        assert engine.flush_cache()


def test_aborts_at_random_moments_leave_nothing() -> None:
    rng = random.Random(2)
    with slow_engine(0.0005, num_pages=80) as engine:
        running = []
        for _ in range(120):
            running.append(
                engine.submit(
                    request(
                        tuple(rng.randrange(9) for _ in range(rng.randrange(1, 60))),
                        max_tokens=rng.randrange(40),
                        n=rng.choice([1, 1, 3]),
                        timeout=rng.choice([None, None, 0.004]),
                    )
                )
            )
            if rng.random() < 0.6:
                rng.choice(running).abort()
            time.sleep(rng.random() * 0.003)
            if rng.random() < 0.2:
                engine.check_invariants()
        ended = 0
        for one in running:
            try:
                assert one.result(30).finished
            except RequestAborted as aborted:
                ended += 1
                assert isinstance(aborted.output, RequestOutput)
        assert 0 < ended < len(running)
        idle(engine)
        engine.check_invariants()
        assert engine.flush_cache()
        stats = engine.stats()
        assert stats["requests_finished"] + stats["requests_aborted"] == len(running)


def test_timeout(engine: Engine) -> None:
    with slow_engine() as slow:
        with pytest.raises(RequestAborted, match=r"timeout of 0\.02 s") as raised:
            slow.submit(request(max_tokens=400, ignore_eos=True, timeout=0.02)).result(10)
        assert raised.value.output.outputs[0].finish_reason == "abort"


def test_result_timeout_leaves_the_request_running() -> None:
    with slow_engine() as engine:
        running = engine.submit(request(max_tokens=20, ignore_eos=True))
        with pytest.raises(TimeoutError):
            running.result(0.001)
        assert len(running.result(10).outputs[0].token_ids) == 20


def test_streams_grow_and_end_with_the_result() -> None:
    with slow_engine() as engine:
        running = engine.submit(request(max_tokens=30, stop=["zz"], ignore_eos=True))
        outputs = list(running.outputs())
        assert len(outputs) > 3 and outputs[-1].finished and not outputs[0].finished
        for before, after in itertools.pairwise(outputs):
            assert after.outputs[0].text.startswith(before.outputs[0].text)
        assert outputs[-1] == running.result()
        assert list(running.outputs()) == [running.result()]


def test_async_iteration_and_cancel() -> None:
    async def main(engine: Engine) -> None:
        seen = [output async for output in engine.submit(request(max_tokens=20, ignore_eos=True))]
        assert len(seen) > 3 and seen[-1].finished
        result = await engine.async_generate("abc", {"max_new_tokens": 4})
        assert isinstance(result, dict)
        task = asyncio.create_task(engine.async_generate("abc", {"max_new_tokens": 500, "ignore_eos": True}))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stream = await engine.async_generate("abc", {"max_new_tokens": 10, "ignore_eos": True}, stream=True)
        texts = [result["text"] async for result in stream]
        assert texts[-1].startswith(texts[0])

    with slow_engine() as engine:
        asyncio.run(main(engine))
        idle(engine)
        assert engine.stats()["requests_aborted"] == 1


def test_on_output_and_done_callbacks(engine: Engine) -> None:
    seen: list[RequestOutput] = []
    done: list[Any] = []
    running = engine.submit(request(max_tokens=6, ignore_eos=True), seen.append)
    running.add_done_callback(done.append)
    running.result(10)
    idle(engine)
    running.add_done_callback(done.append)
    assert done == [running, running]
    assert [len(output.outputs[0].token_ids) for output in seen] == [1, 2, 3, 4, 5, 6]


def test_a_failing_callback_ends_its_request_only(engine: Engine) -> None:
    def fail(output: RequestOutput) -> None:
        raise ZeroDivisionError("in the callback")

    other = engine.submit(request(max_tokens=50, ignore_eos=True))
    with pytest.raises(ZeroDivisionError):
        engine.submit(request(max_tokens=50, ignore_eos=True), fail).result(10)
    assert len(other.result(10).outputs[0].token_ids) == 50


def test_several_answers_share_the_prompt() -> None:
    with fake_engine() as engine:
        prompt = tuple(range(10, 50))
        output = engine.submit(request(prompt, max_tokens=5, n=4, seed=3, ignore_eos=True)).result(10)
        assert len({one.token_ids for one in output.outputs}) == 4
        assert [one.index for one in output.outputs] == [0, 1, 2, 3]
        assert output.usage.completion_tokens == 20
        again = engine.submit(request(prompt, max_tokens=5, seed=3, ignore_eos=True)).result(10)
        assert again.outputs[0].token_ids == output.outputs[0].token_ids
        # 40 tokens once, the last page of the prompt again for each of the others, then a token each and step
        assert engine.stats()["computed_tokens"] <= 40 + 3 * 4 + 4 * 4 + 8


def test_the_loops_death_reaches_every_request() -> None:
    engine = fake_engine()
    runner = engine._loop._runner

    def die(batch: Any) -> Any:
        raise MemoryError("no room for the step")

    runner.forward = die  # type: ignore[method-assign]
    first, second = engine.submit(request()), None
    with contextlib.suppress(EngineStopped):
        second = engine.submit(request())
    for running in filter(None, (first, second)):
        with pytest.raises(EngineStopped, match="no room for the step") as raised:
            running.result(10)
        assert isinstance(raised.value.__cause__, MemoryError)
    engine._loop._thread.join()
    with pytest.raises(EngineStopped, match="no room"):
        engine.submit(request())
    with pytest.raises(EngineStopped):
        engine.flush_cache()
    engine.shutdown()


def test_shutdown_ends_what_runs() -> None:
    engine = slow_engine()
    running = [engine.submit(request(max_tokens=400, ignore_eos=True)) for _ in range(20)]
    engine.shutdown()
    for one in running:
        with pytest.raises(EngineStopped):
            one.result(1)
    engine.shutdown()
    with pytest.raises(EngineStopped, match="shut down"):
        engine.submit(request())


def test_end_of_text_and_stop_tokens(engine: Engine) -> None:
    sampling = SamplingParams(max_tokens=200, temperature=0.0)
    tokens = expected_output((5, 6), sampling, VOCAB)
    stop = tokens[10]
    cut = tokens[: tokens.index(stop) + 1]
    output = engine.submit(request((5, 6), max_tokens=200, temperature=0.0, stop_token_ids=[stop], ignore_eos=True))
    one = output.result(10).outputs[0]
    assert list(one.token_ids) == cut and (one.finish_reason, one.stop_reason) == ("stop", stop)
    assert one.text == engine.decode(cut[:-1])
    with fake_engine(model=FakeModel(eos_token_ids=frozenset({stop}))) as other:
        one = other.submit(request((5, 6), max_tokens=200, temperature=0.0)).result(10).outputs[0]
        assert list(one.token_ids) == cut and (one.finish_reason, one.stop_reason) == ("stop", None)
        one = other.submit(request((5, 6), max_tokens=200, temperature=0.0, ignore_eos=True)).result(10).outputs[0]
        assert len(one.token_ids) == 200 and one.finish_reason == "length"


def test_stop_strings(engine: Engine) -> None:
    whole = engine.submit(request((5, 6), max_tokens=60, temperature=0.0, ignore_eos=True)).result(10).outputs[0].text
    stop = whole[20:22]
    for include in (False, True):
        one = engine.submit(
            request(
                (5, 6), max_tokens=60, temperature=0.0, ignore_eos=True, stop=stop, include_stop_str_in_output=include
            )
        )
        output = one.result(10).outputs[0]
        assert output.text == whole[: whole.index(stop) + 2 * include]
        assert (output.finish_reason, output.stop_reason) == ("stop", stop)


def test_logprobs_of_prompt_output_and_forced_tokens(engine: Engine) -> None:
    output = engine.submit(
        request((5, 6, 7), max_tokens=4, logprobs=0, prompt_logprobs=0, prompt_logprobs_start=1, ignore_eos=True)
    ).result(10)
    assert output.prompt_logprobs is not None and [one.token_id for one in output.prompt_logprobs] == [6, 7]
    one = output.outputs[0]
    assert one.logprobs is not None and [item.token_id for item in one.logprobs] == list(one.token_ids)
    forced = engine.submit(request(constraint=Literal("age: 36"), max_tokens=20, logprobs=0)).result(10)
    one = forced.outputs[0]
    assert one.text == "age: 36" and forced.usage.forced_tokens > 0
    assert one.logprobs is not None and [item.token_id for item in one.logprobs] == list(one.token_ids)


@pytest.mark.parametrize("jump", [True, False])
def test_constraints_hold_and_jumps_change_nothing(jump: bool) -> None:
    options = ['{"name": "Ada", "age": 36}', '{"name": "Bob"}', "again and again"]
    texts = []
    with fake_engine(jump_forward=jump) as engine:
        for seed in range(30):
            output = engine.submit(request(constraint=Choice(options), max_tokens=40, seed=seed)).result(10)
            one = output.outputs[0]
            assert one.text in options and one.finish_reason == "stop"
            texts.append((one.text, one.token_ids, output.usage.forced_tokens))
        steps = engine.stats()["steps"]
        idle(engine)
        assert engine.flush_cache()
    assert len({text for text, *_ in texts}) == 3
    with fake_engine(jump_forward=not jump) as other:
        for seed, expected in enumerate(texts):
            output = other.submit(request(constraint=Choice(options), max_tokens=40, seed=seed)).result(10)
            one = output.outputs[0]
            assert (one.text, one.token_ids, output.usage.forced_tokens) == expected
        assert (steps < other.stats()["steps"]) is jump


def test_a_stop_ends_a_constrained_text_only_where_it_is_complete(engine: Engine) -> None:
    constraint = Choice(["a\nb\nc", "a\nb"])
    one = engine.submit(request(constraint=constraint, max_tokens=20, stop="\n")).result(10).outputs[0]
    assert one.text in ("a\nb\nc", "a\nb")
    for seed in range(20):
        output = engine.submit(request(constraint=constraint, max_tokens=20, stop="\n", seed=seed)).result(10)
        one = output.outputs[0]
        assert one.text == "a\nb"


def test_constraint_errors_are_raised_at_submit(engine: Engine) -> None:
    with pytest.raises(BudgetError, match="raise max_tokens"):
        engine.submit(request(constraint=Literal("a long text that takes many tokens"), max_tokens=1))
    with pytest.raises(ConformError):
        engine.submit(request(constraint=Literal("abc"), constraint_prefix="x", max_tokens=9))
    with pytest.raises(ConformError):
        engine.check_constraint(Literal("abc"), "abd")
    engine.check_constraint(Literal("abc"), "ab")
    output = engine.submit(request(constraint=Literal("abc"), constraint_prefix="ab", max_tokens=9)).result(10)
    assert output.outputs[0].text == "c"


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (request((1,) * 600), PromptTooLongError, "600 tokens.*context of 512"),
        (request((1,) * 512), PromptTooLongError, "room for one more"),
        (request((1, 500)), RequestError, "token id 500"),
        (request(stop_token_ids=[-1]), RequestError, "stop_token_ids"),
        (request(logit_bias={999: 1.0}), RequestError, "logit_bias"),
        (request(timeout=0), RequestError, "timeout"),
        (request(constraint_prefix="x"), RequestError, "needs a constraint"),
        (request(constraint=Literal("x"), min_tokens=1), RequestError, "contradict"),
        (request(constraint=Literal("x"), ignore_eos=True), RequestError, "contradict"),
        (request(stop_regex="("), RequestError, "no regular expression"),
        (request(images=(PromptImage(Image.of(np.zeros((2, 2, 3), np.uint8)), 0),)), RequestError, "images"),
    ],
)
def test_bad_requests(engine: Engine, bad: GenerateRequest, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        engine.submit(bad)


def test_what_can_never_fit_the_pool_is_refused() -> None:
    with fake_engine(num_pages=5) as engine:
        with pytest.raises(PromptTooLongError, match="page pool of 20"):
            engine.submit(request((1,) * 30))
        output = engine.submit(request((1,) * 15, max_tokens=100, ignore_eos=True)).result(10)
        assert len(output.outputs[0].token_ids) == 5 and output.outputs[0].finish_reason == "length"


def test_the_context_caps_max_tokens(engine: Engine) -> None:
    output = engine.submit(request((7,) * 500, max_tokens=100, ignore_eos=True)).result(10)
    assert len(output.outputs[0].token_ids) == 12


def test_max_tokens_zero_warms_the_prompt(engine: Engine) -> None:
    prompt = tuple(range(3, 43))
    output = engine.submit(request(prompt, max_tokens=0)).result(10)
    assert output.outputs[0].token_ids == () and output.outputs[0].finish_reason == "length"
    assert engine.submit(request((*prompt, 9), max_tokens=1)).result(10).usage.cached_tokens == 40


def test_salts_never_share(engine: Engine) -> None:
    prompt = tuple(range(3, 43))
    for salt, cached in (("a", 0), ("b", 0), ("a", 36)):
        assert engine.submit(request(prompt, max_tokens=1, cache_salt=salt)).result(10).usage.cached_tokens == cached


def test_sglang_results(engine: Engine) -> None:
    one = engine.generate("Hello", {"max_new_tokens": 3, "temperature": 0, "ignore_eos": True}, return_logprob=True)
    assert isinstance(one, dict) and set(one) == {"text", "output_ids", "meta_info"}
    assert one["meta_info"]["finish_reason"] == {"type": "length", "length": 3}
    assert len(one["meta_info"]["output_token_logprobs"]) == 3
    many = engine.generate(["a", "b"], [{"max_new_tokens": 1}, {"max_new_tokens": 2}])
    assert isinstance(many, list) and [len(result["output_ids"]) for result in many] == [1, 2]
    several = engine.generate(input_ids=[4, 5], sampling_params={"max_new_tokens": 2, "n": 3})
    assert isinstance(several, list) and len(several) == 3
    assert isinstance(engine.generate(["a"], {"max_new_tokens": 1}), list)
    streamed = list(engine.generate("Hello", {"max_new_tokens": 3, "temperature": 0, "ignore_eos": True}, stream=True))
    assert streamed[-1]["text"] == one["text"]
    with pytest.raises(RequestError, match="max_tokens"):
        engine.generate("a", {"max_tokens": 3})
    with pytest.raises(RequestError, match="either prompt or input_ids"):
        engine.generate()
    with pytest.raises(RequestError, match="entries for 2 prompts"):
        engine.generate(["a", "b"], [{}])


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(TypeError, match="page_sise"):
        fake_engine(page_sise=3)
    with pytest.raises(RequestError, match="schedule_policy"):
        fake_engine(schedule_policy="best")


def test_steps_follow_the_token_budget() -> None:
    with fake_engine(max_num_batched_tokens=16) as engine:
        counts: list[int] = []
        runner = engine._loop._runner
        assert isinstance(runner, FakeRunner)
        forward = runner.forward

        def record(batch: Any) -> Any:
            counts.append(batch.num_tokens)
            return forward(batch)

        runner.forward = record  # type: ignore[method-assign]
        engine.submit(request(tuple(range(100)), max_tokens=3, ignore_eos=True)).result(10)
        assert counts == [16] * 6 + [4, 1, 1]


def test_best_of_returns_the_likeliest(engine: Engine) -> None:
    fields = {"max_tokens": 5, "seed": 4, "ignore_eos": True}
    every = engine.submit(request(n=6, logprobs=0, **fields)).result(10).outputs
    best = engine.submit(request(n=2, best_of=6, **fields)).result(10).outputs
    ranked = sorted(every, key=lambda one: sum(item.logprob for item in one.logprobs or ()), reverse=True)
    assert [one.token_ids for one in best] == [one.token_ids for one in ranked[:2]]
    assert [one.index for one in best] == [0, 1] and best[0].logprobs is None
    with pytest.raises(RequestError, match="best_of"):
        request(n=3, best_of=2)


def test_pinned_prefixes_stay() -> None:
    with fake_engine(num_pages=20) as engine:
        prefix = tuple(range(3, 35))
        pin = engine.pin_prefix(prefix)
        assert pin.num_tokens == 32
        for first in range(5):
            engine.submit(request((first,) * 40, max_tokens=2, ignore_eos=True)).result(10)
        assert engine.stats()["pages_pinned"] == 8 and not engine.flush_cache()
        assert engine.submit(request((*prefix, 9), max_tokens=1)).result(10).usage.cached_tokens == 32
        with pytest.raises(PromptTooLongError, match="pool of 48"):
            engine.submit(request((1,) * 60))
        engine.check_invariants()
        pin.release()
        assert engine.flush_cache()
        engine.submit(request((1,) * 60, max_tokens=1)).result(10)


def test_a_pin_leaves_room_for_what_runs() -> None:
    with slow_engine(num_pages=20) as engine:
        running = engine.submit(request((1,) * 10, max_tokens=60, ignore_eos=True))
        with pytest.raises(RequestError, match="raise kv_cache_bytes or pin later"):
            engine.pin_prefix(tuple(range(3, 35)))
        assert len(running.result(10).outputs[0].token_ids) == 60


def test_a_request_id_runs_once() -> None:
    with slow_engine() as engine:
        first = engine.submit(request(max_tokens=50, ignore_eos=True, request_id="x"))
        with pytest.raises(RequestError, match="running already"):
            engine.submit(request(request_id="x")).result(10)
        first.result(10)
        assert engine.submit(request(request_id="x")).result(10).request_id == "x"


def test_an_engine_that_nobody_holds_stops() -> None:
    engine = fake_engine()
    thread = engine._loop._thread
    engine.submit(request(max_tokens=3)).result(10)
    del engine
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


def test_an_engine_is_freed_when_it_is_let_go() -> None:
    """Without the garbage collector: a pool may be most of a machine's memory."""
    gc.collect()
    gc.disable()
    try:
        engine = fake_engine()
        running = engine.submit(request(max_tokens=3))
        running.result(10)
        parts = [weakref.ref(part) for part in (engine, engine._loop, engine._loop._runner, engine._cache)]
        engine.shutdown()
        del engine
        assert [part() for part in parts] == [None] * len(parts) and running.done
    finally:
        gc.enable()


def test_a_better_priority_overtakes_those_in_line() -> None:
    with slow_engine(seconds=0.05, max_num_seqs=1) as engine:
        order: list[str] = []
        running = []
        for name, priority in (("first", 1), ("second", 1), ("third", 1), ("urgent", 0)):
            one = engine.submit(request(max_tokens=5, ignore_eos=True, priority=priority, request_id=name))
            one.add_done_callback(lambda done: order.append(done.request_id))
            running.append(one)
            time.sleep(0.003)
        for one in running:
            one.result(10)
        assert order.index("urgent") < order.index("second")


@pytest.mark.slow
def test_soak() -> None:
    """20,000 requests: every page free or evictable at the end, and no growth of memory."""
    rng = random.Random(5)
    prefixes = [tuple(rng.randrange(3, 300) for _ in range(60)) for _ in range(20)]
    with fake_engine(num_pages=300, max_num_batched_tokens=256, max_num_seqs=32) as engine:

        def serve(count: int) -> None:
            running = []
            for _ in range(count):
                prompt = (*rng.choice(prefixes)[: rng.randrange(60)], rng.randrange(300))
                fields = {"max_tokens": rng.randrange(6), "n": rng.choice([1, 1, 1, 2]), "priority": rng.randrange(3)}
                running.append(engine.submit(request(prompt, timeout=rng.choice([None, 60.0]), **fields)))
                if rng.random() < 0.05:
                    rng.choice(running).abort()
                if len(running) > 200:
                    for one in running:
                        with contextlib.suppress(RequestAborted):
                            one.result(30)
                    running.clear()
            for one in running:
                with contextlib.suppress(RequestAborted):
                    one.result(30)

        serve(4000)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        serve(16_000)
        idle(engine)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert grown < 1 << 20, f"{grown} bytes more than after the first requests"
        engine.check_invariants()
        stats = engine.stats()
        assert stats["pages_free"] + stats["pages_evictable"] == stats["pages"]
        assert engine.flush_cache() and engine.stats()["radix_nodes"] == 0
