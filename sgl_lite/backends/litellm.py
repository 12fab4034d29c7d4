"""The models that `litellm` reaches, as a backend: `sgl.LiteLLM("anthropic/claude-...")`.

It speaks as OpenAI's API does, so everything but the call is `backends/openai.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sgl_lite.backends.openai import OpenAI
from sgl_lite.chat.messages import SimpleTemplate

try:
    import litellm
except ImportError as error:
    raise ImportError("sgl.LiteLLM needs litellm: pip install 'sgl-lite[litellm]'") from error


class LiteLLM(OpenAI):
    """SGLang's name and arguments: chat models of any provider.

    arguments: `api_key`, `base_url`, `timeout`, ... of `litellm.completion`; without them the environment says, by the
    provider's names.
    """

    def __init__(self, model_name: str, chat_template: SimpleTemplate | None = None, **arguments: Any) -> None:
        self._arguments: dict[str, Any] = {}
        super().__init__(model_name, True, chat_template, **arguments)

    def _connect(self, is_azure: bool, client_arguments: Mapping[str, Any]) -> str:
        self._arguments = dict(client_arguments)
        return str(client_arguments.get("base_url") or client_arguments.get("api_base") or self.model_name)

    def _create(self, fields: dict[str, Any]) -> Any:
        return litellm.completion(**self._arguments, **fields)

    def shutdown(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


class Anthropic(LiteLLM):
    """SGLang's name: `Anthropic("claude-...")`."""

    def __init__(self, model_name: str, chat_template: SimpleTemplate | None = None, **arguments: Any) -> None:
        super().__init__(f"anthropic/{model_name}", chat_template, **arguments)


class VertexAI(LiteLLM):
    """SGLang's name: `VertexAI("gemini-...")`."""

    def __init__(self, model_name: str, chat_template: SimpleTemplate | None = None, **arguments: Any) -> None:
        super().__init__(f"vertex_ai/{model_name}", chat_template, **arguments)
