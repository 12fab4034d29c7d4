"""The runtime's front door: a model with its loop. In: requests, from any thread. Out: `Request`, and SGLang's result
dicts.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

import grammars
from grammars.spec import Spec
from runtime import collector

with collector.paused():
    from runtime.api import Embedding, GenerateRequest, ImageSupport, RequestOutput, SamplingParams, TreeSummary
    from runtime.cache.image_keys import ImageKeys
    from runtime.cache.prefix_cache import PageTable, PrefixCache
    from runtime.cache.radix_node import Keys
    from runtime.cache.tree_summary import summarise
    from runtime.config import EngineConfig
    from runtime.constraint.grammar_runner import GrammarRunner
    from runtime.detokenizer import TokenTexts
    from runtime.engine_loop import EngineLoop, Runner, TokenSampler
    from runtime.errors import PromptTooLongError, RequestError
    from runtime.execution.invariant import InvariantRunner, InvariantSampler
    from runtime.execution.model_runner import ModelRunner
    from runtime.failed_images import FailedImages
    from runtime.images import Image
    from runtime.intake import Intake
    from runtime.metrics import Metrics
    from runtime.model.loader import LoadedModel, load, load_tokenizer
    from runtime.request import OnOutput, Request
    from runtime.scheduler.policy import POLICIES
    from runtime.scheduler.scheduler import Scheduler
    from runtime.sglang_api import Result, requests_of, results_of


@dataclass(frozen=True, slots=True)
class PinnedPrefix:
    """A beginning of prompts that stays in the cache. num_tokens: how much of it, in whole pages."""

    num_tokens: int
    release: Callable[[], None]


class Engine:
    """`Engine(model_path=None, **settings)`: the settings are `EngineConfig`'s. Ready when made; a context manager."""

    def __init__(self, model_path: str | None = None, **settings: Any) -> None:
        config = EngineConfig.of(model_path=model_path, **settings)
        model = load(config)
        grammar_runner = _grammar_runner(model)
        grammar_runner.prepare()
        runner = ModelRunner(model, config)
        sampler = runner.backend.sampler(model.vocab_size, model.eos_token_ids)
        if config.deterministic:
            invariant = InvariantRunner(runner, model.module, model.vocab_size)
            self._set_up(config, model, invariant, InvariantSampler(sampler), grammar_runner)
        else:
            self._set_up(config, model, runner, sampler, grammar_runner)

    @classmethod
    def from_parts(cls, config: EngineConfig, model: LoadedModel, runner: Any, sampler: TokenSampler) -> Engine:
        """An engine of a model that is loaded already, or of anything that acts like one."""
        engine = cls.__new__(cls)
        engine._set_up(config, model, runner, sampler, _grammar_runner(model))
        return engine

    def _set_up(
        self,
        config: EngineConfig,
        model: LoadedModel,
        runner: Any,
        sampler: TokenSampler,
        grammar_runner: GrammarRunner,
    ) -> None:
        self.config = config
        self.tokenizer = model.tokenizer
        self.model_name = model.name
        self.context_length = model.context_length
        self._vision = model.vision
        self.default_sampling = model.default_sampling
        self._grammar_runner = grammar_runner
        self._texts = TokenTexts(model.tokenizer, lambda: grammar_runner.vocabulary)
        self._cache = PrefixCache(
            runner.num_pages, runner.page_size, config.eviction_policy, config.enable_prefix_caching
        )
        self._scheduler = Scheduler(
            self._cache,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            policy=POLICIES[config.schedule_policy](),
        )
        self._runner = runner
        self._metrics = Metrics()
        image_keys = ImageKeys()
        self._intake = Intake(
            tokenizer=model.tokenizer,
            vocab_size=model.vocab_size,
            eos_token_ids=model.eos_token_ids,
            context_length=model.context_length,
            cache=self._cache,
            grammar_runner=self._grammar_runner,
            texts=self._texts,
            jump_forward=config.jump_forward,
            random_seed=config.random_seed,
            placement=None if model.vision is None else model.vision.placement,
            image_keys=image_keys,
        )
        self._serials = itertools.count()
        loop_runner: Runner = runner
        failed = None if model.vision is None else FailedImages(model.vision.encoder, image_keys)
        self._loop = EngineLoop(
            self._scheduler,
            loop_runner,
            sampler,
            self._grammar_runner,
            self._metrics,
            failed,
            overlap=model.device.type == "cuda" if config.overlap is None else config.overlap,
        )
        self._loop.start()
        self._stop = weakref.finalize(self, self._loop.stop)
        """Also when the engine is collected, or the interpreter ends."""
        collector.leave_alone()
        self._take_up = weakref.finalize(self, collector.take_up)

    @staticmethod
    def load_tokenizer(model_path: str | None = None, **settings: Any) -> Any:
        """The tokenizer that an engine of these settings would have, without its model."""
        return load_tokenizer(EngineConfig.of(model_path=model_path, **settings))

    # Requests

    def submit(self, generate: GenerateRequest, on_output: OnOutput | None = None) -> Request:
        """Start a request. What is wrong with it is raised here.

        on_output: called in the loop's thread with each new output, the last one finished (unless the engine died).
        """
        request_id = generate.request_id or f"request-{next(self._serials)}"
        request = Request(request_id, generate, self._loop.abort, on_output)
        self._loop.submit(self._intake.admit(request))
        return request

    def generate(
        self,
        prompt: str | Sequence[str] | None = None,
        sampling_params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        input_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        image_data: Any = None,
        return_logprob: bool | Sequence[bool] = False,
        logprob_start_len: int | Sequence[int] = -1,
        top_logprobs_num: int | Sequence[int] = 0,
        stream: bool = False,
        **fields: Any,
    ) -> Result | list[Result] | Iterator[Result]:
        """As SGLang's: a dict `{"text", "output_ids", "meta_info"}`; a list for a list of prompts or n > 1.

        image_data: what `Image.of` takes, or a list of it: an image for each `image_support.text` in the prompt; for a
        list of prompts, one entry each.
        stream: an iterator of such dicts, each with all there is so far (with the answer's "index", for several).
        fields: `priority`, `cache_salt`, `timeout` of `GenerateRequest`, one for all or a list.
        """
        requests, many = requests_of(
            prompt, sampling_params, input_ids, image_data, self.image_support, self.default_sampling,
            return_logprob, logprob_start_len, top_logprobs_num, **fields,
        )  # fmt: skip
        running = self._submit_all(requests)
        if stream:
            return _stream(running)
        return _collect([request.result() for request in running], many)

    async def async_generate(
        self,
        prompt: str | Sequence[str] | None = None,
        sampling_params: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        input_ids: Sequence[int] | Sequence[Sequence[int]] | None = None,
        image_data: Any = None,
        return_logprob: bool | Sequence[bool] = False,
        logprob_start_len: int | Sequence[int] = -1,
        top_logprobs_num: int | Sequence[int] = 0,
        stream: bool = False,
        **fields: Any,
    ) -> Result | list[Result] | AsyncIterator[Result]:
        """As `generate`, awaited; with `stream=True` the awaited value is an async iterator. Cancelling aborts."""
        requests, many = requests_of(
            prompt, sampling_params, input_ids, image_data, self.image_support, self.default_sampling,
            return_logprob, logprob_start_len, top_logprobs_num, **fields,
        )  # fmt: skip
        running = self._submit_all(requests)
        if stream:
            return _stream_async(running)
        try:
            return _collect([await request.completed() for request in running], many)
        finally:
            _abort_all(running)

    def _submit_all(self, requests: list[GenerateRequest]) -> list[Request]:
        running: list[Request] = []
        try:
            for generate in requests:
                running.append(self.submit(generate))  # noqa: PERF401  (what runs must be known if one is refused)
        except BaseException:
            _abort_all(running)
            raise
        return running

    # Text and constraints

    def get_tokenizer(self) -> Any:
        return self.tokenizer

    def encode(self, text: str) -> list[int]:
        """The token ids that `text` has as a prompt."""
        return self._intake.encode(text)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text that these tokens write, as in outputs: special tokens write none."""
        return self._texts.decode(token_ids)

    def compile_constraint(self, spec: Spec) -> grammars.CompiledGrammar:
        """The compiled grammar for this model's vocabulary, shared and cached. Raises what `grammars.errors` lists."""
        return self._grammar_runner.compile(spec)

    def check_constraint(self, spec: Spec, text: str) -> None:
        """ConformError if `text` cannot begin a text of the spec."""
        self._grammar_runner.check(spec, text)

    def embed(self, prompt: str | tuple[int, ...]) -> Embedding:
        """The model's last hidden state at the end of a text, computed between two steps; nothing of it is cached.

        PromptTooLongError for what is longer than a step.
        """
        ids = self._intake.plain_ids(prompt)
        most = min(self.context_length, self.config.max_num_batched_tokens)
        if len(ids) > most:
            raise PromptTooLongError(f"a text of {len(ids)} tokens is longer than the {most} of one step")
        return Embedding(self._loop.call(lambda: self._runner.embed(ids)), len(ids))

    # Images

    @property
    def image_support(self) -> ImageSupport | None:
        """How the model takes images; None if it sees none."""
        return None if self._vision is None else self._vision.placement.support

    def num_image_tokens(self, image: Image) -> int:
        """How many tokens of a prompt an image takes when it is the only one. RequestError if the model sees none."""
        if self._vision is None:
            raise RequestError(f"image: {self.model_name} sees no images; load a vision-language model")
        return self._vision.placement.num_tokens(image)

    # The engine itself

    @property
    def metrics(self) -> Metrics:
        """Counters and histograms, as the loop keeps them: for an exporter."""
        return self._metrics

    def stats(self) -> dict[str, float]:
        """Counters and times since the start, and what runs, waits and is cached now."""
        cache, tree = self._cache, self._cache.tree
        return {
            **self._metrics.as_dict(),
            "running": len(self._scheduler.running),
            "waiting": len(self._scheduler.waiting),
            "preemptions": self._scheduler.num_preemptions,
            "pages": cache.allocator.num_pages,
            "pages_free": cache.allocator.num_free,
            "pages_evictable": tree.num_evictable,
            "pages_pinned": cache.num_pinned,
            "pages_cached": tree.num_pages,
            "radix_nodes": tree.num_nodes,
            "evicted_pages": cache.stats.evicted_pages,
            "cache_queried_tokens": cache.stats.queried_tokens,
            "cache_hit_tokens": cache.stats.hit_tokens,
            "cache_hit_rate": cache.stats.hit_tokens / max(cache.stats.queried_tokens, 1),
            **({} if self._vision is None else self._vision.encoder.as_dict()),
        }

    def radix_tree(self, max_nodes: int) -> TreeSummary:
        """The part of the radix tree that was used last."""
        return self._loop.call(lambda: summarise(self._cache.tree, max_nodes))

    def flush_cache(self) -> bool:
        """Forget all computed prefixes that nobody uses now. Whether nothing is left."""
        return self._loop.call(self._cache.clear) == 0

    def pin_prefix(self, prompt: str | tuple[int, ...], cache_salt: str = "") -> PinnedPrefix:
        """Compute a beginning that many prompts will share, and keep it until the pin is released.

        Whole pages are kept. RequestError if what is left of the pool is too small for a request that is under way.
        """
        sampling = SamplingParams(max_tokens=0)
        computed = self.submit(GenerateRequest(prompt=prompt, sampling=sampling, cache_salt=cache_salt)).result()
        keys = np.array(computed.prompt_token_ids, dtype=np.int64)
        table = self._loop.call(lambda: self._pin(keys, cache_salt))
        return PinnedPrefix(
            len(table) * self._cache.page_size, lambda: self._loop.call(lambda: self._cache.unpin(table))
        )

    def _pin(self, keys: Keys, salt: str) -> PageTable:
        table = self._cache.pin(keys, salt)
        if self._cache.capacity < self._loop.largest_need:
            self._cache.unpin(table)
            raise RequestError(
                f"pinning {len(keys)} tokens leaves room for {self._cache.capacity}, but a request under way may need "
                f"{self._loop.largest_need}; raise kv_cache_bytes or pin later"
            )
        return table

    def check_invariants(self) -> None:
        """AssertionError if pages, tree and requests disagree. For tests and debugging."""
        self._loop.call(self._scheduler.check_invariants)

    def shutdown(self) -> None:
        """Stop the loop; requests that still run end with EngineStopped. May be called again."""
        self._stop()
        self._take_up()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _grammar_runner(model: LoadedModel) -> GrammarRunner:
    return GrammarRunner(model.vocabulary, (model.vocab_size + 31) // 32)


def _collect(outputs: list[RequestOutput], many: bool) -> Result | list[Result]:
    results = [result for output in outputs for result in results_of(output)]
    return results if many or len(results) > 1 else results[0]


def _stream(running: list[Request]) -> Iterator[Result]:
    """One request after the other; several answers of one are told apart by "index"."""
    try:
        for number, request in enumerate(running):
            for output in request.outputs():
                yield from _indexed(output, number, len(running))
    finally:
        _abort_all(running)


async def _stream_async(running: list[Request]) -> AsyncIterator[Result]:
    try:
        for number, request in enumerate(running):
            async for output in request:
                for result in _indexed(output, number, len(running)):
                    yield result
    finally:
        _abort_all(running)


def _indexed(output: RequestOutput, number: int, count: int) -> Iterator[Result]:
    results = results_of(output)
    for index, result in enumerate(results):
        if count > 1 or len(results) > 1:
            result["index"] = number * len(results) + index
        yield result


def _abort_all(running: list[Request]) -> None:
    for request in running:
        request.abort()
