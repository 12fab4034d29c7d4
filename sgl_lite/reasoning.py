"""Where a model's reasoning ends and its answer begins, by the name of the model's format. A table and a split."""

from __future__ import annotations

from dataclasses import dataclass

from sgl_lite.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class ReasoningFormat:
    """The marks around the reasoning. Many templates write `begin` themselves, so it need not be in the answer."""

    begin: str
    end: str

    def split(self, text: str) -> tuple[str, str]:
        """(reasoning, answer). Without an end mark: all reasoning if it begins with the mark, else all answer."""
        head, mark, answer = text.partition(self.end)
        if mark:
            return head.removeprefix(self.begin).strip(), answer.lstrip()
        if text.lstrip().startswith(self.begin):
            return text.lstrip().removeprefix(self.begin).strip(), ""
        return "", text


_THINK = ReasoningFormat("<think>", "</think>")
_FORMATS = {
    **dict.fromkeys(
        (
            "deepseek-r1",
            "deepseek-v3",
            "qwen3",
            "qwen3-thinking",
            "glm45",
            "minimax",
            "step3",
            "nemotron_3",
            "interns1",
        ),
        _THINK,
    ),
    "kimi": ReasoningFormat("◁think▷", "◁/think▷"),
    "kimi_k2": _THINK,
    "gpt-oss": ReasoningFormat(
        "<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"
    ),
    "mistral": ReasoningFormat("[THINK]", "[/THINK]"),
}


def reasoning_format(model_type: str) -> ReasoningFormat:
    """Errors: `ArgumentError` for a name that there is not."""
    if model_type not in _FORMATS:
        raise ArgumentError(f"model_type={model_type!r} is not one of {', '.join(_FORMATS)}")
    return _FORMATS[model_type]
