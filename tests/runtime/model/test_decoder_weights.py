"""A decoder's weights in panels are the model's, and can be given back."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from runtime.model.decoder_weights import DecoderWeights, fit_panels


def tiny_llama(tied: bool) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("tied", [False, True])
def test_what_is_taken_is_given_back(tied: bool) -> None:
    model, ids = tiny_llama(tied), torch.randint(0, 100, (1, 9))
    assert fit_panels(model)
    with torch.inference_mode():
        embedded, expected = model.model.embed_tokens(ids[0]), model(ids).logits
        weights = DecoderWeights(model, in_panels=True)
        assert torch.equal(weights.embed(ids[0]), embedded)
        left = sum(parameter.numel() for parameter in model.parameters())
        assert left == (0 if tied else 100 * 64) + (2 * 2 + 1) * 64  # the embedding and norms
        weights.give_back()
        assert torch.equal(model(ids).logits, expected)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied


def test_layers_are_merged_one_by_one_where_memory_is_the_device_s() -> None:
    """Else a kind of all layers, which is up to half of a model, would be there twice."""
    model = tiny_llama(tied=False).to("meta")
    weights = DecoderWeights(model, in_panels=False)
    for kind in (weights.qkv, weights.output, weights.gate_up, weights.down):
        assert len(kind) == 2
        assert all(weight.untyped_storage().nbytes() == weight.nbytes for weight in kind)
    layer = model.model.layers[1]
    assert layer.mlp.up_proj.weight.shape == (96, 64)
    assert layer.mlp.up_proj.weight.untyped_storage().nbytes() == weights.gate_up[1].nbytes
