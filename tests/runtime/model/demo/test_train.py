"""The training: the attention against sdpa, the rate, the pictures against the processor, and going on after a stop."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForImageTextToText, AutoProcessor, LlamaConfig, LlamaForCausalLM

from runtime.model.demo import network
from runtime.model.demo import train as training
from runtime.model.demo.batches import WIDTHS, encode
from runtime.model.demo.checkpoint import Progress
from runtime.model.demo.data import of_picture_task, stems
from runtime.model.demo.growth import grow, grown_tokenizer
from runtime.model.demo.network import GRID, IMAGE_TOKENS, new_model, new_processor, short_row_attention, tower_states
from runtime.model.demo.optimiser import PEAK_RATE, WARM_UP_STEPS, Optimiser, learning_rate
from runtime.model.demo.patch_labels import CLASSES, Names, PatchHead, pixels_of
from runtime.model.demo.picture_tasks import QUESTIONS
from runtime.model.demo.scenes import paint
from runtime.model.demo.scores import Score, answers
from runtime.model.demo.train import Plan, Training, finish_folder
from tests.runtime.model.demo.tiny import tokenizer


def test_attention_equals_sdpa() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 4, 17, 8), torch.randn(2, 2, 17, 8), torch.randn(2, 2, 17, 8)
    mask = torch.full((2, 1, 17, 17), -1e4).triu(1)
    for given in (None, mask):
        ours, _ = short_row_attention(torch.nn.Module(), query, key, value, given, scaling=8**-0.5)
        oracle = functional.scaled_dot_product_attention(query, key, value, attn_mask=given, enable_gqa=True)
        torch.testing.assert_close(ours, oracle.transpose(1, 2))


def test_the_rate_rises_stays_and_falls() -> None:
    assert 0 < learning_rate(0, 1.0) < PEAK_RATE / 10
    assert learning_rate(WARM_UP_STEPS, 1.0) == learning_rate(9999, 1.0) == PEAK_RATE
    assert learning_rate(9999, 0.5) == pytest.approx(PEAK_RATE / 2)
    assert learning_rate(9999, 0.0) == 0.0


def test_the_optimiser_takes_every_weight_once() -> None:
    model = new_model(tokenizer())
    optimiser = Optimiser([(model, 1.0)])
    held = [id(parameter) for parameter, _ in optimiser.pairs]
    assert len(held) == len(set(held)) == len(list(model.parameters()))
    in_parts = sum(len(group["params"]) for part in optimiser.parts for group in part.param_groups)
    assert in_parts == len(held)


def test_the_model_fits_the_package() -> None:
    assert sum(parameter.numel() for parameter in new_model(tokenizer()).parameters()) * 2 <= 16_000_000


def test_pixels_and_states_are_those_of_transformers() -> None:
    torch.manual_seed(0)
    model = new_model(tokenizer()).float()
    scenes = [stem.scene for stem in islice(stems("pixels"), 60) if stem.scene]
    processor = new_processor(tokenizer())
    given = processor(images=[paint(scene) for scene in scenes], text=["<|image|>"] * len(scenes), return_tensors="pt")
    torch.testing.assert_close(pixels_of(scenes), given["pixel_values"], atol=1e-5, rtol=0)
    assert (given["input_ids"] == model.config.image_token_id).sum() == IMAGE_TOKENS * len(scenes)
    with torch.inference_mode():
        rows = model.get_image_features(pixel_values=pixels_of(scenes)).pooler_output
        ours = model.model.multi_modal_projector(tower_states(model, pixels_of(scenes)))
    torch.testing.assert_close(torch.stack(list(rows)), ours)


def test_the_head_counts_what_it_guesses_right() -> None:
    head = PatchHead(8)
    labels = torch.zeros(1, GRID**2, len(CLASSES), dtype=torch.int64)
    labels[0, 3, 0] = 2
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
        head.bias[2] = 1.0
    _, right = head.loss(torch.randn(1, GRID**2, 8), labels)
    assert right[0] == 1.0


def test_a_patch_near_its_names_has_the_lower_loss() -> None:
    names = Names(tokenizer())
    kind = list(CLASSES).index("colour")
    names.tokens = {kind: [10, 11, 12]}
    words, labels = torch.eye(16), torch.zeros(1, GRID**2, len(CLASSES), dtype=torch.int64)
    labels[0, 5, kind] = 2  # the second word
    near, far = torch.zeros(2, 1, GRID**2, 16)
    near[0, 5, 11], far[0, 5, 10] = 1.0, 1.0
    losses = [names.loss(rows, labels, words) for rows in (near, far)]
    expected = functional.cross_entropy(torch.tensor([[0.0, 4.0, 0.0]]), torch.tensor([1]))
    torch.testing.assert_close(losses[0], expected, atol=1e-3, rtol=0)
    assert losses[0] < losses[1]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOOK_PICTURES": 8, "LOOK_BATCH": 8, "TOKENIZER_STEMS": 300, "CHECK_BATCHES": 1}.items():
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(training, "SAVE_SECONDS", 0.0)


@pytest.mark.slow
def test_a_stopped_training_goes_on_and_the_folder_is_whole(tmp_path: Path, short: None, capsys) -> None:
    out = tmp_path / "model"
    first = Training(Plan(out, 10.0, 5.0, 1))
    for _ in zip(range(2), first.steps(), strict=False):
        pass
    first.save()
    again = Training(Plan(out, 10.0, 5.0, 1), resume=True)
    assert "goes on from step 1" in capsys.readouterr().out
    assert (again.progress.pictures, again.progress.steps) == (8, 1)
    for (parameter, copy), (twin, _) in zip(first.optimiser.pairs, again.optimiser.pairs, strict=True):
        assert torch.equal(parameter, twin)
        assert torch.equal(copy.bfloat16(), twin.bfloat16())
    next(again.steps())
    assert again.progress.steps == 2

    model, processor = AutoModelForImageTextToText.from_pretrained(out), AutoProcessor.from_pretrained(out)
    assert processor.image_token == "<|image|>"
    (document,) = of_picture_task(QUESTIONS["counts"], "one", 1)
    assert document.scene
    inputs = processor(images=paint(document.scene), text=document.prompt, return_tensors="pt").to(model.dtype)
    output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    text = processor.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])
    assert answers(model, processor.tokenizer, [document])[0].startswith(text.split("<|end|>")[0])


def test_a_stream_is_read_to_its_last_document(tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STREAM_STEMS", 40)
    first = Training(Plan(tmp_path / "model", 10.0, 5.0, 1, None))
    first.progress.tokens = training.ALL_LENGTHS_FROM
    read = [document for step in first.stream() for batch in step for document in batch.documents]
    source = encode(first.tokenizer, list(islice(stems("1 step 0"), 40)))
    fitted = [document for each in source for document in each.fitted(WIDTHS[0]).stem.branches]
    assert sorted(map(repr, read)) == sorted(map(repr, fitted))


def test_a_longer_training_goes_on_from_before_the_rate_fell(tmp_path: Path, short: None) -> None:
    out = tmp_path / "model"
    first = Training(Plan(out, 1.0, 0.5, 1))
    first.progress = Progress(look_steps=1, pictures=8, steps=7, seconds=20.0)
    first.save()
    first.progress = Progress(look_steps=1, pictures=8, steps=9, seconds=40.0)
    first.save()
    same = Training(Plan(out, 1.0, 0.5, 1), resume=True)
    longer = Training(Plan(out, 3.0, 0.5, 1), resume=True)
    assert (same.progress.steps, longer.progress.steps) == (9, 7)


def test_the_card_states_scores_and_figures(tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "model"
    Training(Plan(out, 1.0, 0.5, 1)).save()
    monkeypatch.setattr(training, "measure", lambda *_: [Score("records", 3, 4)])
    plan = Plan(out, 1.0, 0.5, 1, start=Path("text"))
    finish_folder(plan, Progress(pictures=800, steps=12, seconds=60.0, tokens=3456, longest=99))
    card = (out / "README.md").read_text()
    assert "| records | 3 | 4 | 75.0% |" in card
    assert "12 steps over 3,456 tokens" in card
    assert "--start EARLIER" in card


def test_a_grown_model_answers_as_the_text_model_did(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer()),
        hidden_size=256,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    text = LlamaForCausalLM(config).eval()
    text.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    known = grown_tokenizer(tmp_path)
    assert sorted(known.get_vocab().values()) == list(range(len(known)))
    assert known.tokenize("<|image|>Hi")[0] == "<|image|>"
    assert known.tokenize(" circles diamond") == ["Ġcircles", "Ġdiamond"]
    text_of = "The circumference of a crossing, said an assistant."
    assert known.decode(known(text_of)["input_ids"]) == tokenizer().decode(tokenizer()(text_of)["input_ids"])
    model = new_model(known).float().eval()
    grow(model, known, tmp_path)
    words = model.get_input_embeddings().weight
    parts = tokenizer()(" diamonds", add_special_tokens=False)["input_ids"]
    torch.testing.assert_close(words[known.convert_tokens_to_ids("Ġdiamonds")], words[parts].mean(0))
    ids = torch.randint(8, 1000, (2, 20))
    with torch.inference_mode():
        ours = model(input_ids=ids).logits[..., : len(tokenizer())]
        torch.testing.assert_close(ours, text(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_a_model_grows_out_of_a_smaller_one_that_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(network, "TOWER_LAYERS", 2)
    small = new_model(tokenizer()).float().eval()
    small.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    monkeypatch.undo()
    known = grown_tokenizer(tmp_path)
    model = new_model(known).float().eval()
    grow(model, known, tmp_path)
    scenes = [stem.scene for stem in islice(stems("grown"), 20) if stem.scene]
    with torch.inference_mode():
        states = [tower_states(each, pixels_of(scenes)) for each in (small, model)]
        ids = torch.randint(8, 1000, (2, 20))
        logits = model(input_ids=ids).logits[..., : len(tokenizer())]
        torch.testing.assert_close(logits, small(input_ids=ids).logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(*states, atol=1e-4, rtol=1e-4)


def test_a_bfloat16_model_turns_tokens_as_the_loaded_one_does(tmp_path: Path) -> None:
    model = new_model(tokenizer())
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32)
    frequencies = [each.model.language_model.rotary_emb.inv_freq for each in (model, loaded)]
    assert torch.equal(*frequencies)
