"""SGLang's `lang.ir`: the patterns of `dtype`, and the nodes by their names there."""

from sgl_lite.constraints import REGEX_BOOL, REGEX_FLOAT, REGEX_INT, REGEX_STR
from sgl_lite.function import SglFunction
from sgl_lite.nodes import Gen as SglGen
from sgl_lite.nodes import Node as SglExpr
from sgl_lite.nodes import Parts as SglExprList
from sgl_lite.nodes import Picture as SglImage
from sgl_lite.nodes import RoleBegin as SglRoleBegin
from sgl_lite.nodes import RoleEnd as SglRoleEnd
from sgl_lite.nodes import Select as SglSelect
from sgl_lite.nodes import Text as SglConstantText
from sgl_lite.settings import SamplingSettings as SglSamplingParams
from sgl_lite.tracer import Argument as SglArgument
from sgl_lite.tracer import Variable as SglVariable

REGEX_BOOLEAN = REGEX_BOOL

__all__ = [
    "REGEX_BOOL",
    "REGEX_BOOLEAN",
    "REGEX_FLOAT",
    "REGEX_INT",
    "REGEX_STR",
    "SglArgument",
    "SglConstantText",
    "SglExpr",
    "SglExprList",
    "SglFunction",
    "SglGen",
    "SglImage",
    "SglRoleBegin",
    "SglRoleEnd",
    "SglSamplingParams",
    "SglSelect",
    "SglVariable",
]
