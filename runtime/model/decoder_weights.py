"""The weights of a plain decoder, merged and stacked: one tensor [layers, ...] of a kind, in memory of their own.

On a GPU one of each layer: while a stack is filled, it is there beside what it is filled from.

In comes a transformers model with the parts that `runtime.model.dense_decoder` looks for; out go its weights, as
rows (the model's own parameters are then views of them) or in panels (the model's own are then empty, until they are
given back). Either way there is one copy, and the checkpoint's file is no longer mapped into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from runtime.kernels import huge_pages, panels
from runtime.kernels.vector import LANES
from runtime.model.panel_linear import from_panels, panels_shape, to_panels

_KINDS: dict[str, Callable[[Any], list[nn.Linear]]] = {
    "qkv": lambda layer: [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj],
    "output": lambda layer: [layer.self_attn.o_proj],
    "gate_up": lambda layer: [layer.mlp.gate_proj, layer.mlp.up_proj],
    "down": lambda layer: [layer.mlp.down_proj],
}
_IN_TURNS = {"gate_up"}
"""Kinds whose panels take turns, one of each of their weights: what gates comes out next to what is gated."""


class DecoderWeights:
    """qkv, output, gate_up, down: [layers, outputs, inputs], on a GPU a list of [outputs, inputs]; or in panels
    [layers, outputs / 16, lines, words], those of gate_up in turns of the gate's and the other's. head: the same
    without layers.

    norms: [layers, 2, hidden]. qkv_bias: float32 [layers, outputs] or [layers, 0]; biases: the same, one a layer or
    None. final_norm [hidden]. num_tokens: of the vocabulary.
    """

    def __init__(self, model: Any, in_panels: bool) -> None:
        """in_panels: only where `fit_panels`."""
        self.in_panels = in_panels
        self._model = model
        layers, head = model.get_decoder().layers, model.get_output_embeddings()
        self._tied = head.weight is model.get_decoder().embed_tokens.weight
        stacks = {kind: self._stack([parts(layer) for layer in layers], kind) for kind, parts in _KINDS.items()}
        self.qkv, self.output, self.gate_up, self.down = stacks.values()
        self.num_tokens = len(head.weight)
        laid_out = self._head_in_panels(head) if in_panels else None
        _own_the_rest(model, [weight for stack in stacks.values() for weight in stack])
        self.head = head.weight.detach() if laid_out is None else laid_out
        self._embedding = None if self._tied and in_panels else model.get_decoder().embed_tokens.weight.detach()
        self.final_norm = model.get_decoder().norm.weight.detach()
        norms = [[layer.input_layernorm.weight, layer.post_attention_layernorm.weight] for layer in layers]
        self.norms = torch.stack([torch.stack([weight.detach() for weight in pair]) for pair in norms])
        self.biases = [_merged_bias(_KINDS["qkv"](layer)) for layer in layers]
        self.qkv_bias = torch.stack([torch.empty(0) if b is None else b.float().cpu() for b in self.biases])

    def embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids [T] -> [T, hidden]. If the head has the same weight in panels, its rows are picked from them."""
        if self._embedding is not None:
            return F.embedding(input_ids, self._embedding)
        words = self.head.unflatten(2, (LANES, -1))
        return words[input_ids // LANES, :, input_ids % LANES].flatten(1)

    def give_back(self) -> None:
        """Give the model its own parameters again, where they were taken away. This object is of no use afterwards."""
        if not self.in_panels:
            return
        layers = self._model.get_decoder().layers
        for kind, parts in _KINDS.items():
            for layer, stacked in zip(layers, getattr(self, kind), strict=True):
                linears = parts(layer)
                for linear, own in zip(linears, _split(stacked, linears, kind), strict=True):
                    linear.weight = _frozen(from_panels(own))
        head = self._model.get_output_embeddings()
        head.weight = _frozen(from_panels(self.head)[: self.num_tokens].clone())
        if self._tied:
            self._model.get_decoder().embed_tokens.weight = head.weight

    def stacked(self) -> list[torch.Tensor]:
        """qkv, output, gate_up and down, each in one tensor. On a CPU only."""
        return [stack for stack in (self.qkv, self.output, self.gate_up, self.down) if isinstance(stack, torch.Tensor)]

    def _stack(self, linears: list[list[nn.Linear]], kind: str) -> torch.Tensor | list[torch.Tensor]:
        """Takes the weights of every layer's `linears`, and puts them under each other."""
        outputs, example = sum(linear.out_features for linear in linears[0]), linears[0][0].weight
        plain = (outputs, example.shape[1])
        one = panels_shape(*plain, example.dtype) if self.in_panels else plain
        whole = _memory((len(linears), *one), example) if example.device.type == "cpu" else None
        stack: list[torch.Tensor] = []
        for i, layer in enumerate(linears):
            stacked = _memory(one, example) if whole is None else whole[i]
            stack.append(stacked)
            if self.in_panels:
                for linear, own in zip(layer, _split(stacked, layer, kind), strict=True):
                    to_panels(linear.weight.detach(), own)
                    linear.weight = _frozen(example.new_empty(0))
            else:
                sizes = [linear.out_features for linear in layer]
                for linear, own in zip(layer, stacked.split(sizes), strict=True):
                    own.copy_(linear.weight.detach())
                    linear.weight = _frozen(own)
        return stack if whole is None else whole

    def _head_in_panels(self, head: nn.Linear) -> torch.Tensor:
        """Takes its weight, and the embedding that is the same."""
        weight = head.weight.detach()
        layout = _memory(panels_shape(len(weight), weight.shape[1], weight.dtype), weight)
        to_panels(weight, layout)
        head.weight = _frozen(weight.new_empty(0))
        if self._tied:
            self._model.get_decoder().embed_tokens.weight = head.weight
        return layout


def _split(stacked: torch.Tensor, linears: list[nn.Linear], kind: str) -> Sequence[torch.Tensor]:
    """The panels of each of a layer's weights."""
    if kind in _IN_TURNS:
        return [stacked[i :: len(linears)] for i in range(len(linears))]
    return stacked.split([linear.out_features // LANES for linear in linears])


def fit_panels(model: Any) -> bool:
    """Whether all products of a plain decoder can be done in panels."""
    layer = model.get_decoder().layers[0]
    linears = [linear for parts in _KINDS.values() for linear in parts(layer)]
    full = all(linear.out_features % LANES == 0 for linear in linears)
    return full and all(_fit(linear.weight) for linear in (*linears, model.get_output_embeddings()))


def _fit(weight: torch.Tensor) -> bool:
    if weight.device.type != "cpu" or weight.dtype not in (torch.float32, torch.bfloat16):
        return False
    return weight.shape[1] % panels.line_width(weight.element_size()) == 0


def _own_the_rest(model: nn.Module, stacks: Iterable[torch.Tensor]) -> None:
    """Copies what is in no stack: embeddings, norms, biases. Weights that are tied stay so."""
    stacked = {stack.untyped_storage().data_ptr() for stack in stacks}
    for parameter in _own_parameters(model):
        if parameter.untyped_storage().data_ptr() not in stacked:
            parameter.data = _memory(tuple(parameter.shape), parameter).copy_(parameter.data)


def _own_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.numel())


def _memory(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """To be written: on the same device and of the same dtype."""
    if like.device.type == "cpu":
        return huge_pages.zeros(shape, like.dtype)
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _frozen(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def _merged_bias(linears: list[nn.Linear]) -> torch.Tensor | None:
    biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
    return torch.cat(biases) if biases else None
