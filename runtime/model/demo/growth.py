"""A start from a text model: its tokenizer with a token for pictures, its weights in a Llama that may be larger.

Comes in: the folder of a Llama, such as an earlier embedded model. Goes out: a tokenizer, and a model whose language
half answers as that Llama does: what is new in it adds nothing at first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import LlamaForCausalLM, LlavaForConditionalGeneration, PreTrainedTokenizerFast

from runtime.model.demo.tokenizer import CHAT_TEMPLATE, IMAGE


def grown_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The text model's tokenizer; the token for a picture comes last, after all that the model knows."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens([IMAGE], special_tokens=True)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@torch.no_grad()
def grow(model: LlavaForConditionalGeneration, folder: Path) -> None:
    """Puts the text model's weights into `model`, whose Llama has the same width and heads, and at least its size."""
    text: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    new: Any = model.model.language_model
    old: Any = text.model
    _put(new.embed_tokens, old.embed_tokens)
    new.norm.weight.copy_(old.norm.weight)
    for layer in new.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    for layer, given in zip(new.layers, old.layers, strict=False):
        for name, module in given.named_modules():
            if isinstance(module, nn.Linear):
                _put(layer.get_submodule(name), module)
        layer.input_layernorm.weight.copy_(given.input_layernorm.weight)
        layer.post_attention_layernorm.weight.copy_(given.post_attention_layernorm.weight)


def _put(new: nn.Linear | nn.Embedding, old: nn.Linear | nn.Embedding) -> None:
    """The old matrix in the corner of the new one."""
    rows, columns = old.weight.shape
    new.weight[:rows, :columns].copy_(old.weight)
