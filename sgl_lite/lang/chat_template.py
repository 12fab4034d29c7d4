"""SGLang's `lang.chat_template`."""

from sgl_lite.chat.messages import SimpleTemplate as ChatTemplate
from sgl_lite.chat.templates import templates

get_chat_template = templates.get
get_chat_template_by_model_path = templates.of_model
register_chat_template = templates.register
register_chat_template_matching_function = templates.register_matcher

__all__ = [
    "ChatTemplate",
    "get_chat_template",
    "get_chat_template_by_model_path",
    "register_chat_template",
    "register_chat_template_matching_function",
]
