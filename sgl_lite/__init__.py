"""Write a language-model program as a Python function; get answers that have the form you asked for.

    import sgl_lite as sgl

    @sgl.function
    def profile(s, name):
        s += f"Generate profile for {name}:"
        with s.constrain(json_schema=Person):
            s += sgl.gen("profile", max_tokens=60)

    profile("Ada").parsed("profile")

Names that need torch (`Engine`, `LLM`) are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grammars.errors import (
    BudgetError,
    ConformError,
    ConstraintLimitError,
    ConstraintSyntaxError,
    GrammarError,
    UnsatisfiableConstraintError,
    UnsupportedConstraintError,
)
from runtime.api import SamplingParams
from runtime.errors import (
    EngineStopped,
    ModelLoadError,
    PromptTooLongError,
    RequestAborted,
    RequestError,
    RuntimeFault,
    UnsupportedModelError,
)
from sgl_lite.choices import (
    greedy_token_selection,
    probability,
    token_length_normalized,
    unconditional_likelihood_normalized,
)
from sgl_lite.defaults import flush_cache, get_server_info, global_config, set_default_backend
from sgl_lite.errors import (
    AppendError,
    ArgumentError,
    BackendError,
    BlockingReadError,
    CheckError,
    ForkError,
    LanguageError,
    ProgramCancelled,
    ProgramTimeout,
    RoleError,
    SpanError,
    TraceError,
    UnknownVariableError,
    UnsupportedByBackendError,
)
from sgl_lite.fork import ProgramStateGroup
from sgl_lite.function import SglFunction, function
from sgl_lite.media import image, video
from sgl_lite.primitives import (
    assistant,
    assistant_begin,
    assistant_end,
    gen,
    gen_int,
    gen_string,
    select,
    separate_reasoning,
    system,
    system_begin,
    system_end,
    user,
    user_begin,
    user_end,
)
from sgl_lite.state import ProgramState

if TYPE_CHECKING:
    from sgl_lite.backends.http import RuntimeEndpoint
    from sgl_lite.backends.litellm import Anthropic, LiteLLM, VertexAI
    from sgl_lite.backends.local import Engine, LocalBackend
    from sgl_lite.backends.openai import OpenAI
    from sgl_lite.backends.server_process import Runtime
    from sgl_lite.llm import LLM

__version__ = "0.1.0"

_LOADED_ON_USE = {
    "Engine": "sgl_lite.backends.local",
    "LocalBackend": "sgl_lite.backends.local",
    "LLM": "sgl_lite.llm",
    "Anthropic": "sgl_lite.backends.litellm",
    "LiteLLM": "sgl_lite.backends.litellm",
    "VertexAI": "sgl_lite.backends.litellm",
    "OpenAI": "sgl_lite.backends.openai",
    "Runtime": "sgl_lite.backends.server_process",
    "RuntimeEndpoint": "sgl_lite.backends.http",
}


def __getattr__(name: str) -> Any:
    if name not in _LOADED_ON_USE:
        raise AttributeError(f"module 'sgl_lite' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LOADED_ON_USE[name]), name)
    return value


__all__ = [
    "LLM",
    "Anthropic",
    "AppendError",
    "ArgumentError",
    "BackendError",
    "BlockingReadError",
    "BudgetError",
    "CheckError",
    "ConformError",
    "ConstraintLimitError",
    "ConstraintSyntaxError",
    "Engine",
    "EngineStopped",
    "ForkError",
    "GrammarError",
    "LanguageError",
    "LiteLLM",
    "LocalBackend",
    "ModelLoadError",
    "OpenAI",
    "ProgramCancelled",
    "ProgramState",
    "ProgramStateGroup",
    "ProgramTimeout",
    "PromptTooLongError",
    "RequestAborted",
    "RequestError",
    "RoleError",
    "Runtime",
    "RuntimeEndpoint",
    "RuntimeFault",
    "SamplingParams",
    "SglFunction",
    "SpanError",
    "TraceError",
    "UnknownVariableError",
    "UnsatisfiableConstraintError",
    "UnsupportedByBackendError",
    "UnsupportedConstraintError",
    "UnsupportedModelError",
    "VertexAI",
    "assistant",
    "assistant_begin",
    "assistant_end",
    "flush_cache",
    "function",
    "gen",
    "gen_int",
    "gen_string",
    "get_server_info",
    "global_config",
    "greedy_token_selection",
    "image",
    "probability",
    "select",
    "separate_reasoning",
    "set_default_backend",
    "system",
    "system_begin",
    "system_end",
    "token_length_normalized",
    "unconditional_likelihood_normalized",
    "user",
    "user_begin",
    "user_end",
    "video",
]
