"""Built-in chat templates by SGLang's names, for tokenizers that bring none. A table, and the way from a model's path
to a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from sgl_lite.chat.messages import SimpleTemplate
from sgl_lite.errors import ArgumentError

_ROLES = ("system", "user", "assistant")


def _template(
    name: str,
    system: tuple[str, str],
    user: tuple[str, str],
    assistant: tuple[str, str],
    default_system: str | None = None,
    stop: tuple[str, ...] = (),
    begin: str = "",
) -> SimpleTemplate:
    turns = dict(zip(_ROLES, (system, user, assistant), strict=True))
    return SimpleTemplate(
        name,
        {role: before for role, (before, _) in turns.items()},
        {role: after for role, (_, after) in turns.items()},
        default_system,
        stop,
        begin,
    )


def _uniform(
    name: str, before: str, after: str, default_system: str | None = None, begin: str = "", assistant: str = "assistant"
) -> SimpleTemplate:
    """The same marks around all roles; `{}` in `before` is the role."""
    marks = [(before.format(role), after) for role in ("system", "user", assistant)]
    stop = (after.strip(),) if after.strip() else ()
    return _template(name, marks[0], marks[1], marks[2], default_system, stop, begin)


_CHATML = "<|im_start|>{}\n", "<|im_end|>\n"
_LLAMA_3 = "<|start_header_id|>{}<|end_header_id|>\n\n", "<|eot_id|>"
_HELPFUL = "You are a helpful assistant."
_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_COMMAND_R = "<|START_OF_TURN_TOKEN|><|{}_TOKEN|>", "<|END_OF_TURN_TOKEN|>"
_MINICPM = _template(
    "minicpmv", ("", " "), ("user:", " "), ("assistant:", "</s>"), None, ("<|im_end|>", "<|endoftext|>")
)
_JANUS = _template(
    "janus",
    ("", ""),
    ("<|User|>: ", "\n\n"),
    ("<|Assistant|>: ", "<｜end▁of▁sentence｜>"),
    None,
    ("<｜end▁of▁sentence｜>",),
)

_BUILT_IN = (
    _template("default", ("SYSTEM:", "\n"), ("USER:", "\n"), ("ASSISTANT:", "\n")),
    _template("claude", ("", ""), ("\n\nHuman: ", ""), ("\n\nAssistant:", "")),
    _uniform("chatml", *_CHATML),
    _uniform("chatml-llava", *_CHATML, "Answer the questions."),
    _uniform("qwen", *_CHATML, _HELPFUL),
    _uniform("qwen2-vl", *_CHATML, _HELPFUL),
    _template("vicuna_v1.1", ("", " "), ("USER:", " "), ("ASSISTANT:", "</s>"), _VICUNA, ("</s>",)),
    _template(
        "llama-2-chat", ("<<SYS>>\n", "\n<</SYS>>\n\n"), ("[INST] ", " [/INST]"), ("", " </s><s>"), None, ("[INST]",)
    ),
    _template(
        "mistral", ("[SYSTEM_PROMPT] ", " [/SYSTEM_PROMPT]"), ("[INST] ", " [/INST]"), ("", " </s><s>"), None, ("</s>",)
    ),
    _uniform("llama-3-instruct", *_LLAMA_3),
    _uniform("llama-3-instruct-llava", *_LLAMA_3),
    _uniform("llama-4", "<|header_start|>{}<|header_end|>\n\n", "<|eot|>"),
    _MINICPM,
    replace(_MINICPM, name="minicpmo"),
    _JANUS,
    replace(_JANUS, name="janus-pro"),
    _template(
        "yi-1.5",
        ("", ""),
        ("<|im_start|>user\n", "<|im_end|>\n<|im_start|>assistant\n"),
        ("", "<|im_end|>\n"),
        None,
        ("<|im_end|>",),
    ),
    _template("yi-vl", ("", "\n\n"), ("### Human: ", "\n"), ("### Assistant:", "\n"), None, ("###",)),
    _uniform("gemma-it", "<start_of_turn>{}\n", "<end_of_turn>\n", assistant="model"),
    _uniform("gemma-4-it", "<|turn>{}\n", "<turn|>\n", assistant="model"),
    _uniform("dbrx-instruct", *_CHATML, _HELPFUL),
    _template(
        "c4ai-command-r",
        (_COMMAND_R[0].format("SYSTEM"), _COMMAND_R[1]),
        (_COMMAND_R[0].format("USER"), _COMMAND_R[1]),
        (_COMMAND_R[0].format("CHATBOT"), _COMMAND_R[1]),
        None,
        (_COMMAND_R[1],),
    ),
    _uniform("internvl-2-5", *_CHATML),
    _uniform("interns1", *_CHATML),
    _uniform("granite-3-instruct", "<|start_of_role|>{}<|end_of_role|>", "<|end_of_text|>"),
    _template(
        "deepseek-v3",
        ("", ""),
        ("<｜User｜>", ""),
        ("<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        None,
        ("<｜end▁of▁sentence｜>",),
    ),
    _template(
        "glm-4v",
        ("<|system|>\n", "\n"),
        ("<|user|>\n", "\n"),
        ("<|assistant|>\n", "\n"),
        None,
        ("<|user|>", "<|endoftext|>", "<|observation|>"),
    ),
)

_IMAGE_TEXTS = {
    "qwen2-vl": "<|vision_start|><|image_pad|><|vision_end|>",
    "mistral": "[IMG]",
    "llama-4": "<|image|>",
    "minicpmv": "(<image>./</image>)",
    "minicpmo": "(<image>./</image>)",
    "janus": "<image_placeholder>\n",
    "janus-pro": "<image_placeholder>\n",
    "gemma-it": "<start_of_image>",
    "glm-4v": "<|image|>",
}
"""What stands for an image, where that is not "<image>"."""

_BY_PATH: tuple[tuple[str, str], ...] = (
    (r"claude", "claude"),
    (r"vicuna|llava-v1\.[56]", "vicuna_v1.1"),
    (r"llama-?4", "llama-4"),
    (r"llama-?3.*llava|llava.*llama-?3", "llama-3-instruct-llava"),
    (r"llama-?3.*instruct", "llama-3-instruct"),
    (r"llama-?2.*chat|codellama.*instruct", "llama-2-chat"),
    (r"(mistral|mixtral|pixtral).*instruct", "mistral"),
    (r"qwen.*vl", "qwen2-vl"),
    (r"qwen.*(chat|instruct)", "qwen"),
    (r"tinyllama.*chat|llava.*(34b|mistral)", "chatml-llava"),
    (r"yi-vl", "yi-vl"),
    (r"yi-1\.5.*chat", "yi-1.5"),
    (r"gemma-?4.*it", "gemma-4-it"),
    (r"gemma.*it", "gemma-it"),
    (r"dbrx.*instruct", "dbrx-instruct"),
    (r"c4ai-command-r|command-r", "c4ai-command-r"),
    (r"internvl-?[23]", "internvl-2-5"),
    (r"intern-?s1", "interns1"),
    (r"granite.*instruct", "granite-3-instruct"),
    (r"janus-pro", "janus-pro"),
    (r"janus", "janus"),
    (r"minicpm-?o", "minicpmo"),
    (r"minicpm-?v", "minicpmv"),
    (r"deepseek-(v3|r1)", "deepseek-v3"),
    (r"glm-4.*v", "glm-4v"),
)


class ChatTemplates:
    """Templates by name, and functions that name the template of a model's path. Users may add both."""

    def __init__(self) -> None:
        self._by_name: dict[str, SimpleTemplate] = {
            template.name: replace(template, image_text=_IMAGE_TEXTS.get(template.name, template.image_text))
            for template in _BUILT_IN
        }
        self._matchers: list[Callable[[str], str | None]] = [_by_path]

    def get(self, name: str) -> SimpleTemplate:
        """Errors: `ArgumentError` for a name that there is not."""
        if name not in self._by_name:
            raise ArgumentError(f"no chat template {name!r}; there are {', '.join(sorted(self._by_name))}")
        return self._by_name[name]

    def of_model(self, model_path: str) -> SimpleTemplate:
        """The template that the first function names; "default" if none does. Functions added last are asked first."""
        for matcher in reversed(self._matchers):
            if (name := matcher(model_path)) is not None:
                return self.get(name)
        return self.get("default")

    def register(self, template: SimpleTemplate) -> None:
        self._by_name[template.name] = template

    def register_matcher(self, matcher: Callable[[str], str | None]) -> Callable[[str], str | None]:
        """Usable as a decorator."""
        self._matchers.append(matcher)
        return matcher


def _by_path(model_path: str) -> str | None:
    return next((name for pattern, name in _BY_PATH if re.search(pattern, model_path, re.IGNORECASE)), None)


templates = ChatTemplates()
"""The registry that the local backend asks when a tokenizer has no chat template."""
