"""Tiny random models of many families, in float32, with a byte-level tokenizer: what parity tests run on.

`tiny_model(family, folder)` saves one and returns its path. Weights depend on the family's name and the seed only,
and are wide enough that greedy decoding does not settle on one token at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

VOCAB_SIZE = 272
"""Wider than the tokenizer (259), as with most real models."""
CONTEXT_LENGTH = 256
PAD, BOS, EOS = 0, 1, 2

_BASE: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": CONTEXT_LENGTH,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
}
_MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LOCAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
_ROUTED = {
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
}
_MLA = {
    "q_lora_rank": 32,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "head_dim": 8,
    "num_key_value_heads": 4,
}
_GPT2 = {"n_embd": 64, "n_layer": 4, "n_head": 4, "n_positions": CONTEXT_LENGTH}
_WINDOW = {"sliding_window": 6}
_SHARED_KV = {"num_kv_shared_layers": 2, "layer_types": ["sliding_attention", "full_attention"] * 2}

FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {},
    "mistral": _WINDOW,
    "gemma": {},
    "gemma2": {**_WINDOW, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 5.0},
    "gemma3_text": {**_WINDOW, "query_pre_attn_scalar": 16},
    "gpt_oss": {**_WINDOW, **_LOCAL_EXPERTS},
    "phi3": {},
    "phi": {},
    "qwen3_moe": _MOE,
    "mixtral": {**_WINDOW, **_LOCAL_EXPERTS},
    "olmo2": {},
    "gpt2": _GPT2,
    "deepseek_v3": {**_MLA, **_ROUTED},
    "llama4_text": {"attention_chunk_size": 8, "num_local_experts": 2, "intermediate_size_mlp": 96},
}
"""What `make test` runs."""

MORE_FAMILIES: dict[str, dict[str, Any]] = {
    "olmo3": _WINDOW,
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "glm4": {},
    "glm4_moe": _ROUTED,
    "glm4_moe_lite": {**_MLA, **_ROUTED},
    "cohere2": _WINDOW,
    "granite": {},
    "granitemoehybrid": {**_LOCAL_EXPERTS, "layer_types": ["attention"] * 4, "shared_intermediate_size": 32},
    "smollm3": {},
    "starcoder2": _WINDOW,
    "gpt_neox": {},
    "gpt_bigcode": _GPT2,
    "opt": {"word_embed_proj_dim": 64, "ffn_dim": 96},
    "exaone4": _WINDOW,
    "ernie4_5": {},
    "seed_oss": {},
    "minimax_m2": _LOCAL_EXPERTS,
    "hunyuan_v1_dense": {},
    "apertus": {},
    "arcee": {},
    "stablelm": {},
    "nemotron": {},
    "deepseek_v2": {**_MLA, **_ROUTED},
    "helium": {},
    "bitnet": {},
    "cwm": _WINDOW,
    "persimmon": {},
    "mimo_v2_flash": _WINDOW,
    "ministral": _WINDOW,
    "ministral3": {},
    "gemma3n_text": {**_WINDOW, **_SHARED_KV, "vocab_size_per_layer_input": VOCAB_SIZE},
    "gemma4_text": {**_WINDOW, **_SHARED_KV},
    "vaultgemma": {**_WINDOW, "query_pre_attn_scalar": 16},
    "phimoe": _LOCAL_EXPERTS,
}
"""What the slow tests add."""

_LINEAR = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}
REFUSED: dict[str, dict[str, Any]] = {
    "qwen3_next": {**_MOE, **_LINEAR, "shared_expert_intermediate_size": 32},
    "qwen3_5_text": _LINEAR,
    "lfm2": {"layer_types": ["conv", "conv", "full_attention", "conv"]},
    "jamba": {},
    "mamba2": {"num_heads": 4, "head_dim": 32, "state_size": 16, "n_groups": 1, "expand": 2},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1},
    "bloom": {},
    "mpt": {},
    "falcon": {"head_dim": None},
}
"""What the guard must not let through."""


def tiny_config(family: str, **overrides: Any) -> Any:
    """The family's configuration, small, with the tokenizer's special tokens."""
    own = {**FAMILIES, **MORE_FAMILIES, **REFUSED}[family]
    settings = {**_BASE, **own, **overrides}
    return AutoConfig.for_model(family, **{name: value for name, value in settings.items() if value is not None})


def random_model(config: Any, seed: int = 0) -> PreTrainedModel:
    """A float32 model with weights drawn anew."""
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval().float()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.08)
        elif name.endswith("sinks"):
            torch.nn.init.normal_(parameter)
    return model.requires_grad_(False)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte (ids 3 to 258), and pad, begin and end of text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<pad>": PAD, "<s>": BOS, "</s>": EOS, **{character: 3 + i for i, character in enumerate(alphabet)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT_LENGTH,
        chat_template="{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
        "{% if add_generation_prompt %}<s>assistant\n{% endif %}",
    )


def tiny_model(family: str, folder: Path, seed: int = 0, **overrides: Any) -> str:
    """Saves a tiny model of the family with its tokenizer below `folder`; the path of what `EngineConfig` can load."""
    path = folder / f"{family}-{seed}"
    random_model(tiny_config(family, **overrides), seed).save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)
