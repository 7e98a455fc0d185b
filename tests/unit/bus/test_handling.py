import asyncio

from zejzl_ray.bus.handling import MAX_STACK_CHARACTERS, Handling, Handlings, stack_of
from zejzl_ray.bus.message import Message


def handling(agent: str, slot: int) -> Handling:
    return Handling(agent, slot, Message("a", agent, "x", {}))


def test_a_handler_is_listed_while_it_is_at_work() -> None:
    book = Handlings()
    assert book.slots("a") is None
    book.open("a", 2)
    first, second = handling("a", 0), handling("a", 1)
    book.begin(first)
    book.begin(second)
    book.begin(other := handling("b", 0))
    assert (book.slots("a"), book.of("a"), list(book)) == (2, (first, second), [first, second, other])
    book.end(first)
    book.end(first)
    next_one = handling("a", 0)
    book.begin(next_one)
    book.end(first)  # long over: the slot is somebody else's
    assert set(book.of("a")) == {second, next_one}
    book.close("a")
    book.close("a")
    book.end(second)
    assert (book.of("a"), book.slots("a")) == ((), None)


async def test_a_stack_names_every_place_down_to_the_innermost() -> None:
    async def innermost() -> None:
        await asyncio.sleep(100)

    async def middle() -> None:
        await innermost()

    async def outermost() -> None:
        await middle()

    task = asyncio.create_task(outermost())
    await asyncio.sleep(0)
    at_work = handling("a", 0)
    assert at_work.stack() == ""
    at_work.task = task
    names = [line.rsplit(".", 1)[-1] for line in at_work.stack().splitlines()]
    assert [name for name in names if name in ("outermost", "middle", "innermost")] == [
        "outermost", "middle", "innermost",
    ]  # fmt: skip
    assert "test_handling.py:" in at_work.stack()
    task.cancel()
    await asyncio.wait({task})
    assert stack_of(task) == ""


async def test_a_deep_stack_keeps_its_inner_end() -> None:
    async def deep(depth: int) -> None:
        if depth:
            await deep(depth - 1)
        else:
            await asyncio.sleep(100)

    task = asyncio.create_task(deep(40))
    await asyncio.sleep(0)
    stack = stack_of(task)
    assert len(stack) <= MAX_STACK_CHARACTERS
    assert stack.endswith("in sleep")
    task.cancel()
    await asyncio.wait({task})
