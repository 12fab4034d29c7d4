"""A start from an earlier model: its tokenizer with a token for pictures, its weights in a model that may be larger.

Comes in: the folder of a Llama or a LLaVA that was trained before. Goes out: a tokenizer, and a model that answers as
that one does: what is new in it adds nothing at first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
)

from runtime.model.demo.tokenizer import CHAT_TEMPLATE, IMAGE


def grown_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The text model's tokenizer; the token for a picture comes last, after all that the model knows."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens([IMAGE], special_tokens=True)  # nothing, where it is known
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def grow(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Puts the earlier model's weights into `model`, which has the same widths and heads, and at least its size."""
    auto = AutoModelForImageTextToText if sees(folder) else AutoModelForCausalLM
    old: Any = auto.from_pretrained(folder, dtype=torch.float32).model
    text = old.language_model if sees(folder) else old
    new: Any = model.model
    _put(new.language_model.embed_tokens, text.embed_tokens)
    new.language_model.norm.weight.copy_(text.norm.weight)
    _grow_layers(new.language_model.layers, text.layers, ("self_attn.o_proj", "mlp.down_proj"))
    if sees(folder):
        new.vision_tower.embeddings.load_state_dict(old.vision_tower.embeddings.state_dict())
        new.multi_modal_projector.load_state_dict(old.multi_modal_projector.state_dict())
        _grow_layers(
            new.vision_tower.encoder.layers, old.vision_tower.encoder.layers, ("self_attn.out_proj", "mlp.fc2")
        )


def sees(folder: Path) -> bool:
    """Whether the model in this folder has a tower."""
    return hasattr(AutoConfig.from_pretrained(folder), "vision_config")


def _grow_layers(new: nn.ModuleList, old: nn.ModuleList, last: tuple[str, str]) -> None:
    """The old layers' weights in the first of the new ones. `last` names what writes into the stream: nothing new."""
    for layer in new:
        for name in last:
            layer.get_submodule(name).weight.zero_()  # type: ignore[operator]
    for layer, given in zip(new, old, strict=False):
        for name, module in given.named_modules():
            if isinstance(module, nn.Linear):
                _put(layer.get_submodule(name), module)
            elif hasattr(module, "weight"):
                layer.get_submodule(name).load_state_dict(module.state_dict())


def _put(new: Any, old: nn.Linear | nn.Embedding) -> None:
    """The old matrix in the corner of the new one; of a bias the beginning."""
    rows, columns = old.weight.shape
    new.weight[:rows, :columns].copy_(old.weight)
    if isinstance(old, nn.Linear) and old.bias is not None:
        new.bias[:rows].copy_(old.bias)
