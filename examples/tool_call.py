"""A call of one of several Python functions: always one that there is, with arguments of the right types."""

from typing import Literal

import sgl_lite as sgl


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def weather(city: str, unit: Literal["celsius", "fahrenheit"] = "celsius") -> str:
    """Tell the weather in a city."""
    return f"It is 20 degrees {unit} in {city}."


@sgl.function
def assistant(s, request):
    s += f"{request}\nJSON:"
    s += sgl.gen("call", tools=[add, weather], max_tokens=60, temperature=0)


state = assistant("What is 3 + 4?")
call = state.parsed("call")
print(state["call"], "->", call())
