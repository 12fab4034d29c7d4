"""The plain decoder: what many families are once their names are taken away (Llama, Mistral, Qwen 2, SmolLM and kin).

    x = embedding;  each layer: x += output(attention(qkv(norm(x))));  x += down(silu(gate(norm(x))) * up(norm(x)));
    head(norm(x))

In comes a transformers model whose parts have these names; out goes the same function with projections merged and
packed and no Python between the products. Names prove nothing: `runtime.model.fusion` accepts it only if it computes
what the model computes. It takes the model's weights over (the model's own parameters become views of the merged
ones) and knows no batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from runtime.kernels import cpu_dense_token, cpu_native, huge_pages
from runtime.kernels.contract import AttentionLayer
from runtime.kernels.cpu_ops import array_of
from runtime.model.packed_linear import PackedLinear

_LAYER_PARTS = {"input_layernorm", "post_attention_layernorm", "self_attn", "mlp"}
_ATTENTION_PARTS = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP_PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class DecoderOps(Protocol):
    """What is computed between products and attentions. See `runtime.kernels.cpu_ops.CpuOps`, `...triton.ops`.

    ready: whether `DenseDecoder.forward_single` may be used.
    """

    ready: bool

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor: ...

    def silu_multiply(self, gate_up: torch.Tensor) -> torch.Tensor: ...

    def rotate_and_write(
        self,
        qkv: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        slots: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
    ) -> torch.Tensor: ...


class MergedAttention(Protocol):
    """Answers attention for merged projections."""

    def attend_merged(
        self, layer: AttentionLayer, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """qkv [rows, (heads + 2 * kv_heads) * dim], not yet rotated -> [rows, heads * dim]."""
        ...


@dataclass(frozen=True, slots=True)
class SingleToken:
    """A step of one token: its slots [1, positions], and the pool stacked, [layers, slots, kv_heads, dim] each."""

    slots: NDArray[np.int64]
    keys: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Layer:
    attention: AttentionLayer
    input_norm: torch.Tensor
    post_norm: torch.Tensor
    qkv: PackedLinear
    output: PackedLinear
    gate_up: PackedLinear
    down: PackedLinear


class DenseDecoder:
    """Made by `of`, from a model whose parts have the right names and shapes."""

    def __init__(self, model: Any, ops: DecoderOps, pack: bool) -> None:
        decoder = model.get_decoder()
        self._ops = ops
        self._rotary = decoder.rotary_emb
        self._epsilon = _epsilon(decoder.norm) or 0.0
        # Every weight is copied before any is packed: then the checkpoint's file is no longer mapped into memory.
        self._stacks = _Stacks(decoder.layers)
        _own_the_rest(model, self._stacks)
        self._embedding = decoder.embed_tokens.weight.detach()
        self._final_norm = decoder.norm.weight.detach()
        self._head = PackedLinear(model.get_output_embeddings().weight.detach(), None, pack)
        self._layers = [_layer(layer, i, self._stacks, pack) for i, layer in enumerate(decoder.layers)]
        self._scalings = np.array([layer.attention.scaling for layer in self._layers])
        self._windows = [layer.attention.sliding_window for layer in self._layers]

    @classmethod
    def of(cls, model: Any, ops: DecoderOps, pack: bool) -> DenseDecoder | None:
        """None if the model does not look like one. Takes the model's weights over; `pack`: and keeps a packed copy."""
        decoder = model.get_decoder()
        wanted = ("embed_tokens", "layers", "norm", "rotary_emb")
        if not all(isinstance(getattr(decoder, name, None), nn.Module) for name in wanted):
            return None
        head = model.get_output_embeddings()
        if not isinstance(head, nn.Linear) or head.bias is not None or _epsilon(decoder.norm) is None:
            return None
        if not all(_plain(layer, _epsilon(decoder.norm)) for layer in decoder.layers):
            return None
        if len({_shapes(layer) for layer in decoder.layers}) != 1:
            return None
        return cls(model, ops, pack)

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        rows: torch.Tensor,
        attention: MergedAttention,
        embeddings: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """input_ids [1, T], position_ids [1, T] or [3, 1, T]; logits [len(rows), vocab] of these tokens.

        embeddings: [T, width], where they are not those of `input_ids`.
        """
        ops, epsilon = self._ops, self._epsilon
        x = F.embedding(input_ids[0], self._embedding) if embeddings is None else embeddings
        cos, sin = self._angles(x, position_ids)
        # Modules are called past their hooks: they have none, and a step makes more than a hundred such calls.
        for layer in self._layers:
            qkv = layer.qkv.forward(ops.rms_norm(x, layer.input_norm, epsilon))
            x = layer.output.forward(attention.attend_merged(layer.attention, qkv, cos, sin), x)
            gated = ops.silu_multiply(layer.gate_up.forward(ops.rms_norm(x, layer.post_norm, epsilon)))
            x = layer.down.forward(gated, x)
        if len(rows) < x.shape[0]:
            x = x[rows]
        return self._head(ops.rms_norm(x, self._final_norm, epsilon))

    def takes_single(self) -> bool:
        """Whether `forward_single` can be used."""
        stacks = self._stacks
        inner = (self._embedding.shape[1], stacks.down.shape[2])
        rows = (stacks.qkv.shape[1], self._head.out_features, *inner)
        return (
            self._ops.ready
            and torch.get_num_threads() == 1
            and all(width % cpu_native.LANES == 0 for width in inner)
            and all(count % cpu_dense_token.ROWS_AT_ONCE == 0 for count in rows)
            and self._layers[0].attention.key_dim % cpu_native.HEAD_MULTIPLE == 0
        )

    def forward_single(
        self, token_id: int, position: int, position_ids: torch.Tensor, token: SingleToken
    ) -> torch.Tensor:
        """Logits [1, vocab], float32, of one token, compiled as a whole. Needs `takes_single`.

        position: its index in the text; position_ids: as in `forward`, for rotation.
        """
        x = self._embedding[token_id : token_id + 1].to(torch.float32, copy=True)
        cos, sin = self._angles(x, position_ids)
        logits = torch.empty(1, self._head.out_features)
        stacks = self._stacks
        first = [0 if window is None else max(0, position + 1 - window) for window in self._windows]
        cpu_dense_token.dense_token(
            array_of(x),
            array_of(cos),
            array_of(sin),
            array_of(stacks.qkv),
            stacks.qkv_bias,
            array_of(stacks.output),
            array_of(stacks.gate_up),
            array_of(stacks.down),
            array_of(stacks.norms),
            self._epsilon,
            array_of(self._final_norm),
            array_of(self._head.weight.detach()),
            self._scalings,
            np.array(first, dtype=np.int64),
            token.slots,
            array_of(token.keys),
            array_of(token.values),
            array_of(logits),
        )
        return logits

    def _angles(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = self._rotary(x, position_ids)
        return cos[0], sin[0]


class _Stacks:
    """The weights of all layers, one tensor [layers, ...] of a kind."""

    def __init__(self, layers: Any) -> None:
        self.qkv = _stacked(layers, lambda a: [a.self_attn.q_proj, a.self_attn.k_proj, a.self_attn.v_proj])
        self.output = _stacked(layers, lambda a: [a.self_attn.o_proj])
        self.gate_up = _stacked(layers, lambda a: [a.mlp.gate_proj, a.mlp.up_proj])
        self.down = _stacked(layers, lambda a: [a.mlp.down_proj])
        norms = [[a.input_layernorm.weight, a.post_attention_layernorm.weight] for a in layers]
        self.norms = torch.stack([torch.stack([w.detach() for w in pair]) for pair in norms])
        biases = [_merged_bias(a.self_attn) for a in layers]
        empty = torch.empty(0)
        self.bias = biases
        self.qkv_bias = torch.stack([(empty if b is None else b).float().cpu() for b in biases]).numpy()


def _stacked(layers: Any, parts: Any) -> torch.Tensor:
    """Copies the parts' weights under each other for each layer, and makes the parts views of the copy."""
    example = parts(layers[0])
    rows, width = sum(p.weight.shape[0] for p in example), example[0].weight.shape[1]
    stack = _memory((len(layers), rows, width), example[0].weight)
    for i, layer in enumerate(layers):
        begin = 0
        for part in parts(layer):
            end = begin + part.weight.shape[0]
            stack[i, begin:end] = part.weight.detach()
            part.weight = nn.Parameter(stack[i, begin:end], requires_grad=False)
            begin = end
    return stack


def _own_the_rest(model: nn.Module, stacks: _Stacks) -> None:
    """Copies what is in no stack: embeddings, norms, biases. Weights that are tied stay so."""
    stacked = {s.untyped_storage().data_ptr() for s in (stacks.qkv, stacks.output, stacks.gate_up, stacks.down)}
    for parameter in model.parameters():
        if parameter.untyped_storage().data_ptr() not in stacked:
            parameter.data = _memory(tuple(parameter.shape), parameter).copy_(parameter.data)


def _memory(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """To be written: on the same device and of the same dtype."""
    if like.device.type == "cpu":
        return huge_pages.zeros(shape, like.dtype)
    return torch.empty(shape, dtype=like.dtype, device=like.device)


def _layer(layer: Any, index: int, stacks: _Stacks, pack: bool) -> _Layer:
    return _Layer(
        attention=layer.self_attn.paged_attention,
        input_norm=stacks.norms[index, 0],
        post_norm=stacks.norms[index, 1],
        qkv=PackedLinear(stacks.qkv[index], stacks.bias[index], pack),
        output=PackedLinear(stacks.output[index], None, pack),
        gate_up=PackedLinear(stacks.gate_up[index], None, pack),
        down=PackedLinear(stacks.down[index], None, pack),
    )


def _merged_bias(attention: Any) -> torch.Tensor | None:
    biases = [part.bias for part in (attention.q_proj, attention.k_proj, attention.v_proj)]
    return None if biases[0] is None else torch.cat([b.detach() for b in biases])


def _plain(layer: Any, epsilon: float | None) -> bool:
    """Whether a layer has the parts of a plain decoder and no others, and its attention no extras."""
    if {name for name, _ in layer.named_children()} != _LAYER_PARTS:
        return False
    attention, mlp = layer.self_attn, layer.mlp
    if {name for name, _ in attention.named_children()} != _ATTENTION_PARTS:
        return False
    if {name for name, _ in mlp.named_children()} != _MLP_PARTS or list(layer.parameters(recurse=False)):
        return False
    linears = [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
    linears += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    if not all(type(linear) is nn.Linear for linear in linears):
        return False
    if any(linear.bias is not None for linear in linears[3:]):
        return False
    if len({linear.bias is None for linear in linears[:3]}) != 1:
        return False
    if _epsilon(layer.input_layernorm) != epsilon or _epsilon(layer.post_attention_layernorm) != epsilon:
        return False
    facts: AttentionLayer = attention.paged_attention
    extras = facts.softcap is not None or facts.has_sinks or facts.chunk_size is not None
    return not extras and facts.key_dim == facts.value_dim


def _epsilon(norm: Any) -> float | None:
    """Of a norm with a weight and nothing else; None if it is not one."""
    if [name for name, _ in norm.named_parameters()] != ["weight"]:
        return None
    epsilon = getattr(norm, "variance_epsilon", getattr(norm, "eps", None))
    return float(epsilon) if isinstance(epsilon, float) else None


def _shapes(layer: Any) -> tuple[Any, ...]:
    return tuple((name, tuple(parameter.shape)) for name, parameter in layer.named_parameters())
