"""Token masks of this engine beside XGrammar's and llguidance's on JSONSchemaBench (MaskBench files).

    python -m benchmarks.masks --data jsonschemabench-open.jsonl.gz --schemas 300

Each line of the data: {"schema": ..., "tests": [{"data": ..., "valid": ...}, ...], ...}.
For every schema and engine: the time to the first mask, the time of each mask and advance along the valid instances,
written as `json.dumps` writes them, and whether the verdict on each instance is right. Times are CPU time of one core.
Python's collector runs between the schemas, in nobody's time: it would go through the data of the benchmark.
Peers that are not installed are left out (`pip install -e ".[bench]"`).
"""

from __future__ import annotations

import argparse
import gc
import gzip
import json
import os
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Row = NDArray[np.int32]


class Cursor(Protocol):
    """One text of one grammar."""

    def fill(self, row: Row) -> None: ...
    def accept(self, token: int) -> bool: ...
    def is_accepting(self) -> bool: ...


Engine = Callable[[Any], Callable[[], Cursor]]
"""schema -> a maker of cursors; raises for a schema that it refuses"""


class Tekken:
    """The vocabulary of mistral_common: 131,072 tokens, of which 1,000 are special."""

    def __init__(self) -> None:
        import base64

        import mistral_common
        import tiktoken

        text = (Path(mistral_common.__file__).parent / "data" / "tekken_240911.json").read_text()
        found = json.loads(text)
        self.size, special = found["config"]["default_vocab_size"], found["config"]["default_num_special_tokens"]
        self.eos, self.special = 2, list(range(special))
        texts = [base64.b64decode(entry["token_bytes"]) for entry in found["vocab"][: self.size - special]]
        self.tokens = [b""] * special + texts
        self.encoding = tiktoken.Encoding(
            "tekken",
            pat_str=found["config"]["pattern"],
            mergeable_ranks={token: special + k for k, token in enumerate(texts)},
            special_tokens={f"<|special_{k}|>": k for k in range(special)},
        )


def ours(vocabulary: Tekken) -> Engine:
    """This project's engine."""
    import grammars

    encode = vocabulary.encoding.encode_ordinary
    known = grammars.Vocabulary(vocabulary.tokens, [vocabulary.eos], vocabulary.special, encode=encode)

    class OurCursor:
        def __init__(self, matcher: grammars.Matcher) -> None:
            self.fill, self.accept, self.is_accepting = matcher.fill_mask, matcher.advance, matcher.is_accepting

    def compile_schema(schema: Any) -> Callable[[], Cursor]:
        grammar = grammars.compile(grammars.JsonSchema(schema), known)
        return lambda: OurCursor(grammar.matcher())

    return compile_schema


def llguidance(vocabulary: Tekken) -> Engine:
    """llguidance, defaults."""
    import llguidance as llg
    from llguidance.numpy import fill_next_token_bitmask

    encoding = vocabulary.encoding
    tokenizer = llg.LLTokenizer.from_tiktoken(
        encoder=encoding._mergeable_ranks,
        special_tokens=encoding._special_tokens,
        pattern=encoding._pat_str,
        eos_token=vocabulary.eos,
    )

    class LlgCursor:
        def __init__(self, matcher: Any) -> None:
            self._matcher, self.accept, self.is_accepting = matcher, matcher.consume_token, matcher.is_accepting

        def fill(self, row: Row) -> None:
            fill_next_token_bitmask(self._matcher, row[None], 0)
            if self._matcher.is_error():
                raise RuntimeError(self._matcher.get_error())

    def compile_schema(schema: Any) -> Callable[[], Cursor]:
        first = llg.LLMatcher(tokenizer, llg.LLMatcher.grammar_from_json_schema(schema), log_level=0)
        if first.is_error():
            raise ValueError(first.get_error())
        return lambda: LlgCursor(first.deep_copy())

    return compile_schema


def xgrammar(vocabulary: Tekken) -> Engine:
    """XGrammar, defaults."""
    import torch
    import xgrammar as xgr

    torch.set_num_threads(1)
    tokens = xgr.TokenizerInfo(
        vocabulary.tokens, xgr.VocabType.RAW, vocab_size=vocabulary.size, stop_token_ids=[vocabulary.eos]
    )
    compiler = xgr.GrammarCompiler(tokens, max_threads=1)

    class XgrCursor:
        def __init__(self, matcher: Any) -> None:
            self._matcher, self.accept, self.is_accepting = matcher, matcher.accept_token, matcher.is_completed

        def fill(self, row: Row) -> None:
            self._matcher.fill_next_token_bitmask(torch.from_numpy(row[None]))

    def compile_schema(schema: Any) -> Callable[[], Cursor]:
        grammar = compiler.compile_json_schema(json.dumps(schema))
        return lambda: XgrCursor(xgr.GrammarMatcher(grammar))

    return compile_schema


ENGINES = {"ours": ours, "llguidance": llguidance, "xgrammar": xgrammar}


@dataclass
class Figures:
    """What was seen of one engine. Times in microseconds."""

    schemas: int = 0
    refused: int = 0
    right: int = 0
    valid_refused: int = 0
    invalid_accepted: int = 0
    first_mask: list[float] = field(default_factory=list)
    masks: list[float] = field(default_factory=list)
    advances: list[float] = field(default_factory=list)

    def named(self) -> dict[str, float]:
        """The figures by name."""
        rows: dict[str, float] = {"schemas": self.schemas, "refused": self.refused}
        rows |= {"right on every instance": self.right}
        rows |= {"valid refused": self.valid_refused, "invalid accepted": self.invalid_accepted}
        for name, times in (("mask", self.masks), ("advance", self.advances), ("first mask", self.first_mask)):
            values = np.array(times or [float("nan")])
            rows[f"{name} mean, µs"] = round(float(values.mean()), 1)
            for percentile in (50, 99, 99.9):
                rows[f"{name} p{percentile}, µs"] = round(float(np.percentile(values, percentile)), 1)
        return rows


def read(path: Path, count: int) -> list[dict[str, Any]]:
    """`count` entries of the data, chosen by a fixed seed; 0 for all."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as lines:
        entries = [json.loads(line) for line in lines]
    random.Random(0).shuffle(entries)
    return entries[: count or None]


def clock() -> float:
    """CPU time of this process in microseconds."""
    return time.process_time_ns() / 1e3


def clock_cost() -> float:
    """What the clock itself takes of each time, in microseconds."""
    return statistics.median(-clock() + clock() for _ in range(10_000))


def walk(cursor: Cursor, tokens: list[int], eos: int, row: Row, figures: Figures | None) -> bool:
    """Whether the text is accepted. Notes the times in `figures`."""
    for token in [*tokens, None]:
        before = clock()
        cursor.fill(row)
        after = clock()
        if figures is not None:
            figures.masks.append(after - before)
        if token is None:
            return bool(row[eos >> 5] >> (eos & 31) & 1)
        if not row[token >> 5] >> (token & 31) & 1:
            return False
        before = clock()
        if not cursor.accept(token):
            return False
        if figures is not None:
            figures.advances.append(clock() - before)
    raise AssertionError("unreachable")


def measure(entry: dict[str, Any], engine: Engine, vocabulary: Tekken, seen: Figures) -> None:
    """One schema with all its instances."""
    row = np.zeros((vocabulary.size + 31) // 32, dtype=np.int32)
    seen.schemas += 1
    before = clock()
    try:
        make = engine(entry["schema"])
        make().fill(row)
    except Exception:  # whatever a peer raises is a refusal
        seen.refused += 1
        return
    seen.first_mask.append(clock() - before)
    right = True
    for tokens, valid in instances(entry, vocabulary):
        accepted = walk(make(), tokens, vocabulary.eos, row, seen if valid else None)
        seen.valid_refused += valid and not accepted
        seen.invalid_accepted += accepted and not valid
        right &= accepted == valid
    seen.right += right


def instances(entry: dict[str, Any], vocabulary: Tekken) -> Iterator[tuple[list[int], bool]]:
    """(tokens, whether the text is valid) of each instance."""
    for test in entry["tests"]:
        text = json.dumps(test["data"], ensure_ascii=False, separators=(", ", ": "))
        try:
            yield vocabulary.encoding.encode_ordinary(text), test["valid"]
        except UnicodeEncodeError:  # a lone surrogate has no tokens
            continue


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON lines, .gz or not; without it nothing is measured")
    parser.add_argument("--schemas", type=int, default=300, help="how many, chosen by a fixed seed; 0: all")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file as well")
    arguments = parser.parse_args()
    if arguments.data is None:
        print("masks: give --data (JSONSchemaBench in MaskBench's form); nothing was measured")
        return 0
    names = [name for name in arguments.engines.split(",") if name == "ours" or find_spec(name)]
    vocabulary = Tekken()
    engines = {name: ENGINES[name](vocabulary) for name in names}
    figures = {name: Figures() for name in names}
    warm_up = {"schema": {"properties": {"a": {"type": "string"}}}, "tests": [{"data": {"a": "b"}, "valid": True}]}
    for name in names:
        measure(warm_up, engines[name], vocabulary, Figures())
    entries = read(arguments.data, arguments.schemas)
    gc.collect()
    gc.freeze()
    gc.disable()
    for index, entry in enumerate(entries):
        if index % 20 == 0:
            gc.collect()
        for name in names[index % len(names) :] + names[: index % len(names)]:
            measure(entry, engines[name], vocabulary, figures[name])
    columns = {name: figures[name].named() for name in names}
    print(f"{'':28}" + "".join(f"{name:>14}" for name in names))
    for label in columns[names[0]]:
        print(f"{label:28}" + "".join(f"{columns[name][label]:>14,}" for name in names))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of all together: {peak:,} MB")
    itself = round(clock_cost(), 2)
    print(f"the clock itself: {itself} µs of each time above")
    if arguments.out is not None:
        load = round(os.getloadavg()[0], 1)
        found = {"data": arguments.data.name, "peak memory of all together, MB": peak, "load at the end": load}
        found["the clock itself, µs"] = itself
        arguments.out.write_text(json.dumps(found | {"engines": columns}, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
