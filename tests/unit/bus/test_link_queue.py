"""What waits for another process."""

import asyncio

import pytest

from tests.unit.bus.virtual_time import in_virtual_time, settle
from zejzl_ray.bus.link_queue import LinkQueue
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.errors import BusClosed, BusError, MailboxFull


def mail(number: int, sender: str = "s") -> Message:
    return Message(sender, "r", "t", {"number": number})


def queue_of(
    capacity: int = 100, link_bytes: int = 10_000, batch: int = 384, batch_bytes: int = 1000
) -> LinkQueue:
    return LinkQueue(
        "h",
        BusOptions(
            link_capacity=capacity,
            link_bytes=link_bytes,
            max_message_bytes=link_bytes,
            batch_messages=batch,
            batch_bytes=batch_bytes,
        ),
    )


def numbers(taken: list[tuple[Message, bytes]]) -> list[int]:
    return [message.content["number"] for message, _ in taken]


def closed(message: Message) -> BusError:
    return BusClosed("closed", "", {"to_agent": message.to_agent})


def test_a_batch_is_bounded_by_messages_and_by_bytes_but_for_one_message_alone() -> None:
    queue = queue_of(batch=3, batch_bytes=100)
    for number, size in enumerate((10, 10, 10, 10, 95, 500, 10)):
        assert queue.offer(mail(number), b"x" * size)
    assert [numbers(queue.take(None)) for _ in range(5)] == [[0, 1, 2], [3], [4], [5], [6]]
    assert queue.take(None) == []


def test_only_mail_of_those_who_may_is_taken_and_nothing_overtakes() -> None:
    queue = queue_of()
    for number, sender in enumerate("ppqp"):
        queue.offer(mail(number, sender), b"x")
    assert numbers(queue.take(frozenset({"p"}))) == [0, 1]
    assert numbers(queue.take(frozenset({"p"}))) == []
    assert numbers(queue.take(None)) == [2, 3]


@pytest.mark.parametrize(("capacity", "link_bytes"), [(2, 1000), (100, 25)])
def test_messages_and_bytes_that_wait_are_bounded(capacity: int, link_bytes: int) -> None:
    queue = queue_of(capacity, link_bytes)
    assert [queue.offer(mail(number), b"x" * 10) for number in range(3)] == [True, True, False]
    assert len(queue) == 2
    assert queue.may_be_full


def test_an_empty_queue_has_room_for_any_message() -> None:
    queue = queue_of(link_bytes=100)
    assert not queue.may_be_full
    assert queue.offer(mail(0), b"x" * 100)


@in_virtual_time
async def test_senders_get_room_in_the_order_in_which_they_came() -> None:
    queue = queue_of(capacity=2, batch=1)
    for number in range(2):
        queue.offer(mail(number), b"x")
    waiting = [asyncio.create_task(queue.enqueue(mail(number), b"x", 5.0)) for number in (2, 3)]
    await settle()
    read = numbers(queue.take(None))
    assert not queue.offer(mail(9), b"x")
    await settle()
    for _ in range(3):
        read += numbers(queue.take(None))
        await settle()
    assert read == [0, 1, 2, 3]
    await asyncio.gather(*waiting)


@in_virtual_time
async def test_a_sender_that_finds_no_room_in_time_is_told_so() -> None:
    queue = queue_of(capacity=1)
    queue.offer(mail(0), b"x")
    with pytest.raises(MailboxFull, match="The way to h is full: 1 messages wait for it") as caught:
        await queue.enqueue(mail(1), b"x", 2.0)
    assert caught.value.details == {"to_agent": "r", "host": "h"}
    assert asyncio.get_running_loop().time() == 2.0
    assert numbers(queue.take(None)) == [0]
    assert queue.offer(mail(2), b"x")


@in_virtual_time
async def test_one_large_message_that_gives_up_lets_the_small_ones_behind_it_in() -> None:
    queue = queue_of(link_bytes=100)
    queue.offer(mail(0), b"x" * 60)
    large = asyncio.create_task(queue.enqueue(mail(1), b"x" * 90, 50.0))
    small = asyncio.create_task(queue.enqueue(mail(2), b"x" * 10, 50.0))
    await settle()
    assert not small.done()
    assert not queue.offer(mail(3), b"x")  # it would fit
    large.cancel()
    await small
    assert numbers(queue.take(None)) == [0, 2]


@in_virtual_time
async def test_a_sender_that_is_cancelled_after_it_found_room_has_sent() -> None:
    queue = queue_of(capacity=1)
    queue.offer(mail(0), b"x")
    sender = asyncio.create_task(queue.enqueue(mail(1), b"x", 5.0))
    await settle()
    queue.take(None)
    sender.cancel()
    await settle()
    assert sender.cancelled()
    assert numbers(queue.take(None)) == [1]


@in_virtual_time
async def test_clearing_gives_out_what_was_there_and_an_error_to_those_who_wait() -> None:
    queue = queue_of(capacity=1)
    queue.offer(mail(0), b"x")
    waiting, given_up = (asyncio.create_task(queue.enqueue(mail(number), b"x", 5.0)) for number in (1, 2))
    await settle()
    assert [message.content["number"] for message in queue.clear(closed)] == [0]
    given_up.cancel()
    with pytest.raises(BusClosed) as caught:
        await waiting
    assert caught.value.details == {"to_agent": "r"}
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert queue.offer(mail(3), b"x")


def test_what_may_go_back_with_an_answer_is_bounded_by_its_own_bytes() -> None:
    queue = queue_of()
    for number in range(4):
        queue.offer(mail(number), b"x" * 10)
    assert numbers(queue.take(frozenset({"s"}), 25)) == [0, 1]
    assert numbers(queue.take(None, 25)) == [2, 3]
    assert len(queue) == 0


@pytest.mark.parametrize(("batch", "batch_bytes", "enough"), [(1, 1000, 1), (3, 1000, 3), (384, 20, 2)])
def test_a_batch_or_what_outweighs_a_call_is_worth_one_beside_another(
    batch: int, batch_bytes: int, enough: int
) -> None:
    queue = queue_of(batch=batch, batch_bytes=batch_bytes)
    worth = []
    for number in range(3):
        queue.offer(mail(number), b"x" * 10)
        worth.append(queue.is_worth_a_call)
    assert worth == [number + 1 >= enough for number in range(3)]
