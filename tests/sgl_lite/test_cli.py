"""The command line: grammars without a model, answers from the default backend."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

import sgl_lite as sgl
from sgl_lite import cli
from tests.sgl_lite.fake_backend import FakeBackend

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def call(*arguments: str) -> int:
    """The exit status of the command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    code = ended.value.code
    return code if isinstance(code, int) else 0


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("version") == 0
    assert capsys.readouterr().out == f"sgl-lite {sgl.__version__}\n"


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_valid(capsys: pytest.CaptureFixture[str], seed: int) -> None:
    assert call("grammar", "sample", json.dumps(SCHEMA), "--seed", str(seed)) == 0
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)


def test_a_report_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "person.json").write_text(json.dumps(SCHEMA))
    assert call("grammar", "check", str(tmp_path / "person.json")) == 0
    shown = capsys.readouterr().out
    assert "every keyword is enforced" in shown and "minLength" in shown and "/properties/age" in shown


def test_a_schema_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("grammar", "check", '{"type": "strin"}') == 1
    assert "ConstraintSyntaxError" in capsys.readouterr().err


def test_other_constraints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sum.lark").write_text('start: NUMBER ("+" NUMBER)*\nNUMBER: /[1-9][0-9]?/')
    (tmp_path / "yes.ebnf").write_text('root ::= "yes" | "no"')
    for given, pattern in (
        (["--regex", "[a-c]{3}"], "[a-c]{3}"),
        (["--choice", "red", "--choice", "blue"], "red|blue"),
        (["--grammar", str(tmp_path / "sum.lark")], r"[1-9][0-9]?(\+[1-9][0-9]?)*"),
        (["--grammar", str(tmp_path / "yes.ebnf")], "yes|no"),
    ):
        assert call("grammar", "check", *given) == 0
        assert "it is enforced; the shortest text takes" in capsys.readouterr().out
        assert call("grammar", "sample", *given) == 0
        assert re.fullmatch(pattern, capsys.readouterr().out.rstrip("\n"))
        assert call("grammar", "show", *given) == 0
        assert "goes to" in capsys.readouterr().out
    assert call("grammar", "check", "--regex", "(") == 1
    assert call("grammar", "check", "--regex", "a", "--choice", "b") == 2
    assert call("grammar", "sample", "--grammar", str(tmp_path / "none.lark")) == 2


def test_no_such_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("grammar", "check", "nowhere.json") == 2
    assert "neither a file nor JSON text" in capsys.readouterr().err


def test_generate(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    backend.answer = lambda request: '{"name": "Ada", "age": 36}'
    assert call("generate", "Ada:", "--schema", json.dumps(SCHEMA), "--max-tokens", "60") == 0
    assert json.loads(capsys.readouterr().out) == {"name": "Ada", "age": 36}
    assert call("generate", "Ada:", "--choice", "yes", "--choice", "no") == 0
    assert capsys.readouterr().out.strip() in ("yes", "no")


def test_errors_are_one_line(backend: FakeBackend, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("generate", "Ada:", "--schema", json.dumps(SCHEMA), "--max-tokens", "3") == 1
    assert capsys.readouterr().err.startswith("BudgetError: max_tokens=3")
