"""Whether this engine is right on the JSON-Schema-Test-Suite, draft by draft.

    python -m benchmarks.suite --suite JSON-Schema-Test-Suite

Instances are written as `json.dumps` writes them and read byte by byte. Remote schemas are served from the suite's
folder. "right" is "compiled", the cases that a grammar got right, and "unsatisfiable", those of schemas that are
refused because nothing is valid under them: all their instances are invalid, and none is accepted. `format.json` of
the newer drafts wants formats to be annotations, and is read with `formats=False`; `optional/format` wants them
enforced. All that is wrong is listed in the result file.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import grammars

EOS = 256
VOCABULARY = grammars.Vocabulary([*(bytes((byte,)) for byte in range(256)), b""], [EOS])
DRAFTS = ("draft2020-12", "draft2019-09", "draft7", "draft6", "draft4")
OUTCOMES = ("compiled", "unsatisfiable", "wrongly accepted", "wrongly refused", "refused schema")
"""The first two are right: by the grammar, and by refusing a schema that nothing satisfies."""


def accepts(grammar: grammars.CompiledGrammar, text: bytes) -> bool:
    """Whether the whole text is let through."""
    try:
        return grammar.matcher(prefix=text).is_accepting()
    except grammars.ConformError:
        return False


def group_outcomes(group: dict[str, Any], options: dict[str, Any]) -> list[tuple[str, str]]:
    """(case, one of OUTCOMES) of a group of cases of one schema."""
    grammar, refusal = None, ""
    try:
        grammar = grammars.compile(grammars.JsonSchema(group["schema"], **options), VOCABULARY)
    except grammars.UnsatisfiableConstraintError:
        refusal = "unsatisfiable"
    except grammars.GrammarError:
        refusal = "refused schema"
    found = []
    for case in group["tests"]:
        try:
            text = json.dumps(case["data"], ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half of a surrogate pair is in no UTF-8 text
            continue
        if grammar is None:
            outcome = "wrongly refused" if refusal == "unsatisfiable" and case["valid"] else refusal
        else:
            accepted = accepts(grammar, text)
            outcome = "compiled" if accepted == case["valid"] else f"wrongly {'accepted' if accepted else 'refused'}"
        found.append((f"{group['description']}: {case['description']}", outcome))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", type=Path, help="the folder of the suite; without it nothing is looked at")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "suite.json")
    arguments = parser.parse_args()
    if arguments.suite is None:
        print("suite: give --suite (the JSON-Schema-Test-Suite); nothing was looked at")
        return 0
    base = arguments.suite / "remotes"
    remotes = {
        f"http://localhost:1234/{path.relative_to(base).as_posix()}": json.loads(path.read_text())
        for path in base.rglob("*.json")
    }
    print(f"{'':32}{'cases':>7}" + "".join(f"{column:>18}" for column in ("right", *OUTCOMES)))
    counts: dict[str, Counter[str]] = {}
    wrong: list[tuple[str, ...]] = []
    for draft in DRAFTS:
        for part, pattern in (("required", "*.json"), ("optional/format", "optional/format/*.json")):
            seen = counts[f"{draft} {part}"] = Counter()
            for path in sorted((arguments.suite / "tests" / draft).glob(pattern)):
                options = {"draft": draft.replace("draft2", "2"), "resources": remotes, "property_order": "any"}
                options["formats"] = part != "required" or path.stem != "format"
                for group in json.loads(path.read_text()):
                    for case, outcome in group_outcomes(group, options):
                        seen[outcome] += 1
                        if outcome not in OUTCOMES[:2]:
                            wrong.append((outcome, draft, path.stem, case))
            cases = seen.total()
            shown = [sum(seen[outcome] for outcome in OUTCOMES[:2]), *(seen[outcome] for outcome in OUTCOMES)]
            shares = "".join(f"{count:9} {100 * count / max(1, cases):6.2f} %" for count in shown)
            print(f"{draft + ' ' + part:32}{cases:7}{shares}", flush=True)
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps({"counts": counts, "wrong": wrong}, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
