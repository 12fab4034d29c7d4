"""Makes the embedded model: `python -m runtime.model.demo.train --out DIR --minutes 20`.

Comes in: a seed and a time. Goes out: a folder in Hugging Face format, with the scores in its model card. Trains on the
GPU if there is one. Stopped and started again with the same `--out`, it goes on from its last checkpoint, which lies
beside DIR and is removed at the end. Every minute DIR holds a model that loads; its scores are measured at the end.

On cores that others use too, set `OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0`: threads that wait busily for each other
cost several times the work.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AttentionInterface, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from runtime.model.demo.batches import batches, longest_document
from runtime.model.demo.card import write_card
from runtime.model.demo.data import documents
from runtime.model.demo.optimiser import Optimiser, learning_rate
from runtime.model.demo.scores import measure
from runtime.model.demo.tokenizer import CONTEXT_LENGTH, learn_tokenizer

CHECKPOINT_SECONDS = 60.0


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """The model, with random weights, in bfloat16."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config).bfloat16()
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=False,
        max_new_tokens=256,
    )
    return model


def short_row_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Plain causal attention: on a CPU, over rows this short, the backward pass is three times as fast as sdpa's.

    `query` [B, H, T, D], `key` and `value` [B, H_kv, T, D]; returns [B, T, H, D].
    """
    batch, heads, length, width = query.shape
    repeats = heads // key.shape[1]
    later = torch.full((length, length), -1e4, dtype=query.dtype, device=query.device).triu(1)
    query = query.reshape(batch * heads, length, width) * scaling
    key, value = (part.repeat_interleave(repeats, 1).reshape(batch * heads, length, width) for part in (key, value))
    scores = torch.baddbmm(later, query, key.transpose(1, 2))
    mixed = torch.softmax(scores, -1) @ value
    return mixed.view(batch, heads, length, width).transpose(1, 2), None


def train_step(model: LlamaForCausalLM, step_batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Adds the gradients of one step; returns the mean loss of an answer token, in nats. Prompts are not learned."""
    total = sum(int(is_answer.sum()) for _, is_answer in step_batches)
    loss_sum = 0.0
    for ids, is_answer in step_batches:
        ids, is_answer = ids.to(model.device), is_answer.to(model.device)[:, 1:]
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = model.lm_head(hidden[is_answer]).float()
        loss = functional.cross_entropy(logits, ids[:, 1:][is_answer], reduction="sum")
        (loss / total).backward()
        loss_sum += loss.item()
    return loss_sum / total


@dataclass(slots=True)
class Progress:
    """How far a training has come: steps, seconds at work, tokens read, tokens of the longest document."""

    step: int = 0
    seconds: float = 0.0
    tokens: int = 0
    longest: int = 0


def train(out: Path, minutes: float, seed: int) -> None:
    """Trains for `minutes` in all, with those before an interruption; leaves model, tokenizer and card in `out`."""
    checkpoint = out.with_name(out.name + ".checkpoint.pt")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    if checkpoint.exists():  # the weights fit only the tokenizer that they were saved with
        tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    else:
        tokenizer = learn_tokenizer(islice(documents(f"{seed} tokenizer"), 20_000))
    with device:
        model = new_model(tokenizer)
    optimiser, progress = Optimiser(model), Progress()
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        optimiser.load(saved["optimiser"])
        progress = Progress(**saved["progress"])
        print(f"goes on from step {progress.step} of {checkpoint}")
    if device.type == "cpu":
        AttentionInterface.register("short_rows", short_row_attention)
        model.set_attn_implementation("short_rows")
    saved_at = progress.seconds
    for loss in steps(model, tokenizer, optimiser, progress, minutes * 60, seed):
        print(
            f"\r{progress.seconds / 60:5.1f} of {minutes:g} min, step {progress.step}, loss {loss:.3f}",
            end="",
            flush=True,
        )
        if progress.seconds - saved_at > CHECKPOINT_SECONDS:
            saved_at = progress.seconds
            save(model, tokenizer, out)
            torch.save({"optimiser": optimiser.state(), "progress": asdict(progress)}, checkpoint)
    print()
    save(model, tokenizer, out)
    model.set_attn_implementation("sdpa")
    scores = measure(model, tokenizer)
    write_card(
        out,
        scores,
        parameters=model.num_parameters(),
        steps=progress.step,
        minutes=progress.seconds / 60,
        tokens=progress.tokens,
        longest=progress.longest,
        seed=seed,
    )
    checkpoint.unlink(missing_ok=True)


def steps(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    optimiser: Optimiser,
    progress: Progress,
    seconds: float,
    seed: int,
) -> Iterator[float]:
    """Takes steps until `progress`, which it moves on, has come to `seconds`; gives the smoothed loss after each."""
    smoothed = math.nan
    while progress.seconds < seconds:
        started = time.perf_counter()
        share = progress.seconds / seconds
        step_batches = batches(tokenizer, f"{seed} step {progress.step}", longest_document(share))
        loss = train_step(model, step_batches)
        optimiser.step(learning_rate(share))
        smoothed = loss if math.isnan(smoothed) else 0.95 * smoothed + 0.05 * loss
        progress.step += 1
        progress.tokens += sum(int((ids != tokenizer.pad_token_id).sum()) for ids, _ in step_batches)
        progress.longest = max(progress.longest, *(ids.shape[1] for ids, _ in step_batches))
        progress.seconds += time.perf_counter() - started
        yield smoothed


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded model.")
    parser.add_argument("--out", type=Path, required=True, help="folder that the model is written to")
    parser.add_argument("--minutes", type=float, default=20.0, help="time to train, without the scores at the end")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.out, arguments.minutes, arguments.seed)


if __name__ == "__main__":
    main()
