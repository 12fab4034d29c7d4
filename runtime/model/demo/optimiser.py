"""How the weights change: Muon and AdamW over float32 copies.

Weights are kept in float32 by the optimisers and copied to the bfloat16 model after each step: on a CPU with bf16
matrix units this is several times faster than float32, and it is the precision that ships.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

WARM_UP_STEPS = 60
PEAK_RATE = 2e-3


class Optimiser:
    """Muon for the matrices of the layers, AdamW for all other weights, over float32 copies.

    `parts` are modules and the factor of each one's learning rate.
    """

    def __init__(self, parts: list[tuple[nn.Module, float]]) -> None:
        self.pairs: list[tuple[nn.Parameter, torch.Tensor]] = []
        matrices: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        for module, factor in parts:
            inner = {id(linear.weight) for linear in module.modules() if isinstance(linear, nn.Linear)}
            inner -= {id(embedding.weight) for embedding in module.modules() if isinstance(embedding, nn.Embedding)}
            pairs = [(parameter, parameter.detach().float().clone()) for parameter in module.parameters()]
            self.pairs += pairs
            for groups, is_matrix in ((matrices, True), (others, False)):
                copies = [copy for parameter, copy in pairs if (id(parameter) in inner) == is_matrix]
                groups.append({"params": copies, "factor": factor})
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, betas=(0.9, 0.95), weight_decay=0.0),
        ]

    def step(self, rate: float) -> None:
        """One update at this learning rate from the gradients, which are cleared; weights without one stay."""
        for parameter, copy in self.pairs:
            copy.grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        torch.nn.utils.clip_grad_norm_([copy for _, copy in self.pairs], 1.0)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate * group["factor"]
            part.step()
        with torch.no_grad():
            for parameter, copy in self.pairs:
                parameter.copy_(copy)

    def state(self) -> dict[str, Any]:
        return {"weights": [copy for _, copy in self.pairs], "parts": [part.state_dict() for part in self.parts]}

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            for (parameter, copy), saved in zip(self.pairs, state["weights"], strict=True):
                copy.copy_(saved)
                parameter.copy_(saved)
        for part, saved in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(saved)


def learning_rate(step: int, remaining: float) -> float:
    """Rises over the first steps, stays, falls to nothing at the end. `remaining` is the share of the fall to come."""
    return PEAK_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * min(1.0, max(0.0, remaining))
