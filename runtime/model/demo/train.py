"""Makes the embedded model: `python -m runtime.model.demo.train --out DIR --minutes 80 --finish 20`.

Comes in: a seed and a time. Goes out: DIR, a folder in Hugging Face format, with the scores in its model card. First
the tower learns to say what each patch of a picture shows, then the whole model learns to answer. The learning rate
stays, and falls over the last `--finish` minutes. Trains on the GPU if there is one. `--start` takes words and weights
from an earlier model, and so makes the training shorter.

Every few minutes DIR holds a model that loads, and a checkpoint lies beside it. `--resume` goes on from it. A training
that came to its end can be made longer too: with more `--minutes`, `--resume` goes on from where the rate began to
fall.

`--compile` (needs a C++ compiler on a CPU) takes a minute or two at the start and is half as fast again. On cores that
others use too, set `OMP_WAIT_POLICY=PASSIVE`: threads that wait busily for each other cost several times the work.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from transformers import AttentionInterface, PreTrainedTokenizerFast

from runtime.model.demo.batches import WIDTHS, Batch, batches
from runtime.model.demo.card import write_card
from runtime.model.demo.checkpoint import Progress, checkpoint_path, load_checkpoint, save_checkpoint
from runtime.model.demo.data import stems
from runtime.model.demo.growth import grow, grown_tokenizer
from runtime.model.demo.learning import answer_step, look_step, right_answers
from runtime.model.demo.network import TOWER_WIDTH, new_model, new_processor, short_row_attention
from runtime.model.demo.optimiser import Optimiser, learning_rate
from runtime.model.demo.patch_labels import Names, PatchHead
from runtime.model.demo.scenes import draw_scene
from runtime.model.demo.scores import load_model, measure
from runtime.model.demo.tokenizer import learn_tokenizer
from runtime.model.demo.words import Dice

TOWER_FACTOR = 0.6  # of the learning rate, for the tower once the answers are learned
LOOK_PICTURES, LOOK_BATCH = 60_000, 64  # pictures that the tower sees before the first answer, and in one step
BATCHES_A_STEP = {"cpu": 2, "cuda": 4}
FIRST_LENGTH, ALL_LENGTHS_FROM = 64, 8_000_000  # the longest document at first, and the tokens until all are read
STREAM_STEMS = 3_600  # of one stream of documents, some fifty steps: a resumed training begins a new one
SAVE_SECONDS = 180.0
CHECK_SECONDS = 300.0
TOKENIZER_STEMS, CHECK_BATCHES = 12_000, 8


@dataclass(frozen=True, slots=True)
class Plan:
    """What a training is to make: its folder, its length, its seed, and the earlier model it starts from, if any."""

    out: Path
    minutes: float
    finish: float
    seed: int = 0
    start: Path | None = None


class Training:
    """One training: the model, what changes it, how far it came."""

    def __init__(self, plan: Plan, resume: bool = False, compiled: bool = False) -> None:
        self.plan, self.out, seed = plan, plan.out, plan.seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        if (
            resume and checkpoint_path(self.out, "steady").exists()
        ):  # the weights fit only the tokenizer they grew up with
            self.tokenizer = PreTrainedTokenizerFast.from_pretrained(self.out)
        else:
            self.tokenizer = grown_tokenizer(plan.start) if plan.start else learn_tokenizer(_texts(seed))
        with self.device:
            self.model = new_model(self.tokenizer)
        if plan.start:
            grow(self.model, self.tokenizer, plan.start)
        self.head, self.names = PatchHead(TOWER_WIDTH).to(self.device), Names(self.tokenizer)
        inner = self.model.model
        parts = [(inner.language_model, 1.0), (inner.multi_modal_projector, 1.0)]
        self.optimiser = Optimiser([*parts, (inner.vision_tower, TOWER_FACTOR), (self.head, TOWER_FACTOR)])
        found = load_checkpoint(self.out, self.optimiser, plan.minutes, self.device) if resume else None
        self.progress = found or Progress()
        if found:
            print(f"goes on from step {found.steps}, minute {found.seconds / 60:.1f}", flush=True)
        if self.device.type == "cpu":
            AttentionInterface.register("short_rows", short_row_attention)
            self.model.set_attn_implementation("short_rows")
        if compiled:
            inner.language_model.compile(dynamic=False)

    @property
    def remaining(self) -> float:
        """Share of the fall of the learning rate that is still to come: 1 before it begins."""
        left = self.plan.minutes * 60 - self.progress.seconds
        return min(1.0, left / (self.plan.finish * 60)) if self.plan.finish else float(left > 0)

    def run(self) -> None:
        """Learns until the time is over; saves now and then, and at the end."""
        started = time.perf_counter() - self.progress.seconds
        saved_at = checked_at = self.progress.seconds
        held_out = list(islice(batches(self.tokenizer, stems(f"{self.plan.seed} check", held_out=True)), CHECK_BATCHES))
        for said in self.steps():
            self.progress.seconds = time.perf_counter() - started
            if self.progress.seconds - saved_at > SAVE_SECONDS:
                saved_at = self.progress.seconds
                print(f"{self.progress.seconds / 60:.1f} of {self.plan.minutes:g} min: {said}", flush=True)
                self.save()
            if self.progress.steps and self.progress.seconds - checked_at > CHECK_SECONDS:
                checked_at = self.progress.seconds
                self.check(held_out)
        self.save()

    def steps(self) -> Iterator[str]:
        """Takes steps, first those of the tower alone; says after each how it went."""
        while self.remaining > 0 and self.progress.pictures < LOOK_PICTURES:
            yield self.look()
        while self.remaining > 0:
            for step_batches in self.stream():
                if self.remaining <= 0:
                    break
                yield self.answer(step_batches)

    def look(self) -> str:
        dice = Dice(random.Random(f"{self.plan.seed} look {self.progress.look_steps}"))
        right = look_step(self.model, self.head, [draw_scene(dice) for _ in range(LOOK_BATCH)])
        self.optimiser.step(learning_rate(self.progress.look_steps, self.remaining) / TOWER_FACTOR)
        self.progress.look_steps += 1
        self.progress.pictures += LOOK_BATCH
        shares = " ".join(f"{share:.0%}" for share in right.tolist())
        return f"{self.progress.pictures} pictures, right labels {shares}"

    def stream(self) -> Iterator[list[Batch]]:
        """The batches of each of the next steps, to the last document: long ones wait until there are many, or none
        comes any more. Of short documents first, from which copying is learned soonest; an earlier model to start from
        has learned it.
        """
        growing = 1.0 if self.plan.start else min(1.0, self.progress.tokens / ALL_LENGTHS_FROM)
        longest = max(128, int(FIRST_LENGTH * (WIDTHS[-1] / FIRST_LENGTH) ** growing))
        drawn = islice(stems(f"{self.plan.seed} step {self.progress.steps}"), STREAM_STEMS)
        made = batches(self.tokenizer, drawn, longest)
        while step_batches := list(islice(made, BATCHES_A_STEP[self.device.type])):
            yield step_batches

    def answer(self, step_batches: list[Batch]) -> str:
        loss = answer_step(self.model, self.head, self.names, step_batches)
        self.optimiser.step(learning_rate(self.progress.steps, self.remaining))
        self.progress.steps += 1
        for batch in step_batches:
            self.progress.tokens += int((batch.stem >= 0).sum())
            self.progress.longest = max(self.progress.longest, int(batch.positions.max()) + 1)
        return f"step {self.progress.steps}, {self.progress.tokens / 1e6:.2f} M tokens, loss {loss:.3f}"

    def check(self, held_out: list[Batch]) -> None:
        """Prints the share of held-out documents of each task that would be answered exactly."""
        right, count = right_answers(self.model, held_out)
        print("  " + ", ".join(f"{task} {right[task] / count[task]:.0%}" for task in sorted(count)), flush=True)

    def save(self) -> None:
        """The model's folder, and the checkpoint that a resumed training goes on from."""
        self.model.save_pretrained(self.out)
        (self.out / "model.safetensors").chmod(0o644)  # written for its owner only
        new_processor(self.tokenizer).save_pretrained(self.out)
        kind = "steady" if self.remaining == 1.0 else "finishing"
        save_checkpoint(checkpoint_path(self.out, kind), self.optimiser, self.progress, self.plan.minutes)


def _texts(seed: int) -> Iterator[str]:
    """What the tokenizer is learned from."""
    for stem in islice(stems(f"{seed} tokenizer"), TOKENIZER_STEMS):
        for document in stem.branches:
            yield f"{stem.prompt}{document.prompt}\n{document.answer}"


def finish_folder(plan: Plan, progress: Progress, count: int = 200) -> None:
    """Measures the saved model and writes its card."""
    model, tokenizer = load_model(plan.out)
    scores = measure(model, tokenizer, count)
    write_card(plan.out, scores, progress, parameters=model.num_parameters(), seed=plan.seed, start=plan.start)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the embedded model.")
    parser.add_argument("--out", type=Path, required=True, help="folder that the model is written to")
    parser.add_argument("--minutes", type=float, default=80.0, help="time to train, without the scores at the end")
    parser.add_argument("--finish", type=float, default=20.0, help="the last minutes, in which the learning rate falls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, help="folder of an earlier model whose weights and tokenizer to start from"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint beside the folder")
    parser.add_argument("--compile", action="store_true", help="compile the Llama first (torch.compile)")
    arguments = parser.parse_args()
    if not arguments.resume and checkpoint_path(arguments.out, "steady").exists():
        parser.error(f"{checkpoint_path(arguments.out, 'steady')} exists: go on with --resume, or remove it")
    plan = Plan(arguments.out, arguments.minutes, arguments.finish, arguments.seed, arguments.start)
    training = Training(plan, arguments.resume, arguments.compile)
    training.run()
    finish_folder(plan, training.progress)


if __name__ == "__main__":
    main()
