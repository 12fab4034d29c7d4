"""Makes the embedded model: `python -m runtime.model.demo.train --out DIR --minutes 20`.

Comes in: a seed and a time. Goes out: a folder in Hugging Face format, with the scores in its model card. Trains on the
GPU if there is one. Stopped and started again with the same `--out`, it goes on from its last checkpoint, which lies
beside DIR and is removed at the end. Every minute DIR holds a model that loads; its scores are measured at the end.

Weights are kept in float32 by the optimisers and copied to the bfloat16 model after each step: on a CPU with bf16
matrix units this is several times faster than float32, and it is the precision that ships.
"""

from __future__ import annotations

import argparse
import math
import time
from itertools import accumulate, islice
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AttentionInterface, GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from runtime.model.demo.card import write_card
from runtime.model.demo.data import documents
from runtime.model.demo.scores import measure
from runtime.model.demo.tokenizer import CONTEXT_LENGTH, encode, learn_tokenizer

STEP_TOKENS = 3072
BATCH_TOKENS = 1536  # of one forward pass, padding with them
FIRST_LENGTH = 48  # tokens of the longest document at first
LAST_LENGTH = 1024  # and at last; the longest that the script draws
ALL_LENGTHS_FROM = 0.7  # share of the training after which documents of all lengths have been seen
PEAK_RATE = 3e-3
WARM_UP = 0.02  # share of the training during which the rate rises
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


class Optimiser:
    """Muon for the matrices of the layers, AdamW for the embedding and the norms, over float32 copies."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self.pairs = [(parameter, parameter.detach().float()) for parameter in model.parameters()]
        embedding = model.get_input_embeddings().weight
        matrices = [copy for parameter, copy in self.pairs if parameter.ndim == 2 and parameter is not embedding]
        others = [copy for parameter, copy in self.pairs if parameter.ndim != 2 or parameter is embedding]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, rate: float) -> None:
        """One update at this learning rate from the model's gradients, which are cleared."""
        for parameter, copy in self.pairs:
            copy.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_([copy for _, copy in self.pairs], 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
        with torch.no_grad():
            for parameter, copy in self.pairs:
                parameter.copy_(copy)

    def state(self) -> dict[str, object]:
        return {"weights": [copy for _, copy in self.pairs], "parts": [part.state_dict() for part in self.parts]}

    def load(self, state: dict[str, list]) -> None:
        with torch.no_grad():
            for (parameter, copy), saved in zip(self.pairs, state["weights"], strict=True):
                copy.copy_(saved)
                parameter.copy_(saved)
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def learning_rate(progress: float) -> float:
    """Rises, then falls along a cosine to a hundredth. `progress` is 0..1."""
    if progress < WARM_UP:
        return PEAK_RATE * progress / WARM_UP
    falling = (progress - WARM_UP) / (1 - WARM_UP)
    return PEAK_RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * falling)) / 2)


def longest_document(progress: float) -> int:
    """Tokens of the longest document to learn from: short ones first, from which copying is learned soonest."""
    growing = min(1.0, progress / ALL_LENGTHS_FROM)
    return int(FIRST_LENGTH * (LAST_LENGTH / FIRST_LENGTH) ** growing)


def batches(tokenizer: PreTrainedTokenizerFast, seed: str, longest: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The documents of one step, of at most `longest` tokens, as batches of like lengths.

    A batch is ids, int64 [B, T], padded on the right, and bool [B, T], true in the answers.
    """
    drawn = encode(tokenizer, list(islice(documents(seed), STEP_TOKENS // 8)))
    kept = [item for item in drawn if len(item[0]) <= longest]
    ends = accumulate(len(ids) for ids, _ in kept)
    encoded = sorted(
        (item for item, end in zip(kept, ends, strict=True) if end <= STEP_TOKENS), key=lambda item: -len(item[0])
    )
    made = []
    while encoded:
        width = len(encoded[0][0])
        size = max(1, BATCH_TOKENS // width)
        rows, encoded = encoded[:size], encoded[size:]
        ids = torch.full((len(rows), width), tokenizer.pad_token_id)
        is_answer = torch.zeros(ids.shape, dtype=torch.bool)
        for row, (tokens, prompt_length) in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            is_answer[row, prompt_length : len(tokens)] = True
        made.append((ids, is_answer))
    return made


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


def train(out: Path, minutes: float, seed: int) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(seed)
    tokenizer = learn_tokenizer(islice(documents(f"{seed} tokenizer"), 20_000))
    with device:
        model = new_model(tokenizer)
    if device.type == "cpu":
        AttentionInterface.register("short_rows", short_row_attention)
        model.set_attn_implementation("short_rows")
    optimiser = Optimiser(model)
    checkpoint = out.with_name(out.name + ".checkpoint.pt")
    step, seconds, tokens, longest = 0, 0.0, 0, 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        optimiser.load(saved["optimiser"])
        step, seconds, tokens, longest = (saved[key] for key in ("step", "seconds", "tokens", "longest"))
        print(f"goes on from step {step} of {checkpoint}")
    saved_at, mean_loss = seconds, math.nan
    while seconds < minutes * 60:
        started = time.perf_counter()
        progress = seconds / (minutes * 60)
        step_batches = batches(tokenizer, f"{seed} step {step}", longest_document(progress))
        loss = train_step(model, step_batches)
        optimiser.step(learning_rate(progress))
        step += 1
        seconds += time.perf_counter() - started
        tokens += sum(int((ids != tokenizer.pad_token_id).sum()) for ids, _ in step_batches)
        longest = max(longest, *(ids.shape[1] for ids, _ in step_batches))
        mean_loss = loss if math.isnan(mean_loss) else 0.95 * mean_loss + 0.05 * loss
        print(f"\r{seconds / 60:5.1f} of {minutes:g} min, step {step}, loss {mean_loss:.3f}", end="", flush=True)
        if seconds - saved_at > CHECKPOINT_SECONDS:
            saved_at = seconds
            print()
            state = {
                "optimiser": optimiser.state(),
                "step": step,
                "seconds": seconds,
                "tokens": tokens,
                "longest": longest,
            }
            torch.save(state, checkpoint)
            save(model, tokenizer, out)
    print()
    save(model, tokenizer, out)
    model.set_attn_implementation("sdpa")
    write_card(
        out,
        measure(model, tokenizer),
        parameters=model.num_parameters(),
        steps=step,
        minutes=seconds / 60,
        tokens=tokens,
        longest=longest,
        seed=seed,
    )
    checkpoint.unlink(missing_ok=True)


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
