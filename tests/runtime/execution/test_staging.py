"""Arrays on their way to the device."""

from __future__ import annotations

import numpy as np
import torch

from runtime.execution.staging import Mailbox, send

CPU = torch.device("cpu")


def test_arrays_arrive_as_they_are() -> None:
    arrays = {
        "ids": np.array([5, 6, 7], np.int64),
        "items": np.arange(6, dtype=np.int32).reshape(2, 3),
        "none": np.empty(0, np.int32),
        "scales": np.array([0.5, 2.0], np.float32),
        "uniform": np.array([0.1]),
    }
    sent = send(arrays, CPU)
    first = sent["ids"].data_ptr()
    for name, array in arrays.items():
        np.testing.assert_array_equal(sent[name].numpy(), array)
        assert sent[name].numpy().dtype == array.dtype and (sent[name].data_ptr() - first) % 16 == 0
    arrays["ids"][0] = 0
    assert sent["ids"][0] == 5
    assert send({}, CPU) == {}


def test_a_mailbox_keeps_its_places() -> None:
    capacities = {"a": ((4,), np.int32), "b": ((2, 8), np.int32), "pages": ((1000,), np.int32)}
    memory = torch.zeros(Mailbox.size_of(capacities), dtype=torch.uint8)
    mailbox = Mailbox(capacities, memory)
    places = {name: tensor.data_ptr() for name, tensor in mailbox.tensors.items()}
    full = {"a": np.ones(4, np.int32), "b": np.ones((2, 8), np.int32), "pages": np.arange(1000, dtype=np.int32)}
    mailbox.put(full)
    mailbox.put({"a": np.array([3], np.int32), "b": np.zeros((0, 8), np.int32), "pages": np.array([7, 8], np.int32)})
    assert mailbox.tensors["a"].tolist() == [3, 0, 0, 0] and not mailbox.tensors["b"].any()
    assert mailbox.tensors["pages"][:3].tolist() == [7, 8, 2]  # the rest was not sent
    assert {name: tensor.data_ptr() for name, tensor in mailbox.tensors.items()} == places
    assert mailbox.holds(full)
    assert not mailbox.holds({**full, "a": np.ones(5, np.int32)})


def test_mailboxes_that_share_their_place() -> None:
    large, small = (
        {"a": ((6,), np.int32), "pages": ((50,), np.int32)},
        {"a": ((2,), np.int32), "pages": ((9,), np.int32)},
    )
    memory = torch.zeros(Mailbox.size_of(large), dtype=torch.uint8)
    assert Mailbox.size_of(small) < len(memory)
    for capacities in (large, small, large):
        mailbox = Mailbox(capacities, memory)
        mailbox.put({"a": np.array([1], np.int32), "pages": np.array([8, 9], np.int32)})
        filled = capacities["a"][0][0] - 1
        assert mailbox.tensors["a"].tolist() == [1, *[0] * filled] and mailbox.tensors["pages"][:2].tolist() == [8, 9]
