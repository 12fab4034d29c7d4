"""YAML in block style, as people write configuration. Indentation is not context-free: each depth has its own rules.

Covered: mappings and sequences nested to `depth` by two spaces, mappings inside `- ` items, plain, single- and
double-quoted scalars, numbers, booleans, null, literal blocks (`|`), flow collections. Left out: comments, anchors,
tags, several documents. Whatever the grammar derives, YAML 1.1 and 1.2 parsers load.
"""

from __future__ import annotations

_TERMINALS = r"""
?flow: scalar | "[" [flow (_COMMA flow)*] "]" | "{" [KEY _COLON flow (_COMMA KEY _COLON flow)*] "}"
?scalar: PLAIN | NUMBER | SINGLE | DOUBLE
KEY: /[A-Za-z_][A-Za-z0-9_-]{0,62}/
PLAIN: /[A-Za-z_]([A-Za-z0-9_.()\/+@-]| [A-Za-z0-9_.()\/+@])*/
NUMBER: /-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,3})?/
SINGLE: "'" (/[^'\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]/ | "''")* "'"
DOUBLE: "\"" (ESCAPE | /[^"\\\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]/)* "\""
ESCAPE: /\\["\\\/bfnrt]/ | "\\u" (/[0-9a-cA-CefEF][0-9a-fA-F]{3}/ | /[dD][0-7][0-9a-fA-F]{2}/)
TEXT: /[^\s\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff][^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]*/
_COMMA: /, ?/
_COLON: ": "
_NL: "\n"
"""


def yaml_grammar(depth: int = 6) -> str:
    """The grammar, in Lark's notation, for blocks nested up to `depth`."""
    lines = ["start: (block0 | flow) _NL?"]
    for level in range(depth):
        last = level == depth - 1
        deeper = (
            "" if last else f' | ":" _NL IN{level + 1} block{level + 1} | ":" " " "|" _NL IN{level + 1} text{level + 1}'
        )
        nested = "" if last else f" | block{level + 1}"
        follow = f"_NL IN{level}" if level else "_NL"
        lines += [
            f"block{level}: pair{level} ({follow} pair{level})* | item{level} ({follow} item{level})*",
            f"pair{level}: KEY (_COLON flow{deeper})",
            f'item{level}: "-" " " (flow{nested})',
        ]
        if level:
            lines += [f"text{level}: TEXT (_NL IN{level} TEXT)*", f'IN{level}: "{"  " * level}"']
    return "\n".join(lines) + _TERMINALS
