"""From a `GenerateRequest` to what the loop can run. Runs in the caller's thread: whatever is wrong is raised there.

In: the request. Out: an `ActiveRequest` whose branches hold the prompt's tokens, and what is forced after them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import threading
import time
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.active_request import ActiveRequest
from runtime.api import GenerateRequest, PromptImage, SamplingParams
from runtime.cache.image_keys import ImageKeys
from runtime.cache.prefix_cache import PrefixCache
from runtime.completion import Completion
from runtime.constraint.grammar_runner import GrammarRunner, OutputConstraint
from runtime.detokenizer import TokenTexts
from runtime.errors import PromptTooLongError, RequestError
from runtime.model.vision.placement import Placement
from runtime.prompt_layout import PromptLayout
from runtime.request import Request
from runtime.scheduler.branch import Branch
from runtime.stopping import StoppingText, compile_patterns


class Intake:
    """context_length: longest prompt plus output of the model. cache: where the request's pages will be.
    placement: of a model that sees.
    """

    def __init__(
        self,
        *,
        tokenizer: Any,
        vocab_size: int,
        eos_token_ids: Collection[int],
        context_length: int,
        cache: PrefixCache,
        grammar_runner: GrammarRunner,
        texts: TokenTexts,
        jump_forward: bool,
        random_seed: int,
        placement: Placement | None = None,
        image_keys: ImageKeys | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._eos_token_ids = frozenset(eos_token_ids)
        self._context_length = context_length
        self._cache = cache
        self._grammar_runner = grammar_runner
        self._texts = texts
        self._jump_forward = jump_forward
        self._placement = placement
        self._image_keys = image_keys or ImageKeys()
        self._random = random.Random(random_seed)
        self._lock = threading.Lock()

    def encode(self, text: str) -> list[int]:
        """The tokens of a prompt. The tokenizer's own beginning is added unless the text begins with it."""
        begins = self._tokenizer.bos_token
        add = not (begins and text.startswith(begins))
        return list(self._tokenizer.encode(text, add_special_tokens=add))

    def admit(self, request: Request) -> ActiveRequest:
        """Raises RequestError, PromptTooLongError or a GrammarError."""
        submitted = time.monotonic()
        generate, sampling = request.generate, request.generate.sampling
        self._check(generate)
        prompt_ids, layout = self._lay_out(generate)
        keys, salt = self._cache_keys(prompt_ids, layout, generate.cache_salt)
        max_tokens = self._room(len(prompt_ids), sampling.max_tokens)
        constraint = None
        if generate.constraint is not None:
            ends = (*sampling.stop_token_ids, *self._eos_token_ids)
            constraint = self._grammar_runner.open(generate.constraint, max_tokens, generate.constraint_prefix, ends)
        seed = sampling.seed if sampling.seed is not None else self._draw_seed()
        completions = []
        for index in range(sampling.best_of or sampling.n):
            own = constraint.fork() if constraint is not None else None
            branch = Branch(
                f"{request.request_id}/{index}",
                prompt_ids,
                _sampling_of(sampling, index),
                seed=seed if index == 0 else _mix(seed, index),
                salt=salt,
                priority=generate.priority,
                arrival=submitted,
                layout=layout,
                prompt_keys=keys,
            )
            completions.append(self._completion(branch, max_tokens, own))
            completions[-1].start()
        num_image_tokens = 0 if layout is None else layout.num_image_tokens
        return ActiveRequest(request, prompt_ids, completions, submitted, num_image_tokens)

    def _completion(self, branch: Branch, max_tokens: int, constraint: OutputConstraint | None) -> Completion:
        sampling = branch.sampling
        return Completion(
            branch,
            max_tokens=max_tokens,
            end_ids=frozenset() if sampling.ignore_eos else self._eos_token_ids,
            stop_ids=frozenset(sampling.stop_token_ids),
            detokenizer=self._texts.detokenizer(branch.token_ids, sampling.skip_special_tokens),
            text=StoppingText(
                sampling.stop,
                compile_patterns(sampling.stop_regex),
                sampling.include_stop_str_in_output,
                constraint.accepts if constraint is not None else None,
            ),
            constraint=constraint,
            jump_forward=self._jump_forward,
        )

    def _check(self, generate: GenerateRequest) -> None:
        sampling = generate.sampling
        for name, ids in (("stop_token_ids", sampling.stop_token_ids), ("logit_bias", sampling.logit_bias or ())):
            for token_id in ids:
                if not 0 <= token_id < self._vocab_size:
                    raise RequestError(f"{name}: token id {token_id} is not in 0..{self._vocab_size - 1}")
        if generate.timeout is not None and generate.timeout <= 0:
            raise RequestError(f"timeout={generate.timeout} must be more than 0 seconds")
        if generate.images and self._placement is None:
            raise RequestError(
                "images: this engine runs a text model; leave images out, or load a vision-language model"
            )
        for index, image in enumerate(generate.images):
            if not isinstance(image, PromptImage):
                raise RequestError(f"images[{index}] must be a PromptImage, not {type(image).__name__}")
        if generate.constraint is None:
            if generate.constraint_prefix:
                raise RequestError(f"constraint_prefix={generate.constraint_prefix!r} needs a constraint")
            return
        if sampling.min_tokens:
            raise RequestError(
                f"min_tokens={sampling.min_tokens} and a constraint contradict each other where the constraint ends "
                "early; say the least length in the constraint (minLength, minItems, {m,})"
            )
        if sampling.ignore_eos:
            raise RequestError(
                "ignore_eos=True and a constraint contradict each other: the constraint decides where to end"
            )

    def plain_ids(self, prompt: str | tuple[int, ...]) -> tuple[int, ...]:
        """The tokens of a prompt without images. RequestError if the model does not read it from left to right."""
        prompt_ids, layout = self._lay_out(GenerateRequest(prompt=prompt))
        if layout is not None:
            raise RequestError("prompt: this model reads it in both directions at once; ask for an answer instead")
        return prompt_ids

    def _lay_out(self, generate: GenerateRequest) -> tuple[tuple[int, ...], PromptLayout | None]:
        prompt = generate.prompt
        if not isinstance(prompt, str):
            prompt = self._checked(prompt)
        if self._placement is not None and (prompt or generate.images):
            prompt_ids, layout = self._placement.lay_out(prompt, generate.images, self.encode)
            if layout.whole_prompt and generate.sampling.prompt_logprobs is not None:
                raise RequestError(
                    "prompt_logprobs: this model reads a prompt in both directions, so its tokens have none"
                )
            return prompt_ids, layout if layout.images or layout.spans else None
        prompt_ids = tuple(self.encode(prompt)) if isinstance(prompt, str) else prompt
        return prompt_ids or (self._beginning(),), None

    def _checked(self, prompt: tuple[int, ...]) -> tuple[int, ...]:
        for kind in set(map(type, prompt)) - {int}:
            if not issubclass(kind, np.integer):
                raise RequestError(f"prompt: token ids must be integers, not {kind.__name__}")
        for token_id in (min(prompt), max(prompt)) if prompt else ():
            if not 0 <= token_id < self._vocab_size:
                raise RequestError(f"prompt: token id {token_id} is not in 0..{self._vocab_size - 1}")
        return tuple(map(int, prompt))

    def _cache_keys(
        self, prompt_ids: tuple[int, ...], layout: PromptLayout | None, salt: str
    ) -> tuple[NDArray[np.int64] | None, str]:
        """What the cache knows the prompt by (None: its ids), and in which namespace."""
        if layout is None or not (layout.images or layout.whole_prompt):
            return None, salt
        keys = np.array(prompt_ids, dtype=np.int64)
        for placed in layout.images:
            keys[placed.rows] = self._image_keys.of(placed.image.key, len(placed.rows))
        if layout.whole_prompt:
            salt = f"{salt}\0{hashlib.sha256(keys.tobytes()).hexdigest()}"
        return keys, salt

    def _beginning(self) -> int:
        """What stands for an empty prompt: the token that begins a text, or the one between two texts."""
        for token_id in (self._tokenizer.bos_token_id, self._tokenizer.eos_token_id):
            if token_id is not None:
                return int(token_id)
        raise RequestError(
            "prompt is empty, and the tokenizer has no token that begins a text; give at least one token"
        )

    def _room(self, num_prompt: int, max_tokens: int) -> int:
        """`max_tokens`, or what context and pool leave of it."""
        for limit, name, way_out in (
            (self._context_length, "the model's context", "shorten the prompt"),
            (self._cache.capacity, "the page pool", "shorten the prompt or raise kv_cache_bytes"),
        ):
            if num_prompt + min(max_tokens, 1) > limit:
                wanted = f"prompt of {num_prompt} tokens" + (" with room for one more" if max_tokens else "")
                raise PromptTooLongError(f"{wanted} does not fit {name} of {limit} tokens; {way_out}")
            max_tokens = min(max_tokens, limit - num_prompt)
        return max_tokens

    def _draw_seed(self) -> int:
        with self._lock:
            return self._random.getrandbits(62)


def _sampling_of(sampling: SamplingParams, index: int) -> SamplingParams:
    """For the answer `index`: the first scores the prompt for all, and those to be compared are scored."""
    logprobs = 0 if sampling.best_of is not None and sampling.logprobs is None else sampling.logprobs
    prompt_logprobs = sampling.prompt_logprobs if index == 0 else None
    if (logprobs, prompt_logprobs) == (sampling.logprobs, sampling.prompt_logprobs):
        return sampling
    return dataclasses.replace(sampling, logprobs=logprobs, prompt_logprobs=prompt_logprobs)


def _mix(seed: int, index: int) -> int:
    """The seed of the answer `index` > 0 to a request."""
    return (seed * 0x9E3779B97F4A7C15 + index * 0xBF58476D1CE4E5B9) % (1 << 62)
