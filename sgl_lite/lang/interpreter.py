"""SGLang's `lang.interpreter`."""

from sgl_lite.fork import ProgramStateGroup
from sgl_lite.state import ProgramState

__all__ = ["ProgramState", "ProgramStateGroup"]
