"""The one attention function that every model calls, registered with transformers under `ATTENTION_NAME`.

It is registered as an attention function and not as a mask function: then transformers builds no masks at all, and
what a query sees is decided by the batch. The name must not contain "flash", which transformers treats specially.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface

from runtime.model.forward_context import current_step

ATTENTION_NAME = "sgl_lite"


def paged_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention call: parameter names are its own. The mask is always None and dropout always 0 here."""
    out = current_step().attend(
        module, query, key, value, scaling=scaling, sliding_window=sliding_window, softcap=softcap, sinks=s_aux
    )
    return out, None


AttentionInterface.register(ATTENTION_NAME, paged_attention)
