"""What it is worth that an image is known again: many questions about one image against as many images of one size.

    python -m benchmarks.images [questions] [threads]

The model has random weights in the form of LLaVA 1.5 with a SigLIP tower (224 x 224 pixels, 256 tokens, about 50 M
parameters). Each question is 24 characters, one token each, and is answered with four tokens. Times include the image
processor, which runs in the caller's thread. The counters say what was computed. Written to results/images.json.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.machine import record
from runtime.api import GenerateRequest, PromptImage, SamplingParams
from runtime.engine import Engine
from runtime.images import Image
from tests.runtime.vision.checkpoints import FAMILIES, write_family

SIDE, PATCH = 224, 14
COUNTERS = ("tower_runs", "images_encoded", "image_tokens_computed", "computed_tokens")
TOWER = {
    "model_type": "siglip_vision_model",
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 12,
    "intermediate_size": 1536,
    "image_size": SIDE,
    "patch_size": PATCH,
    "vision_use_head": False,
}
TEXT = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1376,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 64,
}


def model(folder: Path) -> Path:
    family = FAMILIES["llava_siglip"]
    return write_family(
        dataclasses.replace(
            family,
            text=TEXT,
            tower=TOWER,
            images={"size": {"height": SIDE, "width": SIDE}},
            options={**(family.options or {}), "patch_size": PATCH},
        ),
        folder,
    )


def picture(seed: int) -> Image:
    return Image.of(np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8))


def ask(engine: Engine, images: list[Image]) -> tuple[float, dict[str, int]]:
    """Seconds for a question about each image, all submitted at once, and what the counters grew by."""
    before = engine.stats()
    sampling = SamplingParams(max_tokens=4, temperature=0.0, ignore_eos=True)
    started = time.perf_counter()
    running = [
        engine.submit(
            GenerateRequest(
                prompt=f"question {number:3d} about it? ", images=(PromptImage(image, 0),), sampling=sampling
            )
        )
        for number, image in enumerate(images)
    ]
    for one in running:
        one.result()
    seconds = time.perf_counter() - started
    after = engine.stats()
    return seconds, {name: int(after[name] - before[name]) for name in COUNTERS}


def main(questions: int = 64, threads: int = 1) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Engine(str(model(Path(folder))), num_threads=threads, kv_cache_bytes=1 << 30) as engine,
    ):
        ask(engine, [picture(-number - 1 & 0xFFFF) for number in range(4)])  # compile and warm up
        shared, of_shared = ask(engine, [picture(0)] * questions)
        separate, of_separate = ask(engine, [picture(1 + number) for number in range(questions)])
    for name, seconds, counters in (("one image", shared, of_shared), ("separate images", separate, of_separate)):
        print(f"{questions} questions, {name:16s} {seconds:7.2f} s, {questions / seconds:7.1f} questions/s  {counters}")
    print(f"throughput about one image: {separate / shared:.1f} x")
    record(
        "images",
        threads,
        unit="seconds",
        questions=questions,
        one_image={"seconds": shared, **of_shared},
        separate_images={"seconds": separate, **of_separate},
        ratio=separate / shared,
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
