"""From an `EngineConfig` to a model in memory: files, dtype, device, tokenizer, and what its generation config says.

The only place that reads checkpoints. Knows nothing of requests, pages or steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

import grammars
from runtime.config import EngineConfig
from runtime.errors import ModelLoadError, UnsupportedModelError
from runtime.kernels.contract import AttentionLayer
from runtime.model import demo
from runtime.model.allocator import keep_freed_memory
from runtime.model.discovery import attach, discover, freeze_rope, model_class, use_paged_attention
from runtime.model.vision.families import family_of
from runtime.model.vision.processors import load_processor
from runtime.model.vision.vision import Vision

_GENERATION_DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
_FALLBACK_CONTEXT = 4096


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model ready to run, with what the engine has to know of it.

    context_length: longest prompt plus output, in tokens.
    vocab_size:     width of a row of logits; the tokenizer may know fewer tokens.
    eos_token_ids:  every token that ends a text, by the generation config, the model and the tokenizer.
    default_sampling: sampling parameters that the generation config sets, by `SamplingParams`' names.
    layers:         attention facts, in calling order.
    vision:         of a model that sees: how it takes images; else None.
    """

    name: str
    module: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context_length: int
    vocab_size: int
    eos_token_ids: frozenset[int]
    default_sampling: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[AttentionLayer, ...] = ()
    vision: Vision | None = None

    @property
    def device(self) -> torch.device:
        return self.module.device

    @property
    def dtype(self) -> torch.dtype:
        return self.module.dtype

    def vocabulary(self) -> grammars.Vocabulary:
        """Token ids and their bytes, as wide as the logits. Takes a moment for large vocabularies; not kept."""
        return grammars.Vocabulary.from_tokenizer(self.tokenizer, size=self.vocab_size, eos_ids=self.eos_token_ids)


def load(config: EngineConfig) -> LoadedModel:
    """Loads what `config` names. ModelLoadError if it is not there, UnsupportedModelError if it cannot run here."""
    bars = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        return _load(config)
    finally:
        if bars:
            enable_progress_bar()


def _load(config: EngineConfig) -> LoadedModel:
    # torch then takes large tensors in huge pages (packed weights are read whole at every step); it looks once, early.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    keep_freed_memory()
    path = _model_path(config)
    hub = _hub(config)
    model_config = _read(config, path, "configuration", lambda: AutoConfig.from_pretrained(path, **hub))
    name = config.model_path or "the embedded model"
    layers = discover(model_config, name, config.trust_remote_code)
    context_length = _context_length(config, model_config, name)
    device = _device(config.device)
    module = _read(
        config,
        path,
        "weights",
        lambda: model_class(model_config).from_pretrained(
            path, config=model_config, dtype=_dtype(config, model_config, device), **hub
        ),
    )
    module = module.eval().requires_grad_(False).to(device)
    use_paged_attention(module, name)
    freeze_rope(module, context_length)
    attach(module, layers)
    tokenizer = load_tokenizer(config)
    vision = _vision(config, path, module, hub)
    if vision is not None and config.tokenizer_path is None:
        tokenizer = vision.placement.tokenizer  # some processors add tokens to theirs
    return LoadedModel(
        name=name,
        module=module,
        tokenizer=tokenizer,
        context_length=context_length,
        vocab_size=module.get_output_embeddings().weight.shape[0],
        eos_token_ids=_eos_token_ids(module, tokenizer),
        default_sampling=_default_sampling(module),
        layers=layers,
        vision=vision,
    )


def load_tokenizer(config: EngineConfig) -> PreTrainedTokenizerBase:
    """The tokenizer that `config` names, without its model. Errors: as `load`."""
    path = config.tokenizer_path or _model_path(config)
    tokenizer: PreTrainedTokenizerBase = _read(
        config, path, "tokenizer", lambda: AutoTokenizer.from_pretrained(path, **_hub(config))
    )
    return tokenizer


def _hub(config: EngineConfig) -> dict[str, Any]:
    """How files are asked of the hub."""
    return {"revision": config.revision, "token": config.token, "trust_remote_code": config.trust_remote_code}


def _vision(config: EngineConfig, path: str, module: PreTrainedModel, hub: Mapping[str, Any]) -> Vision | None:
    family = family_of(module.config)
    if family is None:
        return None
    if config.deterministic and (family.image_spans or family.prompt_span):
        raise UnsupportedModelError(
            f"deterministic=True computes tokens one at a time, but {module.config.model_type} lets tokens of a prompt "
            "see later ones; leave deterministic out"
        )
    processor = _read(config, path, "image processor", lambda: load_processor(path, module.config.model_type, **hub))
    return Vision.of(
        module,
        processor,
        family,
        max_images=config.max_images,
        cache_bytes=config.image_cache_bytes,
        one_by_one=config.deterministic,
    )


def _model_path(config: EngineConfig) -> str:
    """A folder, checked to be one, or a hub id, left to the hub."""
    if config.model_path is None:
        if not (demo.PATH / "config.json").is_file():
            raise ModelLoadError(
                f"the embedded model is missing: no config.json in {demo.PATH}. Reinstall sgl-lite, or give model_path"
            )
        return str(demo.PATH)
    path = Path(config.model_path).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelLoadError(
                f"model_path={config.model_path!r} is a folder without config.json, not a Hugging Face model"
            )
        return str(path)
    if path.is_absolute() or config.model_path.startswith((".", "~")) or config.model_path.count("/") > 1:
        raise ModelLoadError(
            f"model_path={config.model_path!r}: no such folder. Give a folder with config.json, or a hub id"
        )
    return config.model_path


def _read(config: EngineConfig, path: str, what: str, reader: Any) -> Any:
    """Runs one of transformers' readers; its many errors become two of ours."""
    try:
        return reader()
    except (OSError, ValueError, ImportError, KeyError) as error:
        text = str(error)
        if "trust_remote_code" in text:
            raise ModelLoadError(
                f"{path!r} brings code of its own. "
                "If you trust it, set trust_remote_code=True (with revision=... to pin it)"
            ) from error
        if isinstance(error, OSError):
            where = (
                "is no folder here, and the hub did not deliver it" if path == config.model_path else "cannot be read"
            )
            raise ModelLoadError(
                f"{what} of {path!r}: {where} (revision {config.revision or 'main'}): {text.splitlines()[0]}. "
                "Check the name, the network, and token=... for gated models"
            ) from error
        raise UnsupportedModelError(f"{what} of {path!r}: {text}") from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelLoadError(f"device={name!r} is no device: 'auto', 'cpu', 'cuda' or 'cuda:N'") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelLoadError(f"device={name!r}: this torch sees no GPU. Use device='auto' or 'cpu'")
    return device


def _dtype(config: EngineConfig, model_config: Any, device: torch.device) -> torch.dtype:
    if config.dtype != "auto":
        return getattr(torch, config.dtype)
    dtype = model_config.dtype or model_config.get_text_config().dtype or torch.float32
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype)
    if device.type == "cpu" and not _cpu_multiplies(dtype):
        return torch.float32
    return dtype


def _cpu_multiplies(dtype: torch.dtype) -> bool:
    """Whether oneDNN has matrix products of this dtype for this processor; without, they are slower than float32."""
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if dtype == torch.float16:
        return torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return True


def _context_length(config: EngineConfig, model_config: Any, name: str) -> int:
    trained = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if config.context_length is None:
        return trained or _FALLBACK_CONTEXT
    if trained is not None and config.context_length > trained:
        raise ModelLoadError(f"context_length={config.context_length}: {name} was made for at most {trained} tokens")
    if config.context_length < 1:
        raise ModelLoadError(f"context_length={config.context_length} must be at least 1")
    return config.context_length


def _eos_token_ids(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    found: set[int] = set()
    for source in (
        module.generation_config.eos_token_id,
        module.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
    ):
        if source is not None:
            found.update([source] if isinstance(source, int) else source)
    return frozenset(found)


def _default_sampling(module: PreTrainedModel) -> dict[str, Any]:
    generation = module.generation_config
    values = {name: getattr(generation, name, None) for name in _GENERATION_DEFAULTS}
    if generation.do_sample is False:
        return {name: value for name, value in values.items() if name == "repetition_penalty" and value is not None}
    return {name: value for name, value in values.items() if value is not None}
