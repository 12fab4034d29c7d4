"""One step of learning: the loss of a batch's answers and of what the tower says of each patch.

Comes in: a model, the patch head and batches. Goes out: gradients, losses, and which answers were right.
"""

from __future__ import annotations

from collections import Counter

import torch
from torch.nn import functional
from transformers import LlavaForConditionalGeneration

from runtime.model.demo.batches import Batch
from runtime.model.demo.network import tower_states
from runtime.model.demo.patch_labels import Names, PatchHead, labels_of, pixels_of
from runtime.model.demo.scenes import Scene

PATCH_SHARE, NAME_SHARE = 0.3, 0.2  # weights of the patch labels and names beside the answers


def look_step(model: LlavaForConditionalGeneration, head: PatchHead, scenes: list[Scene]) -> torch.Tensor:
    """Adds the gradients of the patch labels of `scenes`; returns the share of right labels of each kind."""
    pixels, labels = pixels_of(scenes).to(model.device, model.dtype), labels_of(scenes).to(model.device)
    loss, right = head.loss(tower_states(model, pixels), labels)
    loss.backward()
    return right


def answer_step(model: LlavaForConditionalGeneration, head: PatchHead, names: Names, batches: list[Batch]) -> float:
    """Adds the gradients of one step; returns the mean loss of an answer token, in nats. Prompts are not learned."""
    total = sum(int(batch.is_answer.sum()) for batch in batches)
    loss_sum = 0.0
    for batch in batches:
        logits, wanted, seen = _answer_logits(model, batch)
        loss = functional.cross_entropy(logits, wanted, reduction="sum")
        whole = loss / total
        if seen is not None:
            labels = labels_of(batch.scenes).to(model.device)
            patches, _ = head.loss(seen[0], labels)
            named = names.loss(seen[1], labels, model.lm_head.weight)
            whole = whole + (PATCH_SHARE * patches + NAME_SHARE * named) / len(batches)
        whole.backward()
        loss_sum += loss.item()
    return loss_sum / total


@torch.inference_mode()
def right_answers(model: LlavaForConditionalGeneration, batches: list[Batch]) -> tuple[Counter[str], Counter[str]]:
    """How many documents of each task the model would answer exactly, and how many there are."""
    right, count = Counter[str](), Counter[str]()
    for batch in batches:
        logits, wanted, _ = _answer_logits(model, batch)
        wrong = (logits.argmax(-1) != wanted).cpu()
        missed = set(batch.branch[:, 1:][batch.is_answer[:, 1:]][wrong].tolist())
        for number, document in enumerate(batch.documents, start=1):
            count[document.task] += 1
            right[document.task] += number not in missed
    return right, count


def _answer_logits(
    model: LlavaForConditionalGeneration, batch: Batch
) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """Logits float32 [N, vocabulary] before each answer token, the N tokens; if it looked, the tower's states and

    what the projector made of them.
    """
    on_device = batch.to(model.device)
    language, seen = model.model.language_model, None
    is_image = on_device.ids == model.config.image_token_id
    embedded = model.get_input_embeddings()(on_device.ids.masked_fill(is_image, 0))
    if batch.scenes:
        states = tower_states(model, pixels_of(batch.scenes).to(model.device, model.dtype))
        rows = model.model.multi_modal_projector(states)
        seen = states, rows
        embedded = embedded.masked_scatter(is_image[..., None], rows.to(embedded.dtype))
    run = language if torch.is_grad_enabled() else language.forward  # the second is never the compiled one
    hidden = run(
        inputs_embeds=embedded,
        attention_mask=on_device.mask(embedded.dtype),
        position_ids=on_device.positions,
        use_cache=False,
    ).last_hidden_state
    is_next = on_device.is_answer[:, 1:]
    logits = model.lm_head(hidden[:, :-1][is_next]).float()
    return logits, on_device.ids[:, 1:][is_next], seen
