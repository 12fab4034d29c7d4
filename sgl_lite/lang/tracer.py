"""SGLang's `lang.tracer`."""

from sgl_lite.tracer import TracerProgramState

__all__ = ["TracerProgramState"]
