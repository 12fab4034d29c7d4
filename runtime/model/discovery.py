"""What a model's attention looks like, learned by running it once without weights, and whether it can run here at all.

In comes a transformers configuration; out goes one `AttentionLayer` for each attention module. The model is built on
the meta device, which takes no memory and loads no file. The same run is the guard: a model whose layers keep state
that does not pass through the attention function would be silently wrong, so it is refused, by name and with the
reason.
"""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel

from runtime.errors import UnsupportedModelError
from runtime.kernels.contract import AttentionLayer
from runtime.model.attention import ATTENTION_NAME
from runtime.model.forward_context import forward_context
from runtime.model.vision.families import family_of

FROZEN_ROPE = "frozen"
_REMADE_ROPE = ("longrope", "dynamic")
_ALL_SUPPORTED = "Any transformers model whose every layer calls the attention interface is supported."


class _Recorder:
    """An `AttentionStep` that answers with nothing of the right shape and writes down what it was asked."""

    def __init__(self, names: dict[nn.Module, str]) -> None:
        self._names = names
        self._keys: list[torch.Tensor] = []
        """Each once: a layer that is given another's keys, the very tensor, shares that layer's place in the pool."""
        self.layers: list[AttentionLayer] = []

    def attend(
        self,
        module: nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scaling: float | None,
        sliding_window: int | None,
        softcap: float | None,
        sinks: torch.Tensor | None,
    ) -> torch.Tensor:
        chunk = getattr(module.config, "attention_chunk_size", None) if getattr(module, "use_rope", False) else None
        index = next((i for i, known in enumerate(self._keys) if known is key), len(self._keys))
        if index == len(self._keys):
            self._keys.append(key)
        self.layers.append(
            AttentionLayer(
                index=index,
                name=self._names[module],
                num_heads=query.shape[1],
                num_kv_heads=key.shape[1],
                key_dim=key.shape[3],
                value_dim=value.shape[3],
                scaling=query.shape[3] ** -0.5 if scaling is None else float(scaling),
                sliding_window=sliding_window or None,
                chunk_size=chunk or None,
                softcap=softcap or None,
                has_sinks=sinks is not None,
            )
        )
        return value.new_empty(1, query.shape[2], query.shape[1], value.shape[3])


def discover(config: Any, name: str, trust_remote_code: bool = False) -> tuple[AttentionLayer, ...]:
    """The attention layers of the model that `config` describes, in calling order.

    UnsupportedModelError with the reason if the model cannot run here.
    """
    config = copy.deepcopy(config)  # building a model writes dtype and attention into it
    try:
        with torch.device("meta"):
            model = (
                model_class(config)
                .from_config(
                    config, dtype=torch.bfloat16, trust_remote_code=trust_remote_code, attn_implementation="eager"
                )
                .eval()
            )
    except (ValueError, ImportError) as error:
        raise UnsupportedModelError(
            f"{name}: not a causal language model that transformers can build: {error}"
        ) from error
    use_paged_attention(model, name)
    freeze_rope(model, None)
    recorder = _Recorder({module: path for path, module in model.named_modules()})
    ids = torch.zeros(1, 2, dtype=torch.int64, device="meta")
    try:
        with torch.inference_mode(), forward_context(recorder):
            logits = model(
                input_ids=ids,
                position_ids=ids,
                use_cache=False,
                logits_to_keep=torch.ones(1, dtype=torch.int64, device="meta"),
            ).logits
    except Exception as error:
        raise UnsupportedModelError(
            f"{name}: {type(model).__name__} does not run as one ragged batch: {type(error).__name__}: {error}. "
            f"{_ALL_SUPPORTED}"
        ) from error
    if logits.shape[1] != 1:
        raise UnsupportedModelError(f"{name}: {type(model).__name__} ignores logits_to_keep. {_ALL_SUPPORTED}")
    _guard(model, recorder.layers, name)
    return tuple(recorder.layers)


def model_class(config: Any) -> Any:
    """The automatic class that builds and loads this configuration."""
    return AutoModelForCausalLM if family_of(config) is None else AutoModelForImageTextToText


def decoder(model: PreTrainedModel) -> nn.Module:
    """The part of a causal model that ends in the last hidden state, before the head."""
    found = model.get_decoder()
    # Llama4ForCausalLM looks for its decoder under a name that only the model with images has, and finds itself.
    return cast(nn.Module, model.model) if found is model else found


def use_paged_attention(model: PreTrainedModel, name: str) -> None:
    """Makes the text model call `paged_attention`; an image tower keeps its own attention.

    transformers only logs a refusal, so it is checked.
    """
    if model._can_set_attn_implementation():
        sees = family_of(model.config) is not None
        model.set_attn_implementation({"text_config": ATTENTION_NAME} if sees else ATTENTION_NAME)
    # Nothing is ever padded here; the check reads the input back from the device at each step.
    module: Any
    for module in model.modules():
        if hasattr(module, "warn_if_padding_and_no_attention_mask"):
            module.warn_if_padding_and_no_attention_mask = _ignore
    if model.config.get_text_config()._attn_implementation != ATTENTION_NAME:
        raise UnsupportedModelError(
            f"{name}: {type(model).__name__} has no attention interface, so its attention cannot be replaced. "
            f"{_ALL_SUPPORTED}"
        )


def _ignore(*args: Any) -> None:
    return None


def attach(model: nn.Module, layers: tuple[AttentionLayer, ...]) -> None:
    """Hangs each layer's facts on its module, where `attend` finds them."""
    for layer in layers:
        module: Any = model.get_submodule(layer.name)
        module.paged_attention = layer


def freeze_rope(model: nn.Module, context_length: int | None) -> None:
    """Fixes rotary frequencies that transformers would choose anew at each step from the longest position in it.

    With those, a long neighbour changes a short request's logits. They are chosen once, for `context_length` (None:
    left as they were made), as if every request were that long. The module's `rope_type` then names no type that is
    remade.
    """
    module: Any
    for module in model.modules():
        rope_type = getattr(module, "rope_type", None)
        kinds = rope_type if isinstance(rope_type, dict) else {None: rope_type}
        remade = [key for key, kind in kinds.items() if isinstance(kind, str) and any(r in kind for r in _REMADE_ROPE)]
        for key in remade:
            if context_length is not None:
                _choose_frequencies(module, key, context_length)
            if key is None:
                module.rope_type = FROZEN_ROPE
            else:
                module.rope_type = {**module.rope_type, key: FROZEN_ROPE}


def _choose_frequencies(module: nn.Module, layer_type: str | None, context_length: int) -> None:
    frequencies = getattr(module, "inv_freq" if layer_type is None else f"{layer_type}_inv_freq")
    last = torch.tensor([[context_length - 1]], device=frequencies.device)
    extra = {} if layer_type is None else {"layer_type": layer_type}
    module(torch.zeros(1, 1, device=frequencies.device), position_ids=last, **extra)


def _guard(model: PreTrainedModel, layers: list[AttentionLayer], name: str) -> None:
    expected = model.config.get_text_config().num_hidden_layers
    kind = type(model).__name__
    if len(layers) != expected or len({layer.name for layer in layers}) != expected:
        raise UnsupportedModelError(
            f"{name}: {kind} has {expected} layers, but {len(layers)} attention calls were seen. Layers that keep "
            f"their state elsewhere (recurrent, convolutional or linear attention) are not supported. {_ALL_SUPPORTED}"
        )
    convolutions = [
        path for path, module in model.named_modules() if isinstance(module, nn.Conv1d) and module.kernel_size != (1,)
    ]
    if convolutions:
        raise UnsupportedModelError(
            f"{name}: {kind} keeps state outside attention, in {convolutions[0]} (a convolution over time). "
            f"{_ALL_SUPPORTED}"
        )
    for layer in layers:
        if layer.num_heads % layer.num_kv_heads:
            raise UnsupportedModelError(
                f"{name}: {layer.name} has {layer.num_heads} query heads, for {layer.num_kv_heads} KV heads"
            )
