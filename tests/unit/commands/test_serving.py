import asyncio

import pytest

from zejzl_ray.commands.serving import require_serving, tick_until
from zejzl_ray.errors import ServiceUnavailable


@pytest.mark.parametrize(
    ("is_serving", "is_fenced", "reason"),
    [(False, False, "not serving"), (True, True, "taken over"), (False, True, "taken over")],
)
def test_a_call_that_cannot_be_served_is_told_why(is_serving: bool, is_fenced: bool, reason: str) -> None:
    with pytest.raises(ServiceUnavailable, match=reason):
        require_serving("hub", is_serving=is_serving, is_fenced=is_fenced)


def test_a_service_that_serves_lets_calls_pass() -> None:
    require_serving("hub", is_serving=True, is_fenced=False)


async def test_work_goes_on_after_a_turn_that_fails_until_it_is_told_to_stop() -> None:
    turns, stop = [0], asyncio.Event()

    async def work() -> None:
        turns[0] += 1
        if turns[0] == 3:
            stop.set()
        raise ValueError("a bad turn")

    async with asyncio.timeout(5):
        await tick_until(stop, 0.0, work, lambda: False)
    assert turns == [3]


async def test_work_ends_when_it_is_over() -> None:
    turns: list[int] = []

    async def work() -> None:
        turns.append(len(turns))

    async with asyncio.timeout(5):
        await tick_until(asyncio.Event(), 0.0, work, lambda: len(turns) == 2)
    assert turns == [0, 1]
