"""Many `async` programs in one event loop, without threads; those that take too long are cancelled."""

import asyncio

import sgl_lite as sgl


@sgl.function
async def describe(s, thing):
    s += f"What is {thing}?\nAnswer:" + sgl.gen("answer", max_tokens=12, stop="\n", temperature=0)
    answer = await s.read("answer")
    s += f"\nIs {answer} right?" + sgl.select("right", [" yes", " no"])


async def main() -> None:
    things = ["the capital of France", "the opposite of hot", "3 + 4", "an apple"]
    async with asyncio.timeout(120):
        states = await asyncio.gather(*(describe(thing) for thing in things))
    for thing, state in zip(things, states, strict=True):
        print(f"{thing}:{state['answer']}{state['right']}")
        assert state["right"] in (" yes", " no")


asyncio.run(main())
