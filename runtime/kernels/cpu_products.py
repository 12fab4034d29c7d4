"""The dense products that CPU attention is put together from. Each returns what it weighed and the log-sum-exp of its
scores.

In come a layer's facts and plain tensors; no pool, no plan, no batch. The query heads that share a head of keys are
rows of one product with it, so keys are read once and never repeated in memory. Scores and their sums are float32 at
least.
"""

from __future__ import annotations

import torch

from runtime.kernels.contract import AttentionLayer

MAX_SCORES = 1 << 23
"""Scores held at once where torch's fused kernel does not apply; longer queries are taken in turns."""

Part = tuple[torch.Tensor, torch.Tensor]
"""Output [rows, heads, value_dim] and log-sum-exp [rows, heads], over some of each row's keys."""


def attend_all(layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
    """Every row [rows, heads, key_dim] sees every key [m, kv_heads, key_dim]."""
    rows = query.shape[0]
    groups = (layer.num_kv_heads, layer.group_size)
    if _fused_applies(layer):
        # Rows of one product: [1, kv_heads, rows * group, key_dim]
        q = query.unflatten(1, groups).transpose(0, 1).reshape(1, groups[0], rows * groups[1], layer.key_dim)
        out, lse = _fused(layer, q, keys.transpose(0, 1)[None], values.transpose(0, 1)[None], causal=False)
        out = out.view(groups[0], rows, groups[1], layer.value_dim).transpose(0, 1)
        lse = lse.view(groups[0], rows, groups[1]).transpose(0, 1)
        return out.flatten(1, 2), lse.flatten(1, 2)
    return _attend_plain(layer, query, keys, values, None)


def attend_causal(layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> Part:
    """As many keys as rows; a row sees those up to its own."""
    if _fused_applies(layer):
        # [kv_heads, group, rows, key_dim]; keys are the same for the whole group by a stride of 0
        q = query.unflatten(1, (layer.num_kv_heads, layer.group_size)).permute(1, 2, 0, 3)
        k = keys.transpose(0, 1)[:, None].expand(-1, layer.group_size, -1, -1)
        v = values.transpose(0, 1)[:, None].expand(-1, layer.group_size, -1, -1)
        out, lse = _fused(layer, q, k, v, causal=True)
        return out.permute(2, 0, 1, 3).flatten(1, 2), lse.permute(2, 0, 1).flatten(1, 2)
    count = query.shape[0]
    mask = torch.ones(count, count, dtype=torch.bool, device=query.device).tril()
    return _attend_plain(layer, query, keys, values, mask)


def attend_masked(
    layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor
) -> Part:
    """Row i sees the keys where mask bool [rows, m] is set, at least one."""
    if _fused_applies(layer):
        q = query.unflatten(1, (layer.num_kv_heads, layer.group_size)).permute(1, 2, 0, 3)
        k = keys.transpose(0, 1)[:, None].expand(-1, layer.group_size, -1, -1)
        v = values.transpose(0, 1)[:, None].expand(-1, layer.group_size, -1, -1)
        bias = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill_(~mask, float("-inf"))
        out, lse = _fused(layer, q, k, v, causal=False, bias=bias)
        return out.permute(2, 0, 1, 3).flatten(1, 2), lse.permute(2, 0, 1).flatten(1, 2)
    return _attend_plain(layer, query, keys, values, mask)


def attend_padded(
    layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, bias: torch.Tensor | None
) -> Part:
    """One row [n, heads, key_dim] for each of n requests with keys of its own [n, m, kv_heads, key_dim].

    bias: float32 [n, 1, 1, m], 0 or -inf at padding; None: no padding.
    """
    groups = (layer.num_kv_heads, layer.group_size)
    q = query.unflatten(1, groups)
    scores = _scores(layer, torch.matmul(q, keys.permute(0, 2, 3, 1)))
    if bias is not None:
        scores += bias
    lse = scores.logsumexp(-1)
    weights = (scores - lse[..., None]).exp_()
    out = torch.matmul(weights.to(values.dtype), values.permute(0, 2, 1, 3))
    return out.flatten(1, 2), lse.flatten(1, 2)


def merge(into: Part, rows: torch.Tensor | slice, part: Part) -> None:
    """Adds what `rows` got from other keys. `into` is float32 or wider, with log-sum-exp -inf where nothing is yet."""
    out, lse = into
    before, added = lse[rows], part[1].to(lse.dtype)
    total = torch.logaddexp(before, added)
    mixed = out[rows] * (before - total).exp_()[..., None] + part[0].to(out.dtype) * (added - total).exp_()[..., None]
    out[rows] = mixed
    lse[rows] = total


def add_sinks(into: Part, sinks: torch.Tensor) -> None:
    """Lets one score a head [heads], with no value, take part in each row's softmax."""
    out, lse = into
    out *= torch.sigmoid(lse - sinks.to(lse.dtype))[..., None]


def score_dtype(dtype: torch.dtype) -> torch.dtype:
    """What scores of such queries are held in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _fused_applies(layer: AttentionLayer) -> bool:
    return layer.softcap is None and layer.key_dim == layer.value_dim


def _fused(
    layer: AttentionLayer,
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    causal: bool,
    bias: torch.Tensor | None = None,
) -> Part:
    """torch's CPU flash attention: [b, h, rows, dim] -> the same and [b, h, rows]."""
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, keys, values, 0.0, causal, attn_mask=bias, scale=layer.scaling
    )


def _scores(layer: AttentionLayer, products: torch.Tensor) -> torch.Tensor:
    scores = products.to(score_dtype(products.dtype)) * layer.scaling
    if layer.softcap is not None:
        scores = torch.tanh(scores / layer.softcap) * layer.softcap
    return scores


def _attend_plain(
    layer: AttentionLayer, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
) -> Part:
    """By the definition, with bounded memory: where scores are capped, or values are narrower than keys."""
    k, v = keys.transpose(0, 1)[:, None], values.transpose(0, 1)[:, None]
    at_once = max(1, MAX_SCORES // (layer.num_heads * keys.shape[0]))
    parts = []
    for begin in range(0, query.shape[0], at_once):
        q = query[begin : begin + at_once].unflatten(1, (layer.num_kv_heads, layer.group_size)).permute(1, 2, 0, 3)
        scores = _scores(layer, torch.matmul(q, k.transpose(-1, -2)))
        if mask is not None:
            scores = scores.masked_fill_(~mask[begin : begin + at_once], float("-inf"))
        lse = scores.logsumexp(-1)
        weights = (scores - lse[..., None]).exp_()
        out = torch.matmul(weights.to(values.dtype), v)
        parts.append((out.permute(2, 0, 1, 3).flatten(1, 2), lse.permute(2, 0, 1).flatten(1, 2)))
    return joined(parts)


def joined(parts: list[Part]) -> Part:
    """Parts of different rows, one after another."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])
