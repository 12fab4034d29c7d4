"""JSON Schema: schemas to a normal form, the normal form to a byte automaton."""

from grammars.json_schema.compiling import SchemaAutomaton, compile_json, compile_schema

__all__ = ["SchemaAutomaton", "compile_json", "compile_schema"]
