"""Random schemas: every walk ends valid under `jsonschema`, at every budget; every instance is accepted."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import grammars
from tests.grammars.schemas import documents, small_vocabulary
from tests.grammars.walks import random_walk

VOCABULARY = small_vocabulary()
UNHURRIED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def check_walks(schema: Any, rng: random.Random, walks: int) -> None:
    grammar = grammars.compile(grammars.JsonSchema(schema), VOCABULARY)
    validator = jsonschema.Draft202012Validator(schema)
    least = grammar.min_tokens()
    for _ in range(walks):
        budget = least + rng.choice([0, 0, 1, 2, 5, 20, 60])
        text = random_walk(grammar, rng, budget)
        validator.validate(json.loads(text))


def check_instance(schema: Any, instance: Any) -> None:
    grammar = grammars.compile(grammars.JsonSchema(schema, property_order="any"), VOCABULARY)
    for text in (json.dumps(instance), json.dumps(instance, ensure_ascii=False, indent=2)):
        matcher = grammar.matcher(prefix=text)
        assert matcher.is_accepting(), text


Document = tuple[Any, st.SearchStrategy[Any]]


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=UNHURRIED)
@given(documents(), st.randoms(use_true_random=False))
def test_walks_end_valid(document: Document, rng: random.Random) -> None:
    check_walks(document[0], rng, walks=4)


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=UNHURRIED)
@given(documents(), st.data())
def test_instances_are_accepted(document: Document, data: st.DataObject) -> None:
    check_instance(document[0], data.draw(document[1]))


@pytest.mark.slow
@settings(max_examples=500, derandomize=True, deadline=None, suppress_health_check=UNHURRIED)
@given(documents(), st.randoms(use_true_random=False), st.data())
def test_500_schemas(document: Document, rng: random.Random, data: st.DataObject) -> None:
    schema, instances = document
    check_walks(schema, rng, walks=8)
    check_instance(schema, data.draw(instances))
