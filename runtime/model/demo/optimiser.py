"""How the weights change: Muon and AdamW over float32 copies, at a rate that rises and falls.

Weights are kept in float32 by the optimisers and copied to the bfloat16 model after each step: on a CPU with bf16
matrix units this is several times faster than float32, and it is the precision that ships.
"""

from __future__ import annotations

import math

import torch
from transformers import LlamaForCausalLM

PEAK_RATE = 3e-3
WARM_UP = 0.02  # share of the training during which the rate rises


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
