"""A family's processor from a checkpoint, with Pillow for the images and without torchvision.

`AutoProcessor` without torchvision refuses most families: for the sake of a video processor that is not used here, of
an image processor that its lazy loading takes for torchvision's, or of a helper from torchvision's file. Here the
classes are taken from their own files.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.utils.hub import cached_file

_HUB_OPTIONS = ("revision", "token")


class _NoVideo(dict[str, Any]):
    """Stands where a processor keeps its video processor; a dict, because processors print themselves as JSON."""

    num_frames = 0
    fps = 1


def load_processor(path: str, model_type: str, **hub: Any) -> Any:
    """A `transformers` processor. Raises what its readers raise; ValueError if the family has none."""
    name = _class_name(path, model_type, hub)
    _show_pillow_class(model_type)
    base = _processor_class(name)
    if "video_processor" in inspect.signature(base.__init__).parameters:
        base = _without_video(base)
    processor = base.from_pretrained(path, backend="pil", **hub)
    if processor.tokenizer.chat_template is None:
        processor.tokenizer.chat_template = processor.chat_template  # older checkpoints keep it beside the processor
    return processor


def _class_name(path: str, model_type: str, hub: dict[str, Any]) -> str:
    for file in ("processor_config.json", "preprocessor_config.json"):
        found = cached_file(
            path,
            file,
            _raise_exceptions_for_missing_entries=False,
            **{name: hub[name] for name in _HUB_OPTIONS if name in hub},
        )
        if found is not None:
            name = json.loads(Path(found).read_text(encoding="utf-8")).get("processor_class")
            if name:
                return str(name)
    if model_type not in PROCESSOR_MAPPING_NAMES:
        raise ValueError(f"transformers has no processor for {model_type}")
    return str(PROCESSOR_MAPPING_NAMES[model_type])


def _processor_class(name: str) -> Any:
    if name == "PixtralProcessor":
        # It takes one function from torchvision's file; Pillow's file has the same one.
        pillow = _module("pixtral.image_processing_pil_pixtral")
        sys.modules.setdefault("transformers.models.pixtral.image_processing_pixtral", pillow)
    for family, class_name in PROCESSOR_MAPPING_NAMES.items():
        file = f"{family}.processing_{family}"
        if class_name == name and importlib.util.find_spec(f"transformers.models.{family}.processing_{family}"):
            module: Any = _module(file)
            if name == "SmolVLMProcessor" and module.num2words is None:
                module.num2words = str  # writes out numbers of seconds, for videos
            return getattr(module, name)
    raise ValueError(f"transformers {name} is not known here; is the checkpoint for a newer version?")


def _show_pillow_class(model_type: str) -> None:
    """Puts an image processor on its package where lazy loading hides it, because its file mentions torchvision."""
    file = f"{model_type}.image_processing_pil_{model_type}"
    if importlib.util.find_spec(f"transformers.models.{file}") is None:
        return
    name = IMAGE_PROCESSOR_MAPPING_NAMES[model_type]["pil"]
    setattr(_module(model_type), name, getattr(_module(file), name))


def _without_video(base: Any) -> Any:
    """The same processor, given a stand-in for its video processor instead of one that is loaded."""

    class WithoutVideo(base):
        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            return [*_TwoParts._get_arguments_from_pretrained(*args, **kwargs), _NoVideo()]

        def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
            return None if name == "video_processor" else super().check_argument_for_proper_class(name, argument)

    class _TwoParts(base):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return ["image_processor", "tokenizer"]

    # transformers finds out from the name which class it is
    WithoutVideo.__name__ = _TwoParts.__name__ = base.__name__
    return WithoutVideo


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"transformers.models.{name}")
