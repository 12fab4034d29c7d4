"""The plain decoder: what many families are once their names are taken away (Llama, Mistral, Qwen 2, SmolLM and kin).

    x = embedding;  each layer: x += output(attention(qkv(norm(x))));  x += down(silu(gate(norm(x))) * up(norm(x)));
    head(norm(x))

In comes a transformers model whose parts have these names; out goes the same function with projections merged and no
modules between the products. Names prove nothing: `runtime.model.fusion` accepts it only if it computes what the model
computes. It takes the model's weights over (`runtime.model.decoder_weights`) and knows no batch.

On one CPU thread with compiled kernels, products are done in panels, and a step of one token is compiled as a whole.
Elsewhere products are torch's, with weights packed for it where there is memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from runtime.kernels import cpu_dense_token, cpu_native
from runtime.kernels.contract import AttentionLayer
from runtime.kernels.cpu_ops import array_of
from runtime.model.decoder_weights import DecoderWeights, fit_panels
from runtime.model.packed_linear import PackedLinear
from runtime.model.panel_linear import PanelLinear, Scratch

_LAYER_PARTS = {"input_layernorm", "post_attention_layernorm", "self_attn", "mlp"}
_ATTENTION_PARTS = {"q_proj", "k_proj", "v_proj", "o_proj"}
_MLP_PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}


class DecoderOps(Protocol):
    """What is computed between products and attentions. See `runtime.kernels.cpu_ops.CpuOps`, `...triton.ops`.

    ready: whether there are compiled kernels on a CPU, and so panels and `DenseDecoder.forward_single`.
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


class Linear(Protocol):
    """One of `PanelLinear`, `PackedLinear`."""

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        """With `residual`: the sum with it, perhaps in its place."""
        ...


class MergedAttention(Protocol):
    """Answers attention for merged projections."""

    def attend_merged(
        self,
        layer: AttentionLayer,
        qkv: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        rows: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """qkv [T, (heads + 2 * kv_heads) * dim], not yet rotated -> [T, heads * dim]; or of these rows only, rising."""
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
    qkv: Linear
    output: Linear
    gate: Callable[[torch.Tensor], torch.Tensor]
    """silu(gate) * up."""
    down: Linear


class DenseDecoder:
    """Made by `of`, from a model whose parts have the right names and shapes."""

    def __init__(self, model: Any, ops: DecoderOps, pack: bool) -> None:
        decoder = model.get_decoder()
        self._ops = ops
        self._rotary = decoder.rotary_emb
        self._epsilon = _epsilon(decoder.norm) or 0.0
        self._pack = pack
        in_panels = ops.ready and torch.get_num_threads() == 1 and fit_panels(model)
        # Every weight is copied before any is packed: then the checkpoint's file is no longer mapped into memory.
        weights = self._weights = DecoderWeights(model, in_panels)
        if in_panels:
            self._head: Linear = PanelLinear(weights.head, None, weights.num_tokens, torch.float32, Scratch())
        else:
            self._head = PackedLinear(weights.head, None, pack)
        self._qkv, self._gated = Scratch(), Scratch()
        self._layers = [self._layer(layer, i) for i, layer in enumerate(decoder.layers)]
        self._scalings = np.array([layer.attention.scaling for layer in self._layers])
        self._windows = [layer.attention.sliding_window for layer in self._layers]

    @classmethod
    def of(cls, model: Any, ops: DecoderOps, pack: bool) -> DenseDecoder | None:
        """None if the model does not look like one. Takes the model's weights over, until `give_back`.

        pack: whether there is memory for a packed copy, where weights do not lie in panels.
        """
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
        """input_ids [1, T], position_ids [1, T] or [3, 1, T]; logits [len(rows), vocab] of these tokens, in the model's
        dtype, or float32 from panels. The next call may overwrite them.

        embeddings: [T, width], where they are not those of `input_ids`; may be overwritten.
        """
        return self._head.forward(self.hidden(input_ids, position_ids, rows, attention, embeddings))

    def hidden(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        rows: torch.Tensor,
        attention: MergedAttention,
        embeddings: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """As `forward`, but what the head would make logits of: [len(rows), width]."""
        ops, epsilon = self._ops, self._epsilon
        x = self.embed(input_ids[0]) if embeddings is None else embeddings
        cos, sin = self._angles(x, position_ids)
        # Modules are called past their hooks: they have none, and a step makes more than a hundred such calls.
        for layer in self._layers:
            qkv = layer.qkv.forward(ops.rms_norm(x, layer.input_norm, epsilon))
            last = layer is self._layers[-1] and len(rows) < x.shape[0]  # of other tokens only keys and values are left
            attended = attention.attend_merged(layer.attention, qkv, cos, sin, rows if last else None)
            x = x[rows] if last else x
            x = layer.output.forward(attended, x)
            x = layer.down.forward(layer.gate(ops.rms_norm(x, layer.post_norm, epsilon)), x)
        return ops.rms_norm(x, self._weights.final_norm, epsilon)

    def embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """input_ids [T] -> [T, width]."""
        return self._weights.embed(input_ids)

    def give_back(self) -> None:
        """Let the model have its weights again; the decoder is of no use afterwards."""
        self._weights.give_back()

    def takes_single(self) -> bool:
        """Whether `forward_single` can be used."""
        weights = self._weights
        inner = weights.down[0].shape[1] * weights.down[0].shape[2] // cpu_native.LANES if weights.in_panels else 0
        return (
            weights.in_panels
            and all(width % cpu_native.LANES == 0 for width in (len(weights.final_norm), inner))
            and self._layers[0].attention.key_dim % cpu_native.HEAD_MULTIPLE == 0
        )

    def forward_single(
        self, token_id: int, position: int, position_ids: torch.Tensor, token: SingleToken
    ) -> torch.Tensor:
        """Logits [1, vocab], float32, of one token, compiled as a whole. Needs `takes_single`.

        position: its index in the text; position_ids: as in `forward`, for rotation.
        """
        weights = self._weights
        x = self.embed(torch.tensor([token_id])).to(torch.float32, copy=True)
        cos, sin = self._angles(x, position_ids)
        logits = torch.empty(1, weights.head.shape[0] * cpu_native.LANES)
        first = [0 if window is None else max(0, position + 1 - window) for window in self._windows]
        qkv, output, gate_up, down = weights.stacked()
        cpu_dense_token.dense_token(
            *(array_of(tensor) for tensor in (x, cos, sin, qkv, weights.qkv_bias)),
            *(array_of(tensor) for tensor in (output, gate_up, down, weights.norms)),
            self._epsilon,
            array_of(weights.final_norm),
            array_of(weights.head),
            self._scalings,
            np.array(first, dtype=np.int64),
            token.slots,
            array_of(token.keys),
            array_of(token.values),
            array_of(logits),
        )
        return logits[:, : weights.num_tokens]

    def _layer(self, layer: Any, index: int) -> _Layer:
        weights = self._weights
        return _Layer(
            attention=layer.self_attn.paged_attention,
            input_norm=weights.norms[index, 0],
            post_norm=weights.norms[index, 1],
            qkv=self._linear(weights.qkv[index], weights.biases[index], self._qkv),
            output=self._linear(weights.output[index]),
            gate=self._gate(weights.gate_up[index]),
            down=self._linear(weights.down[index]),
        )

    def _linear(self, weight: torch.Tensor, bias: torch.Tensor | None = None, scratch: Scratch | None = None) -> Linear:
        if self._weights.in_panels:
            return PanelLinear(weight, bias, scratch=scratch)
        return PackedLinear(weight, bias, self._pack)

    def _gate(self, weight: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        if self._weights.in_panels:
            return PanelLinear(weight, None, scratch=self._gated).gate
        linear = self._linear(weight)
        return lambda x: self._ops.silu_multiply(linear.forward(x))

    def _angles(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        cos, sin = self._rotary(x, position_ids)
        return cos[0], sin[0]


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
