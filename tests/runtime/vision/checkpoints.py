"""Checkpoints of every vision-language family: tiny random weights, a tokenizer and a processor, nothing from a hub."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedTokenizerFast

VOCAB = 400
_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "vocab_size": VOCAB,
    "pad_token_id": 256,
    "bos_token_id": 257,
    "eos_token_id": 258,
}
_TOWER = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3, "intermediate_size": 48}
_CLIP = {**_TOWER, "model_type": "clip_vision_model", "image_size": 28, "patch_size": 7}
_SIGLIP = {**_TOWER, "model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7, "vision_use_head": False}
_PIXTRAL = {**_TOWER, "model_type": "pixtral", "image_size": 112, "patch_size": 7, "head_dim": 16}
_SQUARE = {"height": 28, "width": 28}
_PINPOINTS = [[28, 56], [56, 28], [56, 56]]
_MROPE = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}}
_QWEN_TOWER = {
    "hidden_size": 32,
    "num_heads": 2,
    "depth": 3,
    "intermediate_size": 48,
    "out_hidden_size": 128,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
_QWEN = {
    "image": "<|image_pad|>",
    "special": ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
    "images": {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2},
    "image_size": {"shortest_edge": 64, "longest_edge": 4096},
    "image_class": "Qwen2VLImageProcessor",
    "ids": {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    },
}
_CROP = {"size": {"shortest_edge": 28}, "crop_size": _SQUARE}
_SELECT = {"patch_size": 7, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
_ROWS = tuple(f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7))
_IDEFICS_WORDS = ("<image>", "<fake_token_around_image>", "<global-img>", *_ROWS)
_IDEFICS_IMAGES = {"size": {"longest_edge": 56}, "max_image_size": {"longest_edge": 28}}
_IMAGE_ID = {"image_token_index": "<image>"}


@dataclass(frozen=True)
class Family:
    """model_type with the parts of its configuration; `ids` are configuration entries by their words.

    processor, image_class: names of the `transformers` classes; images, options: their settings.
    """

    model_type: str
    text: dict[str, Any]
    tower: dict[str, Any]
    processor: str
    image_class: str
    images: dict[str, Any]
    image: str = "<image>"
    special: tuple[str, ...] = ("<image>",)
    ids: dict[str, str] = field(default_factory=lambda: _IMAGE_ID)
    top: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] | None = None
    named: dict[str, str] = field(default_factory=dict)
    image_size: dict[str, Any] | None = None
    vocab: int = VOCAB


def _qwen(model_type: str, processor: str, tower: dict[str, Any]) -> Family:
    parts = {**_QWEN, "images": {**_QWEN["images"], "size": _QWEN["image_size"]}}
    del parts["image_size"]
    return Family(model_type, _MROPE, tower, processor, **parts)


_GEMMA3_WORDS = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
_INTERNVL_WORDS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
_SMOL_WORDS = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
}
_PALIGEMMA = {
    "processor": "PaliGemmaProcessor",
    "image_class": "SiglipImageProcessor",
    "images": {"size": _SQUARE, "image_seq_length": 16},
    "top": {"projection_dim": 128},
    "vocab": 1600,
}

FAMILIES = {
    "llava": Family("llava", {"model_type": "llama"}, _CLIP, "LlavaProcessor", "CLIPImageProcessor", _CROP,
        options=_SELECT),
    "llava_siglip": Family("llava", {"model_type": "llama"}, _SIGLIP, "LlavaProcessor", "SiglipImageProcessor",
        {"size": _SQUARE}, top={"vision_feature_select_strategy": "full"},
        options={"patch_size": 7, "vision_feature_select_strategy": "full"}),
    "llava_pixtral": Family("llava", {"model_type": "mistral"}, _PIXTRAL, "PixtralProcessor", "PixtralImageProcessor",
        {"size": {"longest_edge": 63}, "patch_size": {"height": 7, "width": 7}}, image="[IMG]",
        special=("[IMG]", "[IMG_BREAK]", "[IMG_END]"), ids={"image_token_index": "[IMG]"},
        top={"vision_feature_select_strategy": "full", "vision_feature_layer": -1}, options={"patch_size": 7}),
    "llava_next": Family("llava_next", {"model_type": "llama"}, _CLIP, "LlavaNextProcessor", "LlavaNextImageProcessor",
        {**_CROP, "image_grid_pinpoints": _PINPOINTS}, top={"image_grid_pinpoints": _PINPOINTS}, options=_SELECT),
    "llava_onevision": Family("llava_onevision", {"model_type": "qwen2"}, _SIGLIP, "LlavaOnevisionProcessor",
        "LlavaOnevisionImageProcessor", {"size": _SQUARE, "image_grid_pinpoints": _PINPOINTS},
        special=("<image>", "<video>"), ids={"image_token_index": "<image>", "video_token_index": "<video>"},
        top={"image_grid_pinpoints": _PINPOINTS},
        options={"num_image_tokens": 16, "vision_feature_select_strategy": "full"}),
    "qwen2_vl": _qwen("qwen2_vl", "Qwen2VLProcessor",
        {"embed_dim": 32, "hidden_size": 128, "num_heads": 2, "depth": 3, "patch_size": 4}),
    "qwen2_5_vl": _qwen("qwen2_5_vl", "Qwen2_5_VLProcessor",
        {**_QWEN_TOWER, "window_size": 16, "fullatt_block_indexes": [1]}),
    "qwen3_vl": _qwen("qwen3_vl", "Qwen3VLProcessor",
        {**_QWEN_TOWER, "deepstack_visual_indexes": [0, 2], "num_position_embeddings": 64}),
    "idefics3": Family("idefics3", {"model_type": "llama"}, {**_TOWER, "image_size": 28, "patch_size": 7},
        "Idefics3Processor", "Idefics3ImageProcessor", _IDEFICS_IMAGES, special=_IDEFICS_WORDS,
        ids={"image_token_id": "<image>"}, top={"scale_factor": 2}, options={"image_seq_len": 4}),
    "smolvlm": Family("smolvlm", {"model_type": "llama"}, {**_TOWER, "image_size": 28, "patch_size": 7},
        "SmolVLMProcessor", "SmolVLMImageProcessor", _IDEFICS_IMAGES, special=_IDEFICS_WORDS, named=_SMOL_WORDS,
        ids={"image_token_id": "<image>"}, top={"scale_factor": 2}, options={"image_seq_len": 4}),
    "gemma3": Family("gemma3", {"sliding_window": 6, "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        _SIGLIP, "Gemma3Processor", "Gemma3ImageProcessor", {"size": _SQUARE}, image="<start_of_image>",
        special=tuple(_GEMMA3_WORDS.values()), named=_GEMMA3_WORDS, top={"mm_tokens_per_image": 4},
        ids={"image_token_index": "<image_soft_token>", "boi_token_index": "<start_of_image>",
            "eoi_token_index": "<end_of_image>"}, options={"image_seq_length": 4}),
    "internvl": Family("internvl", {"model_type": "qwen2"}, {**_TOWER, "image_size": [28, 28], "patch_size": [7, 7]},
        "InternVLProcessor", "GotOcr2ImageProcessor",
        {"size": _SQUARE, "crop_to_patches": True, "min_patches": 1, "max_patches": 4}, image="<IMG_CONTEXT>",
        special=tuple(_INTERNVL_WORDS.values()), named=_INTERNVL_WORDS, ids={"image_token_id": "<IMG_CONTEXT>"},
        options={"image_seq_length": 4}),
    "mistral3": Family("mistral3", {"model_type": "mistral"}, _PIXTRAL, "PixtralProcessor", "PixtralImageProcessor",
        {"size": {"longest_edge": 56}, "patch_size": {"height": 7, "width": 7}}, image="[IMG]",
        special=("[IMG]", "[IMG_BREAK]", "[IMG_END]"), ids={"image_token_index": "[IMG]"},
        top={"spatial_merge_size": 2}, options={"patch_size": 7, "spatial_merge_size": 2}),
    "paligemma": Family("paligemma", {"model_type": "gemma"}, {**_SIGLIP, "projection_dim": 128}, **_PALIGEMMA),
    "paligemma2": Family("paligemma", {"model_type": "gemma2", "sliding_window": 6, "query_pre_attn_scalar": 16,
        "attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}, {**_SIGLIP, "projection_dim": 128},
        **_PALIGEMMA),
}  # fmt: skip


def write_checkpoint(name: str, folder: Path) -> Path:
    """A folder that `Engine(model_path=...)` and `transformers` load. The same bytes each time."""
    return write_family(FAMILIES[name], folder)


def write_family(family: Family, folder: Path) -> Path:
    tokenizer = _tokenizer(family)
    tokenizer.save_pretrained(folder)
    words = {key: tokenizer.convert_tokens_to_ids(word) for key, word in family.ids.items()}
    text = {**_TEXT, "vocab_size": family.vocab, **family.text}
    config = AutoConfig.for_model(
        family.model_type, text_config=text, vision_config=family.tower, **family.top, **words
    )
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config).eval().float()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
        else:
            parameter.data.add_(torch.randn_like(parameter) * 0.05)
    model.tie_weights()
    model.save_pretrained(folder)
    classes = {"processor_class": family.processor}
    _write(folder, "preprocessor_config.json", {"image_processor_type": family.image_class, **classes, **family.images})
    _write(folder, "processor_config.json", {**classes, **(family.options or {})})
    return folder


def _tokenizer(family: Family) -> PreTrainedTokenizerFast:
    """Bytes, each a token, and the special words."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: index for index, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = dict.fromkeys(["<pad>", "<bos>", "<eos>", *family.special])
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        extra_special_tokens=family.named,
    )


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (folder / name).write_text(json.dumps(content))
