"""The shipped model: its files, its size, and that its greedy answers make sense."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoProcessor, LlavaForConditionalGeneration

from runtime.model.demo import PATH
from runtime.model.demo.document import Document
from runtime.model.demo.scores import answers, measure

PROCESSOR = AutoProcessor.from_pretrained(PATH)
TOKENIZER = PROCESSOR.tokenizer


@pytest.fixture(scope="module")
def model() -> LlavaForConditionalGeneration:
    return LlavaForConditionalGeneration.from_pretrained(PATH, dtype=torch.float32)


def test_all_files_are_there_and_small() -> None:
    files = {file.name: file.stat().st_size for file in PATH.iterdir()}
    assert set(files) >= {
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert files["model.safetensors"] <= 16_000_000
    assert sum(files.values()) < 20_000_000


def test_it_is_a_llava_in_bfloat16_with_tied_embeddings(model: LlavaForConditionalGeneration) -> None:
    config = json.loads((PATH / "config.json").read_text())
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
    assert config["dtype"] == "bfloat16"
    assert config["vision_config"]["model_type"] == "siglip_vision_model"
    assert config["text_config"]["num_key_value_heads"] < config["text_config"]["num_attention_heads"]
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert config["text_config"]["vocab_size"] == len(TOKENIZER)
    generation = json.loads((PATH / "generation_config.json").read_text())
    assert generation["eos_token_id"] == TOKENIZER.eos_token_id


def test_the_path_is_known_without_torch() -> None:
    code = "import sys, runtime.model.demo; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "Extract the person from: Ada Lovelace is a 36 year old mathematician from London.\nJSON:",
            {"name": "Ada Lovelace", "age": 36, "job": "mathematician", "city": "London"},
        ),
        (
            "Text: Bob Smith, 44, is a baker from Paris. Call 555-1234.\nKeys: phone, name, age\nJSON:",
            {"phone": "555-1234", "name": "Bob Smith", "age": 44},
        ),
    ],
)
def test_it_extracts_records(model: LlavaForConditionalGeneration, prompt: str, expected: dict[str, object]) -> None:
    (answer,) = answers(model, TOKENIZER, [Document("", prompt, "")])
    assert json.loads(answer) == expected


def test_it_answers_questions_and_sorts_reviews(model: LlavaForConditionalGeneration) -> None:
    asked = {
        "Review: The film was great. I love it.\nSentiment:": "positive",
        "Review: The soup is awful. Never again.\nSentiment:": "negative",
        "Question: What is 7 + 5?\nAnswer:": "12",
        "Question: What is the capital of France?\nAnswer:": "Paris",
        "Text: Zed Miller, 52, is a pilot from Rome.\nQuestion: How old is Zed Miller?\nAnswer:": "52",
        "Text: Zed Miller, 52, is a pilot from Rome.\nQuestion: Where does Zed Miller live?\nAnswer:": "Rome",
    }
    given = answers(model, TOKENIZER, [Document("", prompt, "") for prompt in asked])
    right = [answer.strip() == expected for answer, expected in zip(given, asked.values(), strict=True)]
    assert sum(right) >= 4, given


def test_it_makes_up_profiles_of_whom_the_prompt_names(model: LlavaForConditionalGeneration) -> None:
    names = ["Ada", "Alan", "Mia", "Tom Hill"]
    given = answers(model, TOKENIZER, [Document("", f"Generate profile for {name}:", "") for name in names])
    named = [json.loads(answer)["name"] for answer in given]
    assert sum(map(str.__eq__, named, names)) >= 3, named


def test_it_chats(model: LlavaForConditionalGeneration) -> None:
    messages = [
        {"role": "user", "content": "My name is Zed and I live in Rome."},
        {"role": "assistant", "content": "Nice to meet you, Zed!"},
        {"role": "user", "content": "What is my name?"},
    ]
    prompt = TOKENIZER.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    (answer,) = answers(model, TOKENIZER, [Document("", prompt.removeprefix(TOKENIZER.bos_token), "")])
    assert answer.rstrip(".!") == "Your name is Zed"


@pytest.mark.slow
def test_the_card_states_the_scores(model: LlavaForConditionalGeneration) -> None:
    card = (PATH / "README.md").read_text()
    for score in measure(model, TOKENIZER, count=40):
        (row,) = (line for line in card.splitlines() if line.startswith(f"| {score.task} |"))
        stated = float(row.split("|")[4].strip(" %")) / 100
        assert abs(score.right / score.count - stated) < 0.15, row
