"""The training loop's parts: the attention against sdpa, the batches, and that a few steps learn and can be resumed."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

from runtime.model.demo import PATH
from runtime.model.demo import train as training
from runtime.model.demo.batches import BATCH_TOKENS, batches
from runtime.model.demo.optimiser import PEAK_RATE, Optimiser, learning_rate
from runtime.model.demo.scores import Score
from runtime.model.demo.train import new_model, short_row_attention, train, train_step

TOKENIZER = AutoTokenizer.from_pretrained(PATH)


def test_attention_equals_sdpa() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 17, 8), torch.randn(2, 2, 17, 8), torch.randn(2, 2, 17, 8)
    ours, _ = short_row_attention(torch.nn.Module(), query, key, value, None, scaling=8**-0.5)
    oracle = functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(ours, oracle.transpose(1, 2))


def test_batches_hold_every_answer_and_little_else() -> None:
    made = batches(TOKENIZER, "some step", 200)
    again = batches(TOKENIZER, "some step", 200)
    assert all(torch.equal(one[0], other[0]) for one, other in zip(made, again, strict=True))
    for ids, is_answer in made:
        assert ids.shape[1] <= 200
        assert len(ids) == 1 or ids.numel() <= BATCH_TOKENS
        assert (ids[:, 0] == TOKENIZER.bos_token_id).all()
        assert not is_answer[:, 0].any()
        assert ((ids == TOKENIZER.eos_token_id) & is_answer).sum() == len(ids)
        assert not ((ids == TOKENIZER.pad_token_id) & is_answer).any()


def test_the_rate_rises_and_falls() -> None:
    assert learning_rate(0.0) == 0.0
    assert learning_rate(0.02) == pytest.approx(PEAK_RATE)
    assert learning_rate(1.0) == pytest.approx(PEAK_RATE / 100)
    assert learning_rate(0.3) > learning_rate(0.6)


def test_steps_lower_the_loss_and_a_saved_state_goes_on_alike() -> None:
    torch.manual_seed(0)
    model = new_model(TOKENIZER)
    optimiser = Optimiser(model)
    step = batches(TOKENIZER, "learn", 60)[-1:]
    losses = []
    for _ in range(4):
        losses.append(train_step(model, step))
        optimiser.step(1e-3)
    assert losses[-1] < losses[0] - 0.5
    saved = copy.deepcopy(optimiser.state())
    resumed = new_model(TOKENIZER)
    other = Optimiser(resumed)
    other.load(saved)
    for one, two in ((model, optimiser), (resumed, other)):
        train_step(one, step)
        two.step(1e-3)
    for parameter, twin in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(parameter, twin)


def test_an_interrupted_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "model"
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(training, "measure", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(out, minutes=0.001, seed=1)
    checkpoint = tmp_path / "model.checkpoint.pt"
    assert checkpoint.exists()
    monkeypatch.setattr(training, "measure", lambda *_: [Score("records", 3, 4)])
    train(out, minutes=0.02, seed=1)
    assert "goes on from step" in capsys.readouterr().out
    assert not checkpoint.exists()
    assert "| records | 3 | 4 | 75.0% |" in (out / "README.md").read_text()
    assert AutoModelForCausalLM.from_pretrained(out).num_parameters() > 2_000_000
