"""Whether this engine is right on JSONSchemaBench (MaskBench files): what it refuses, and each verdict on an instance.

    python -m benchmarks.schemas --data jsonschemabench-open.jsonl.gz

Each line of the data: {"file": ..., "schema": ..., "tests": [{"data": ..., "valid": ...}, ...], ...}.
Instances are written as `json.dumps` writes them and go through the masks byte by byte. A label that `jsonschema` does
not share is left out; one that it cannot judge counts. Refused schemas and wrong verdicts are listed in the result
file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

import grammars
from benchmarks.machine import at_most

SECONDS = 10
"""Wall clock of a compile, and of all instances of one schema"""
EOS = 256
VOCABULARY = grammars.Vocabulary([*(bytes((byte,)) for byte in range(256)), b""], [EOS])


@dataclass
class Findings:
    """What was seen. The lists are (file, what)."""

    schemas: int = 0
    right: int = 0
    valid: int = 0
    invalid: int = 0
    labels_not_shared: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    crashed: list[tuple[str, str]] = field(default_factory=list)
    timed_out: list[tuple[str, str]] = field(default_factory=list)
    valid_refused: list[tuple[str, str]] = field(default_factory=list)
    invalid_accepted: list[tuple[str, str]] = field(default_factory=list)
    slowest_compile: tuple[float, str] = (0.0, "")
    slowest_mask: tuple[float, str] = (0.0, "")

    def lines(self) -> Iterator[str]:
        """The table, for people."""
        yield f"{'schemas':26}{self.schemas:8}"
        yield f"{'right on every instance':26}{_share(self.right, self.schemas)}"
        for name in ("refused", "crashed", "timed_out"):
            yield f"{name.replace('_', ' '):26}{_share(len(getattr(self, name)), self.schemas)}"
        yield f"{'valid refused':26}{_share(len(self.valid_refused), self.valid)} of {self.valid}"
        yield f"{'invalid accepted':26}{_share(len(self.invalid_accepted), self.invalid)} of {self.invalid}"
        yield f"{'labels not shared':26}{self.labels_not_shared:8}"
        for name in ("slowest_compile", "slowest_mask"):
            seconds, file = getattr(self, name)
            yield f"{name.replace('_', ' '):26}{seconds:8.2f} s  {file}"
        yield f"{'peak memory':26}{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:8,.0f} MB"


def _share(count: int, whole: int) -> str:
    return f"{count:8} {100 * count / max(1, whole):7.2f} %"


class Labels:
    """Whether `jsonschema` shares the label of an instance, under the draft that the schema declares."""

    def __init__(self, schema: Any) -> None:
        kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        self._validator = kind(schema, format_checker=kind.FORMAT_CHECKER)

    def shared(self, value: Any, valid: bool) -> bool:
        """True also where it cannot tell, such as for a reference to a document that is not there."""
        try:
            return bool(self._validator.is_valid(value)) == valid
        except Exception:  # whatever it is that it cannot judge
            return True


def verdict(grammar: grammars.CompiledGrammar, text: bytes, found: Findings, file: str) -> int | None:
    """None if the masks allow the text to its end; else the byte that they do not."""
    matcher, row = grammar.matcher(), np.zeros(VOCABULARY.mask_width, dtype=np.int32)
    for offset, token in enumerate([*text, EOS]):
        start = time.perf_counter()
        matcher.fill_mask(row)
        found.slowest_mask = max(found.slowest_mask, (time.perf_counter() - start, file))
        if not row[token >> 5] >> (token & 31) & 1:
            return offset
        if not matcher.advance(token):
            raise AssertionError(f"byte {offset} of {text!r} is in the mask, and is not taken")
    return None


def look_at(entry: dict[str, Any], order: grammars.spec.PropertyOrder, found: Findings) -> None:
    """One schema with all its instances."""
    file, schema = entry["file"], entry["schema"]
    found.schemas += 1
    start, wrong = time.perf_counter(), len(found.valid_refused) + len(found.invalid_accepted)
    try:
        with at_most(SECONDS):
            grammar = grammars.compile(grammars.JsonSchema(schema, property_order=order), VOCABULARY)
        found.slowest_compile = max(found.slowest_compile, (time.perf_counter() - start, file))
        with at_most(SECONDS):
            _look_at_instances(entry, grammar, found)
    except TimeoutError as error:
        found.timed_out.append((file, str(error)))
    except grammars.GrammarError as error:
        kind = found.timed_out if "s to compile" in str(error) else found.refused
        kind.append((file, f"{type(error).__name__}: {error}"))
    except Exception as error:
        found.crashed.append((file, repr(error)))
    else:
        found.right += wrong == len(found.valid_refused) + len(found.invalid_accepted)


def _look_at_instances(entry: dict[str, Any], grammar: grammars.CompiledGrammar, found: Findings) -> None:
    labels = Labels(entry["schema"])
    for test in entry["tests"]:
        try:
            text = json.dumps(test["data"], ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half of a surrogate pair is in no UTF-8 text
            continue
        offset = verdict(grammar, text, found, entry["file"])
        if (offset is None) != test["valid"] and not labels.shared(test["data"], test["valid"]):
            found.labels_not_shared += 1
            continue
        if test["valid"]:
            found.valid += 1
            if offset is not None:
                around = text[max(0, offset - 100) : offset + 30].decode(errors="replace")
                found.valid_refused.append((entry["file"], f"byte {offset}: {around}"))
        else:
            found.invalid += 1
            if offset is None:
                found.invalid_accepted.append((entry["file"], str(test.get("description"))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON lines, .gz or not; without it nothing is looked at")
    parser.add_argument("--schemas", type=int, default=0, help="how many, from the beginning; 0: all")
    parser.add_argument("--only", default="", help="only files whose name has this in it")
    parser.add_argument("--property-order", choices=("any", "schema"), default="any")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "schemas.json")
    arguments = parser.parse_args()
    if arguments.data is None:
        print("schemas: give --data (JSONSchemaBench in MaskBench's form); nothing was looked at")
        return 0
    warnings.simplefilter("ignore")  # what jsonschema thinks of its own formats
    with (gzip.open if arguments.data.suffix == ".gz" else open)(arguments.data, "rt") as lines:
        entries = [json.loads(line) for line in lines]
    entries = [entry for entry in entries if arguments.only in entry["file"]][: arguments.schemas or None]
    found, start = Findings(), time.perf_counter()
    for index, entry in enumerate(entries):
        look_at(entry, arguments.property_order, found)
        if (index + 1) % 200 == 0:
            print(f"{index + 1} of {len(entries)}, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    print("\n".join(found.lines()))
    for error, count in Counter(what.split(":")[0] for _, what in found.refused).most_common():
        print(f"    {count:5} {error}")
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(asdict(found), indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
