"""Checks of the small Triton kernels, for the interpreter and for a GPU."""

from __future__ import annotations

import torch

from runtime.kernels.triton.ops import TritonOps
from runtime.kernels.triton.write_kv import write_kv

ROUNDING = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def random(*shape: int, dtype: torch.dtype, device: str, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(device)


def close(found: torch.Tensor, exact: torch.Tensor, dtype: torch.dtype) -> None:
    torch.testing.assert_close(found.double(), exact.double(), atol=ROUNDING[dtype], rtol=ROUNDING[dtype])


def check_norm(dtype: torch.dtype, rows: int, width: int, offset: float, device: str) -> None:
    x = random(rows, 2 * width, dtype=dtype, device=device)[:, :width]
    weight = random(width, dtype=dtype, device=device, seed=1)
    exact = x.double() * (x.double().pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt() * (weight.double() + offset)
    close(TritonOps().rms_norm(x, weight, 1e-5, offset), exact, dtype)


def check_gate(dtype: torch.dtype, rows: int, width: int, device: str) -> None:
    gate_up = random(rows, 2 * width, dtype=dtype, device=device)
    exact = torch.nn.functional.silu(gate_up[:, :width].double()) * gate_up[:, width:].double()
    close(TritonOps().silu_multiply(gate_up), exact, dtype)


def check_rotary(dtype: torch.dtype, rows: int, heads: int, kv_heads: int, dim: int, float8: bool, device: str) -> None:
    qkv = random(rows, (heads + 2 * kv_heads) * dim, dtype=dtype, device=device)
    angles = random(rows, dim // 2, dtype=torch.float64, device=device, seed=1).repeat(1, 2)
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    pool = torch.float8_e4m3fn if float8 else dtype
    keys, values = (torch.zeros(rows + 3, kv_heads, dim, dtype=dtype, device=device).to(pool) for _ in range(2))
    slots = torch.arange(rows + 3, device=device).flip(0)[:rows]
    query = TritonOps().rotate_and_write(qkv.clone(), cos, sin, slots, keys, values)
    whole = qkv.double().unflatten(1, (-1, dim))
    turned = torch.cat((-whole[..., dim // 2 :], whole[..., : dim // 2]), dim=-1)
    exact = whole * cos.double()[:, None] + turned * sin.double()[:, None]
    close(query, exact[:, :heads], dtype)
    if float8:
        near = exact[:, heads : heads + kv_heads]
        assert ((keys[slots].double() - near).abs() <= near.abs() / 14 + 1e-2).all()
        assert (values[slots].float() == qkv.unflatten(1, (-1, dim))[:, heads + kv_heads :].to(pool).float()).all()
    else:
        close(keys[slots], exact[:, heads : heads + kv_heads], dtype)
        assert (values[slots] == qkv.unflatten(1, (-1, dim))[:, heads + kv_heads :]).all()
    assert not keys[:3].float().any() and not values[:3].float().any()


def check_write(
    dtype: torch.dtype, rows: int, heads: int, key_dim: int, value_dim: int, float8: bool, device: str
) -> None:
    """Strided as models give them; bits are torch's own."""
    key = (30 * random(1, heads, rows, key_dim, dtype=dtype, device=device).pow(3))[0].transpose(0, 1)
    value = random(1, heads, rows, value_dim, dtype=dtype, device=device, seed=1)[0].transpose(0, 1) * 0.01
    pool = torch.float8_e4m3fn if float8 else dtype
    keys = torch.zeros(rows + 2, heads, key_dim, device=device).to(pool)
    values = torch.zeros(rows + 2, heads, value_dim, device=device).to(pool)
    slots = torch.arange(rows, device=device).flip(0) + 2
    view = (lambda t: t.view(torch.uint8)) if float8 else (lambda t: t)
    write_kv(view(keys), view(values), slots, key, value)
    key = key.clamp(-448, 448) if float8 else key
    assert (keys[slots].float() == key.to(pool).float()).all()
    assert (values[slots].float() == value.to(pool).float()).all()
    assert not keys[:2].float().any()
