"""What `import sgl_lite` brings, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sgl_lite as sgl

PUBLIC = """
Anthropic AppendError ArgumentError BackendError BlockingReadError BudgetError CheckError ConformError
ConstraintLimitError ConstraintSyntaxError Engine EngineStopped ForkError GrammarError LLM LanguageError LiteLLM
LocalBackend ModelLoadError OpenAI ProgramCancelled ProgramState ProgramStateGroup ProgramTimeout PromptTooLongError
RequestAborted RequestError RoleError Runtime RuntimeEndpoint RuntimeFault SamplingParams SglFunction SpanError
TraceError UnknownVariableError UnsatisfiableConstraintError UnsupportedByBackendError UnsupportedConstraintError
UnsupportedModelError VertexAI assistant assistant_begin assistant_end flush_cache function gen gen_int gen_string
get_server_info global_config greedy_token_selection image probability select separate_reasoning set_default_backend
system system_begin system_end token_length_normalized unconditional_likelihood_normalized user user_begin user_end
video
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_public_names() -> None:
    assert sorted(sgl.__all__) == sorted(PUBLIC.split())


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = sgl.no_such_name


def test_heavy_packages_are_not_imported() -> None:
    heavy = ("torch", "transformers", "numba", "numpy", "PIL", "rich", "pydantic", "typer")
    assert run(f"import sgl_lite, sys; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_import_is_quick() -> None:
    code = "import time; t = time.process_time(); import sgl_lite; print(time.process_time() - t)"
    assert min(float(run(code)) for _ in range(3)) < 0.3
