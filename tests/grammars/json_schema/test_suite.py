"""The public test suites, byte by byte: JSON-Schema-Test-Suite for every draft, JSONTestSuite for plain JSON."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from grammars.errors import GrammarError, UnsatisfiableConstraintError
from grammars.json_schema import compile_json
from tests.grammars.json_schema.runner import Runner

ANNOTATED = "format"
"""The file whose cases want `format` to be an annotation; here it is enforced unless `formats=False`."""
DRAFTS = ("draft2020-12", "draft2019-09", "draft7", "draft6", "draft4")


def suite(folder: Path, draft: str) -> list[tuple[str, dict[str, Any]]]:
    """(keyword file, group of cases)."""
    paths = sorted((folder / "tests" / draft).glob("*.json"))
    return [(path.stem, group) for path in paths for group in json.loads(path.read_text())]


def remotes(folder: Path) -> dict[str, Any]:
    base = folder / "remotes"
    return {
        f"http://localhost:1234/{path.relative_to(base).as_posix()}": json.loads(path.read_text())
        for path in base.rglob("*.json")
    }


def outcome(runner: Runner, text: bytes, valid: bool) -> str:
    accepted = runner.accepts(text)
    return "right" if accepted == valid else "wrongly accepted" if accepted else "wrongly refused"


@pytest.mark.parametrize("draft", DRAFTS)
def test_json_schema_test_suite(public_data: Path, draft: str) -> None:
    folder = public_data / "JSON-Schema-Test-Suite"
    options = {"draft": draft.replace("draft2", "2"), "resources": remotes(folder), "property_order": "any"}
    found: Counter[str] = Counter()
    wrong: list[tuple[str, ...]] = []
    for keyword, group in suite(folder, draft):
        cases = [(case["description"], case["valid"], _text(case["data"])) for case in group["tests"]]
        try:
            runner = Runner.of(group["schema"], formats=keyword != ANNOTATED, **options)
        except UnsatisfiableConstraintError:
            runner = None
        except GrammarError as error:
            if any(valid for _, valid, _ in cases):
                wrong.append((keyword, group["description"], str(error)))
            continue
        for description, valid, text in cases:
            if text is None:
                continue
            result = outcome(runner, text, valid) if runner else "wrongly refused" if valid else "right"
            found[result] += 1
            if result != "right":
                wrong.append((result, keyword, group["description"], description))
    assert not wrong
    assert found["right"] > 500


def _text(value: Any) -> bytes | None:
    """As models write it; None for lone surrogates, which no UTF-8 text has."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None


@pytest.mark.parametrize("whitespace", ["model", "any"])
def test_walks_over_the_suite_are_valid(public_data: Path, whitespace: str) -> None:
    folder = public_data / "JSON-Schema-Test-Suite"
    resources = remotes(folder)
    registry: Registry[Any] = Registry().with_resources(
        (uri, Resource.from_contents(schema, default_specification=DRAFT202012)) for uri, schema in resources.items()
    )
    rng = random.Random(5)
    groups = [entry for entry in suite(folder, "draft2020-12") if entry[0] != ANNOTATED]
    for keyword, group in groups[:: 3 if whitespace == "model" else 8]:
        schema = group["schema"]
        try:
            runner = Runner.of(schema, resources=resources, property_order="any", whitespace=whitespace)
        except GrammarError:
            continue
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        validator = kind(schema, registry=registry, format_checker=kind.FORMAT_CHECKER)
        for _ in range(2):
            text = runner.random_text(rng, rng.choice([3, 12, 40]), rng.choice([1, 4]))
            value = json.loads(text, object_pairs_hook=_distinct)
            assert validator.is_valid(value), (keyword, group["description"], text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    assert len(found) == len(pairs), f"a name is written twice: {pairs}"
    return found


def test_shortest_completions_over_the_suite(public_data: Path) -> None:
    rng = random.Random(11)
    groups = [entry for entry in suite(public_data / "JSON-Schema-Test-Suite", "draft2020-12") if entry[0] != ANNOTATED]
    for number, (_, group) in enumerate(groups[::7]):
        try:
            runner = Runner.of(group["schema"], property_order="any" if number % 2 else "schema")
        except GrammarError:
            continue
        state = runner.automaton.start
        for _ in range(12):
            runner.check_shortest(state)
            options = runner.successors(state)
            if not options:
                break
            state = runner.advance(state, bytes((rng.choice(options)[0],)))


def test_json_test_suite(public_data: Path) -> None:
    runner = Runner(compile_json())
    paths = sorted((public_data / "JSONTestSuite").glob("[yn]_*.json"))
    assert paths
    assert not [path.name for path in paths if runner.accepts(path.read_bytes()) != path.name.startswith("y_")]
