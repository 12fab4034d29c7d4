"""A start from an earlier model: its tokenizer with a token for pictures, its weights in a model that may be larger.

Comes in: the folder of a Llama or a LLaVA that was trained before. Goes out: a tokenizer, and a model that answers as
that one does: what is new in it adds nothing at first.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlavaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from runtime.model.demo.picture_tasks import PLURALS
from runtime.model.demo.scenes import COLOURS, SHAPES
from runtime.model.demo.tokenizer import CHAT_TEMPLATE, IMAGE

WORDS_OF_PICTURES = (
    *(SHAPES + tuple(PLURALS.values()) + tuple(COLOURS)),
    *("shape", "shapes", "size", "small", "large", "smallest", "biggest", "largest", "position", "place", "colors"),
    *("top", "bottom", "left", "right", "center", "above", "below", "many", "there", "see", "picture", "image"),
    *("Describe", "number", "count", "assistant"),
)


def grown_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The earlier model's tokenizer; the token for a picture and words about pictures come after all that it knows."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens([IMAGE], special_tokens=True)  # nothing, where it is known
    tokenizer.chat_template = CHAT_TEMPLATE
    with tempfile.TemporaryDirectory() as written:
        tokenizer.save_pretrained(written)
        path = Path(written) / "tokenizer.json"
        described = json.loads(path.read_text(encoding="utf-8"))
        # Not among the words, it would get another number when it is read again: that of a word.
        described["model"]["vocab"][IMAGE] = tokenizer.convert_tokens_to_ids(IMAGE)
        _merge_words(tokenizer, described["model"], len(tokenizer))
        path.write_text(json.dumps(described, ensure_ascii=False), encoding="utf-8")
        return PreTrainedTokenizerFast.from_pretrained(written)


def _merge_words(tokenizer: PreTrainedTokenizerFast, model: dict[str, Any], next_id: int) -> None:
    """Adds to the BPE `model` the merges that make each word of pictures, after a space or not, one token."""
    known = {tuple(merge) for merge in model["merges"]}
    for word in WORDS_OF_PICTURES:
        for text in (f" {word}", word):
            pieces = tokenizer.tokenize(text)
            while len(pieces) > 1:
                pair, pieces = (pieces[0], pieces[1]), ["".join(pieces[:2]), *pieces[2:]]
                if pair not in known:
                    known.add(pair)
                    model["merges"].append(list(pair))
                if pieces[0] not in model["vocab"]:
                    model["vocab"][pieces[0]] = next_id
                    next_id += 1


@torch.no_grad()
def grow(model: LlavaForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Puts the earlier model's weights into `model`, which has the same widths and heads, and at least its size.

    `tokenizer` is the one that `grown_tokenizer` makes of the folder's.
    """
    old: Any = read_model(folder).model
    sees = hasattr(old, "vision_tower")
    text = old.language_model if sees else old
    new: Any = model.model
    _put(new.language_model.embed_tokens, text.embed_tokens)
    known = PreTrainedTokenizerFast.from_pretrained(folder)
    for index in range(len(known), len(tokenizer)):  # a new word means what its parts meant together
        parts = known(tokenizer.decode([index]), add_special_tokens=False)["input_ids"]
        new.language_model.embed_tokens.weight[index] = text.embed_tokens.weight[parts].mean(0)
    new.language_model.norm.weight.copy_(text.norm.weight)
    _grow_layers(new.language_model.layers, text.layers, ("self_attn.o_proj", "mlp.down_proj"))
    if sees:
        new.vision_tower.embeddings.load_state_dict(old.vision_tower.embeddings.state_dict())
        new.multi_modal_projector.load_state_dict(old.multi_modal_projector.state_dict())
        _grow_layers(
            new.vision_tower.encoder.layers, old.vision_tower.encoder.layers, ("self_attn.out_proj", "mlp.fc2")
        )


def read_model(folder: Path) -> PreTrainedModel:
    """A saved model, one that sees or one that does not, in float32."""
    sees = hasattr(AutoConfig.from_pretrained(folder), "vision_config")
    auto: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    model: PreTrainedModel = auto.from_pretrained(folder, dtype=torch.float32)
    return model


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
