"""What can be loaded, what it says of itself, and what is refused in which words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from runtime.config import EngineConfig
from runtime.errors import ModelLoadError, UnsupportedModelError
from runtime.model.loader import load
from tests.runtime.model.families import CONTEXT_LENGTH, EOS, VOCAB_SIZE, random_model, tiny_config, tiny_model


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_model("llama", tmp_path_factory.mktemp("models"))


def test_what_a_loaded_model_says_of_itself(model_path: str) -> None:
    model = load(EngineConfig(model_path=model_path))
    assert model.name == model_path
    assert model.context_length == CONTEXT_LENGTH
    assert model.vocab_size == VOCAB_SIZE
    assert model.eos_token_ids == {EOS}
    assert model.dtype == torch.float32
    assert len(model.layers) == 4
    assert model.tokenizer.decode(model.tokenizer("Aé b")["input_ids"]) == "Aé b"
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_the_vocabulary_is_as_wide_as_the_logits(model_path: str) -> None:
    model = load(EngineConfig(model_path=model_path))
    assert len(model.vocabulary()) == VOCAB_SIZE


def test_dtype_and_context_length_as_told(model_path: str) -> None:
    model = load(EngineConfig(model_path=model_path, dtype="bfloat16", context_length=100))
    assert model.dtype == torch.bfloat16
    assert model.context_length == 100


def test_the_generation_config_is_honoured(model_path: str, tmp_path: Path) -> None:
    module = random_model(tiny_config("llama"))
    module.generation_config.eos_token_id = [EOS, 7]
    module.generation_config.do_sample = True
    module.generation_config.temperature = 0.6
    module.generation_config.top_p = 0.95
    module.save_pretrained(tmp_path)
    model = load(EngineConfig(model_path=str(tmp_path), tokenizer_path=model_path))
    assert model.eos_token_ids == {EOS, 7}
    assert dict(model.default_sampling) == {"temperature": 0.6, "top_p": 0.95}


def test_sharded_checkpoints(model_path: str, tmp_path: Path) -> None:
    whole = load(EngineConfig(model_path=model_path))
    random_model(tiny_config("llama")).save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    sharded = load(EngineConfig(model_path=str(tmp_path), tokenizer_path=model_path))
    for a, b in zip(whole.module.parameters(), sharded.module.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("path", ["/no/such/model", "./no-such-model", "a/b/c"])
def test_an_unknown_folder(path: str) -> None:
    with pytest.raises(ModelLoadError, match=r"no such folder. Give a folder with config.json, or a hub id"):
        load(EngineConfig(model_path=path))


def test_an_unknown_hub_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match=r"'nobody/nothing-here'.*Check the name, the network"):
        load(EngineConfig(model_path="nobody/nothing-here"))


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"folder without config.json"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_folder_without_weights(tmp_path: Path) -> None:
    tiny_config("llama").save_pretrained(tmp_path)
    with pytest.raises(ModelLoadError, match="weights"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    random_model(tiny_config("llama")).save_pretrained(tmp_path)
    with pytest.raises((ModelLoadError, UnsupportedModelError), match="tokenizer"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_model_with_code_of_its_own(tmp_path: Path) -> None:
    config = {"model_type": "homemade", "auto_map": {"AutoConfig": "code.C", "AutoModelForCausalLM": "code.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match="trust_remote_code=True"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_model_type_that_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "homemade"}))
    with pytest.raises(UnsupportedModelError, match="homemade"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_recurrent_model_is_refused_before_its_weights_are_read(tmp_path: Path) -> None:
    tiny_config("jamba").save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="0 attention calls"):
        load(EngineConfig(model_path=str(tmp_path)))


def test_a_context_longer_than_the_model_was_made_for(model_path: str) -> None:
    with pytest.raises(ModelLoadError, match=f"at most {CONTEXT_LENGTH} tokens"):
        load(EngineConfig(model_path=model_path, context_length=CONTEXT_LENGTH + 1))


def test_a_device_that_is_not_there(model_path: str) -> None:
    with pytest.raises(ModelLoadError, match="device='abacus'"):
        load(EngineConfig(model_path=model_path, device="abacus"))
