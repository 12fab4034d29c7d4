"""Batches against `transformers`: a branch in a row has the logits that it has alone, after its own picture."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from transformers import LlavaForConditionalGeneration

from runtime.model.demo.batches import BATCH_TOKENS, WIDTHS, Batch, batches, encode
from runtime.model.demo.data import stems
from runtime.model.demo.document import Document, Stem
from runtime.model.demo.learning import answer_step, right_answers
from runtime.model.demo.network import new_model
from runtime.model.demo.optimiser import Optimiser
from runtime.model.demo.patch_labels import Names, PatchHead, pixels_of
from tests.runtime.model.demo.tiny import tokenizer


@pytest.fixture(scope="module")
def model() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    return new_model(tokenizer()).float().eval()


def drawn(seed: str, count: int, longest: int = WIDTHS[-1]) -> list[Batch]:
    return list(batches(tokenizer(), islice(stems(seed), count), longest))


def test_every_document_is_in_one_batch_and_learns_its_answer() -> None:
    source = list(islice(stems("all"), 150))
    made = list(batches(tokenizer(), source))
    fitted = [each.fitted(WIDTHS[0]).stem for each in encode(tokenizer(), source)]
    expected = sorted(f"{each.prompt} -> {each.answer}" for stem in fitted for each in stem.branches)
    assert sorted(f"{each.prompt} -> {each.answer}" for batch in made for each in batch.documents) == expected
    for batch in made:
        assert batch.ids.numel() <= BATCH_TOKENS
        for number, document in enumerate(batch.documents, start=1):
            learned = batch.ids[(batch.branch == number) & batch.is_answer].tolist()
            assert tokenizer().decode(learned) == document.answer + tokenizer().eos_token
        assert not batch.is_answer[batch.stem < 0].any()


def test_a_stem_asks_as_much_as_fits_a_row() -> None:
    source = list(islice(stems("fitted"), 60))
    for stem in encode(tokenizer(), source):
        fitted = stem.fitted(WIDTHS[0])
        kept = len(fitted.branches)
        assert fitted.branches == stem.branches[:kept]
        assert fitted.stem.branches == stem.stem.branches[:kept]
        assert kept == 1 or fitted.length <= WIDTHS[0]
        if kept < len(stem.branches):
            assert fitted.length + len(stem.branches[kept][0]) > WIDTHS[0]


def test_the_same_stems_give_the_same_batches() -> None:
    for one, other in zip(drawn("same", 60), drawn("same", 60), strict=True):
        assert torch.equal(one.ids, other.ids)
        assert torch.equal(one.mask(torch.float32), other.mask(torch.float32))


def test_long_documents_are_left_out() -> None:
    for batch in drawn("short", 150, longest=80):
        assert int(batch.positions.max()) < 80


def test_a_branch_has_the_logits_that_it_has_alone(model: LlavaForConditionalGeneration) -> None:
    many = [stem for stem in islice(stems("alone"), 80) if len(stem.branches) > 1 and len(stem.prompt) < 200]
    source = [stem for stem in many if stem.scene][:2] + [stem for stem in many if not stem.scene][:2]
    for batch in batches(tokenizer(), source):
        is_image = batch.ids == model.config.image_token_id
        with torch.inference_mode():
            embedded = model.get_input_embeddings()(batch.ids)
            if batch.scenes:
                rows = model.get_image_features(pixel_values=pixels_of(batch.scenes)).pooler_output
                embedded[is_image] = torch.cat(list(rows))
            packed = model.model.language_model(
                inputs_embeds=embedded, attention_mask=batch.mask(torch.float32), position_ids=batch.positions
            ).last_hidden_state
        branches = [(stem, index) for stem in encode(tokenizer(), source) for index in range(len(stem.branches))]
        for stem, branch in branches[::3]:
            document = stem.stem.branches[branch]
            numbers = [index for index, each in enumerate(batch.documents, 1) if each is document]
            if not numbers:  # it is in a batch of other widths
                continue
            (number,) = numbers
            ids = torch.tensor([stem.prompt + stem.branches[branch][0]])
            pixels = {"pixel_values": pixels_of([stem.stem.scene])} if stem.stem.scene else {}
            with torch.inference_mode():
                alone = model.model(input_ids=ids, **pixels).last_hidden_state[0, len(stem.prompt) :]
            torch.testing.assert_close(packed[batch.branch == number], alone, atol=2e-4, rtol=1e-3)


@pytest.mark.slow
def test_steps_lower_the_loss_until_the_answers_are_right() -> None:
    torch.manual_seed(0)
    model = new_model(tokenizer())
    head = PatchHead(192)
    optimiser = Optimiser([(model, 1.0), (head, 1.0)])
    stem = Stem("", tuple(Document("sums", f"1 + {number} =", f" {number + 1}") for number in range(3)))
    step = list(batches(tokenizer(), [stem]))
    losses = []
    for _ in range(12):
        losses.append(answer_step(model, head, Names(tokenizer()), step))
        optimiser.step(3e-3)
    assert losses[-1] < losses[0] / 4
    right, count = right_answers(model, step)
    assert count["sums"] == 3
    assert right["sums"] >= 2
