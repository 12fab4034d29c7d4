"""A ReAct agent: the model thinks, calls a calculator, sees the result, and answers."""

import ast
import operator

import sgl_lite as sgl

OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def calculator(expression: str) -> str:
    """The value of a sum, a difference or a product of numbers."""

    def value(node):
        match node:
            case ast.Constant(value=number):
                return number
            case ast.BinOp(left, op, right) if type(op) in OPERATIONS:
                return OPERATIONS[type(op)](value(left), value(right))
        raise ValueError(f"not a calculation: {expression}")

    return str(value(ast.parse(expression, mode="eval").body))


@sgl.function
def agent(s, question):
    s += f"Question: {question}\n"
    for step in range(3):
        s += f"Thought {step}:" + sgl.gen("thought", stop="\n", max_tokens=24) + "\n"
        s += "Action: " + sgl.select("action", ["calculate", "answer"]) + "\n"
        if s["action"] == "answer":
            break
        s += "Input: " + sgl.gen("input", regex=r"\d{1,3} [-+*] \d{1,3}", max_tokens=12) + "\n"
        s += f"Observation: {calculator(s['input'])}\n"
    s += "Answer: " + sgl.gen("answer", dtype=int, max_tokens=8)


state = agent("What is 3 + 4?", temperature=0)
print(state.text())
assert isinstance(state.parsed("answer"), int)
