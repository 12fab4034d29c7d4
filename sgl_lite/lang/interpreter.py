"""SGLang's `lang.interpreter`."""

from sgl_lite.state import ProgramState, ProgramStateGroup

__all__ = ["ProgramState", "ProgramStateGroup"]
