"""The embedded model's shape: a SigLIP tower and a Llama, in the form of `LlavaForConditionalGeneration`.

Comes in: a tokenizer. Goes out: a model with random weights, and the processor that goes with it. This module does not
know what the model learns.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
)
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from runtime.model.demo.tokenizer import CONTEXT_LENGTH, IMAGE

IMAGE_SIZE = 96  # pixels a side that the tower sees
PATCH_SIZE = 12
GRID = IMAGE_SIZE // PATCH_SIZE  # patches a side
IMAGE_TOKENS = GRID**2
TOWER_WIDTH, TOWER_LAYERS = 192, 6


def new_model(tokenizer: PreTrainedTokenizerFast) -> LlavaForConditionalGeneration:
    """The model, with random weights, in bfloat16."""
    ends: dict[str, Any] = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = SiglipVisionConfig(
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        hidden_size=TOWER_WIDTH,
        intermediate_size=512,
        num_hidden_layers=TOWER_LAYERS,
        num_attention_heads=3,
        vision_use_head=False,  # type: ignore[call-arg]  # read from the configuration's other keys
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        **ends,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.get_vocab()[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        **ends,
    )
    model = LlavaForConditionalGeneration(config)
    begin_to_see(model.model.vision_tower.embeddings)
    rotary = model.model.language_model.rotary_emb
    frequencies = rotary.inv_freq.clone()
    model = model.bfloat16()
    rotary.inv_freq = frequencies  # rounded, they would turn far tokens by other angles than the loaded model does
    model.generation_config = GenerationConfig(**ends, do_sample=False, max_new_tokens=256)
    return model


@torch.no_grad()
def begin_to_see(embeddings: Any) -> None:
    """Gives a new tower eyes that are not random: it then learns where things are in half the pictures.

    Patches are embedded by the lowest frequencies of their cosine transform (DCT-II), positions as sines and cosines
    of row and column, as mimetic initialisation does (Trockman and Kolter 2023, arXiv:2305.09828).
    """
    pixel, place = torch.arange(PATCH_SIZE).float(), torch.arange(GRID).float()
    waves = torch.cos(math.pi * (pixel[None] + 0.5) * pixel[:, None] / PATCH_SIZE) * math.sqrt(2 / PATCH_SIZE)
    waves[0] /= math.sqrt(2)
    pairs = sorted(((down, across) for down in range(PATCH_SIZE) for across in range(PATCH_SIZE)), key=sum)
    filters = torch.zeros(TOWER_WIDTH, 3, PATCH_SIZE, PATCH_SIZE)
    for index in range(TOWER_WIDTH):
        down, across = pairs[index // 3]
        filters[index, index % 3] = waves[down][:, None] * waves[across]
    embeddings.patch_embedding.weight.copy_(filters * 0.5)
    quarter = TOWER_WIDTH // 4
    angles = place[:, None] * 20.0 ** (-torch.arange(quarter) / quarter)
    line = torch.cat([angles.sin(), angles.cos()], -1)
    rows, columns = line[:, None].expand(-1, GRID, -1), line[None].expand(GRID, -1, -1)
    embeddings.position_embedding.weight.copy_(torch.cat([rows, columns], -1).reshape(IMAGE_TOKENS, TOWER_WIDTH) * 0.5)


def new_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Tokenizer and image processor in one, both free of torchvision; pictures are resized to the tower's square."""
    pictures = SiglipImageProcessorPil(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE})
    return LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        image_token=IMAGE,
        chat_template=tokenizer.chat_template,
    )


def tower_states(model: LlavaForConditionalGeneration, pixels: torch.Tensor) -> torch.Tensor:
    """What the tower makes of pictures [N, 3, side, side], before the projector: [N, patches, width]."""
    tower = model.model.vision_tower
    return tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state


def short_row_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attention with all scores at once: on a CPU, over rows this short, its backward pass is far faster than sdpa's.

    `query` [B, H, T, D], `key` and `value` [B, H_kv, T, D], `attention_mask` [B, 1, T, T], to be added; without it
    every token sees every other. Returns [B, T, H, D].
    """
    batch, heads, length, width = query.shape
    repeats = heads // key.shape[1]
    query = query.reshape(batch * heads, length, width) * scaling
    key, value = (part.repeat_interleave(repeats, 1).reshape(batch * heads, length, width) for part in (key, value))
    scores = torch.bmm(query, key.transpose(1, 2)).view(batch, heads, length, length)
    if attention_mask is not None:
        scores = scores + attention_mask
    mixed = torch.bmm(torch.softmax(scores, -1).view(batch * heads, length, length), value)
    return mixed.view(batch, heads, length, width).transpose(1, 2), None
