"""Batches of one sender, one at a time and by their numbers."""

import asyncio

from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.in_order import InOrder


class Arriving:
    """Batches as they come, and the order in which they had their turns."""

    def __init__(self) -> None:
        self.order = InOrder()
        self.done: list[str] = []
        self.at_once = 0

    def come(self, number: int, boot: str = "x", takes_s: float = 0.0) -> "asyncio.Task[None]":
        return asyncio.create_task(self._come(number, boot, takes_s))

    async def _come(self, number: int, boot: str, takes_s: float) -> None:
        async with self.order.turn(boot, number):
            self.at_once += 1
            assert self.at_once == 1 or number == 0
            await asyncio.sleep(takes_s)
            self.at_once -= 1
        self.done.append(f"{boot}{number}")


@in_virtual_time
async def test_batches_have_their_turns_by_number_one_at_a_time() -> None:
    arriving = Arriving()
    tasks = [arriving.come(number, takes_s=0.5) for number in (1, 3, 2, 5, 4)]
    await asyncio.gather(*tasks)
    assert arriving.done == ["x1", "x2", "x3", "x4", "x5"]


@in_virtual_time
async def test_a_call_without_mail_waits_for_nobody() -> None:
    arriving = Arriving()
    arriving.come(1, takes_s=1.0)
    await settle()
    await arriving.come(0)
    assert arriving.done == ["x0"]


@in_virtual_time
async def test_the_first_batches_keep_their_order_even_if_a_later_one_comes_first() -> None:
    arriving = Arriving()
    later = arriving.come(2)
    await settle()
    assert not arriving.done
    await asyncio.gather(arriving.come(1), later)
    assert arriving.done == ["x1", "x2"]


@in_virtual_time
async def test_a_process_that_starts_anew_goes_on_with_whatever_comes() -> None:
    arriving = Arriving()
    await arriving.come(57)
    await arriving.come(58)
    assert arriving.done == ["x57", "x58"]
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_batch_that_never_comes_is_waited_for_two_seconds() -> None:
    arriving = Arriving()
    await arriving.come(1)
    tasks = [arriving.come(number) for number in (4, 3)]
    await asyncio.gather(*tasks)
    assert asyncio.get_running_loop().time() == 2.0
    assert sorted(arriving.done) == ["x1", "x3", "x4"]


@in_virtual_time
async def test_a_batch_that_is_known_to_be_lost_is_not_waited_for() -> None:
    arriving = Arriving()
    await arriving.come(1)
    tasks = [arriving.come(number) for number in (6, 4)]
    await settle()
    arriving.order.skip("x", ())
    arriving.order.skip("x", (2, 3))
    arriving.order.skip("x", (5,))
    await asyncio.gather(*tasks)
    assert arriving.done == ["x1", "x4", "x6"]
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_batch_that_comes_although_it_was_called_lost_is_let_through_and_changes_nothing() -> None:
    arriving = Arriving()
    await arriving.come(1)
    arriving.order.skip("x", (2,))
    await arriving.come(3)
    await arriving.come(2)
    await arriving.come(4)
    assert arriving.done == ["x1", "x3", "x2", "x4"]


@in_virtual_time
async def test_what_is_lost_of_a_sender_that_is_heard_of_for_the_first_time_is_not_waited_for() -> None:
    arriving = Arriving()
    arriving.order.skip("x", (40, 41))
    await arriving.come(42)
    arriving.order.skip("y", (1,))
    await arriving.come(2, "y")
    assert arriving.done == ["x42", "y2"]
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_numbers_that_cannot_be_meant_are_not_kept() -> None:
    arriving = Arriving()
    await arriving.come(1)
    arriving.order.skip("x", (10**18, -5, 1))
    assert arriving.order._lost == set()
    await arriving.come(2)
    assert arriving.done == ["x1", "x2"]


@in_virtual_time
async def test_when_a_sender_starts_anew_what_has_waited_goes_first_and_in_order() -> None:
    arriving = Arriving()
    await arriving.come(1)
    tasks = [arriving.come(5), arriving.come(3)]
    await settle()
    tasks.append(arriving.come(1, "y"))
    await asyncio.gather(*tasks)
    assert arriving.done == ["x1", "x3", "x5", "y1"]
    assert asyncio.get_running_loop().time() == 0


@in_virtual_time
async def test_a_batch_that_is_given_up_while_it_waits_holds_up_nobody_for_ever() -> None:
    arriving = Arriving()
    await arriving.come(1)
    given_up, following = arriving.come(3), arriving.come(4)
    await settle()
    given_up.cancel()
    await asyncio.gather(arriving.come(2), following)
    assert arriving.done == ["x1", "x2", "x4"]


@in_virtual_time
async def test_a_number_that_comes_twice_takes_nobodys_turn() -> None:
    arriving = Arriving()
    await arriving.come(1)
    tasks = [arriving.come(3), arriving.come(3)]
    await settle()
    await arriving.come(2)
    await asyncio.gather(*tasks)
    assert arriving.done == ["x1", "x2", "x3", "x3"]
