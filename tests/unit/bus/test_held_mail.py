"""What waits for one receiver, and in which order it is brought."""

import asyncio

from tests.unit.bus.linked_offices import note, rest
from tests.unit.bus.virtual_time import in_virtual_time
from zejzl_ray.bus.held_mail import HeldMail
from zejzl_ray.bus.link_queue import Encoded, LinkQueue
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import BusClosed, BusError


class Bench:
    """A queue with held mail, and a receiver with as much room as it is given."""

    def __init__(self, **options: int) -> None:
        self.options = BusOptions(**options)
        self.queue = LinkQueue("b", self.options)
        self.room = 0
        self.brought: list[list[int]] = []
        self.taken: list[int] = []
        self.over: set[int] = set()
        self.given_up: list[int] = []
        self.fails = 0
        self.held = HeldMail(
            "b", self.queue, self.options, bring=self._bring, is_over=self._is_over, give_up=self._give_up
        )

    async def _bring(self, taken: object) -> list[Encoded]:
        assert isinstance(taken, list)
        await asyncio.sleep(0.01)
        self.brought.append([number_of(each) for each in taken])
        if self.fails:
            self.fails -= 1
            raise ValueError("a bug")
        got, later = taken[: self.room], taken[self.room :]
        self.room -= len(got)
        self.taken += [number_of(each) for each in got]
        return later

    def _is_over(self, message: Message) -> bool:
        return message.content["number"] in self.over

    def _give_up(self, message: Message) -> None:
        self.given_up.append(message.content["number"])


def encoded(number: int, to: str = "slow", sequence: int = 0) -> Encoded:
    return note(number, to, sequence=sequence), b"x"


def number_of(each: Encoded) -> int:
    number = each[0].content["number"]
    assert isinstance(number, int)
    return number


def closed(message: Message) -> BusError:
    return BusClosed("closed", "", {})


@in_virtual_time
async def test_what_was_refused_comes_first_by_its_batch_then_what_was_queued_then_what_is_sent() -> None:
    bench = Bench()
    for number in (5, 6):
        bench.queue.offer(*encoded(number))
    bench.queue.offer(*encoded(100, "quick"))
    bench.queue.offer(*encoded(101, sequence=7))  # kept mail goes its own way
    flight = asyncio.create_task(asyncio.sleep(1))
    bench.held.hold([encoded(3), encoded(4)], 2, {flight})
    bench.queue.offer(*encoded(7))
    bench.held.hold([encoded(1), encoded(2)], 1, ())
    await asyncio.sleep(0.5)
    assert bench.brought == [], "what is under way may hold more of it"
    bench.room = 7
    await asyncio.sleep(1)
    assert bench.taken == [1, 2, 3, 4, 5, 6, 7]
    assert [number_of(each) for each in bench.queue.take(None)] == [100, 101]
    assert len(bench.held) == 0
    bench.queue.offer(*encoded(8))
    assert len(bench.queue) == 1, "it goes the usual way again"


@in_virtual_time
async def test_what_finds_no_room_keeps_its_place() -> None:
    bench = Bench(batch_messages=2)
    bench.held.hold([encoded(number) for number in range(5)], 1, ())
    for _ in range(5):
        bench.room = 1
        await asyncio.sleep(0.2)
    assert bench.taken == [0, 1, 2, 3, 4]
    assert bench.brought[:2] == [[0, 1], [1, 2]]


@in_virtual_time
async def test_a_batch_is_bounded_in_bytes() -> None:
    bench = Bench(batch_bytes=10)
    bench.held.hold([(note(number, "slow"), b"x" * 6) for number in range(2)], 1, ())
    bench.room = 9
    await asyncio.sleep(1)
    assert bench.brought == [[0], [1]]


@in_virtual_time
async def test_mail_whose_time_is_over_is_given_up_wherever_it_stands() -> None:
    bench = Bench()
    bench.queue.offer(*encoded(2))
    bench.queue.offer(*encoded(3))
    bench.held.hold([encoded(0), encoded(1)], 1, ())
    bench.over = {0, 2}
    bench.room = 9
    await asyncio.sleep(1)
    assert bench.given_up == [0, 2]
    assert bench.taken == [1, 3]


@in_virtual_time
async def test_receivers_do_not_wait_for_one_another() -> None:
    bench = Bench()
    bench.held.hold([encoded(0), encoded(1, "other")], 1, ())
    await asyncio.sleep(0.02)
    assert sorted(bench.brought) == [[0], [1]]
    assert len(bench.held) == 2
    await bench.held.close()


@in_virtual_time
async def test_a_failure_ends_nothing() -> None:
    bench = Bench(batch_messages=1)
    bench.fails, bench.room = 1, 9
    bench.held.hold([encoded(0), encoded(1)], 1, ())
    await asyncio.sleep(1)
    assert bench.taken == [1]


@in_virtual_time
async def test_the_end_returns_all_in_order_and_wakes_who_waits_for_room() -> None:
    bench = Bench(link_capacity=8)
    flight = asyncio.create_task(asyncio.sleep(100))
    bench.held.hold([encoded(2)], 2, {flight})
    bench.held.hold([encoded(1)], 1, ())
    assert bench.queue.offer(*encoded(3))
    assert not bench.queue.offer(*encoded(4)), "an eighth of the whole"
    waiting = asyncio.create_task(bench.queue.enqueue(*encoded(4), 10.0))
    await rest(3)
    assert [message.content["number"] for message in bench.held.clear(closed)] == [1, 2, 3]
    await bench.held.close()
    await rest(3)
    assert isinstance(waiting.exception(), BusClosed)
    assert len(bench.held) == 0
    flight.cancel()
